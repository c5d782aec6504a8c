"""The whole job on PostgreSQL as Debian has it: over TCP, with passwords, by three roles, with PgBouncer between."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from pgfolio.schema.database.connect import connect, database, prepare
from pgfolio.schema.database.grants import Roles, grants
from tests.debian import debian_postgres
from tests.job import do_job, library_folder, synced
from tests.pgbouncer import pgbouncer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pgfolio.config.settings import Settings

PASSWORDS = {role: f"of {role}" for role in ("pgfolio_owner", "pgfolio_writer", "pgfolio_reader")}


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with debian_postgres() as conninfo:
        yield conninfo


@pytest.fixture
def administered(server: str) -> Iterator[str]:
    """A database with our tables, and roles with passwords, as an administrator leaves it."""
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("create database shared")
    conninfo = make_conninfo(server, dbname="shared")
    prepare(conninfo)
    grant(conninfo)
    with psycopg.connect(conninfo) as connection:
        for role, secret in PASSWORDS.items():
            text = sql.SQL("alter role {} password {}").format(sql.Identifier(role), sql.Literal(secret))
            connection.execute(text)
    yield conninfo
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("drop database shared with (force)")


def grant(conninfo: str) -> None:
    with connect(conninfo) as connection:
        text = grants(connection, Roles(owner="pgfolio_owner"))
    with psycopg.connect(conninfo) as connection:
        connection.execute(text.encode())


def as_role(conninfo: str, role: str) -> str:
    return make_conninfo(conninfo, user=role, password=PASSWORDS[role])


@pytest.mark.parametrize("pooled", [False, True])
def test_the_whole_job_is_done_by_owner_writer_and_reader(
    administered: str, new_settings: Callable[..., Settings], tmp_path: Path, pooled: bool
) -> None:
    def job(between: Callable[[str], str]) -> None:
        owner, writer, reader = (
            new_settings(
                database_url=between(as_role(administered, role)),
                database_direct_url=as_role(administered, role),
                index={"keep_generations_days": 0},
            )
            for role in PASSWORDS
        )
        for folder in ("owner", "writer"):
            (tmp_path / folder).mkdir()
        with database(owner) as conninfo:
            assert synced(owner, conninfo, library_folder(tmp_path / "owner")) == {"added": 2}
        grant(administered)  # the owner's generation becomes the writer's
        do_job(writer, reader, library_folder(tmp_path / "writer"))

    if not pooled:
        job(lambda conninfo: conninfo)
        return
    with pgbouncer(administered, passwords={**PASSWORDS, "postgres": "of the tests' cluster"}) as through:
        port = psycopg.conninfo.conninfo_to_dict(through)["port"]
        job(lambda conninfo: make_conninfo(conninfo, port=port))
