"""The database in use: one that is named, and one that cannot be used."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from pgfolio.config.loading import load_settings
from pgfolio.schema.database.connect import connect, database, prepare
from pgfolio.schema.database.errors import DatabaseError
from pgfolio.schema.database.migrate import FOLDER, migrate, pending

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pgfolio.config.settings import Settings

ROOT = Path(__file__).resolve().parents[3]
LAST = max(path.stem for path in FOLDER.glob("*.sql"))


def test_an_external_database_is_migrated(postgres: str) -> None:
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute("create database bare")
        try:
            settings = load_settings(database_url=psycopg.conninfo.make_conninfo(postgres, dbname="bare"))
            with database(settings) as conninfo, connect(conninfo) as opened:
                assert pending(opened) == []
        finally:
            connection.execute("drop database bare with (force)")


def test_migrating_again_does_nothing(conninfo: str) -> None:
    with connect(conninfo) as connection:
        assert migrate(connection, conninfo) == []


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://127.0.0.1:1/none", "cannot reach the database 127.0.0.1:1/none"),
        ("postgresql://user:secret@127.0.0.1:1/none", "is it running"),
        ("what is this", "not a connection string"),
        ("postgres//app:s3cret@localhost/x", "not a connection string"),
        ("postgresql://app:s3cret/more@localhost/x", "not a connection string"),
        ("postgresql://app:s3cret%more@localhost/x", "not a connection string"),
        ("postgresql://app:s3cret more@localhost/x", "not a connection string"),
        ("postgresql://app:s3cret@more@localhost/x", "not a connection string"),
    ],
)
def test_an_unusable_database_is_a_sentence_without_the_password(url: str, said: str) -> None:
    with pytest.raises(DatabaseError, match=said) as caught:
        prepare(url)
    assert "secret" not in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_an_older_pgvector_is_refused(conninfo: str, settings: Settings) -> None:
    with connect(conninfo) as connection:
        connection.execute("update pg_extension set extversion = '0.8.3' where extname = 'vector'")
    with pytest.raises(DatabaseError, match=r"0\.8\.3 is too old: 0\.8\.4"), database(settings):
        pass


@pytest.fixture
def beside(conninfo: str, postgres: str) -> Iterator[Callable[[str], str]]:
    """Makes an empty database, or a copy of the test's own."""
    made: list[str] = []

    def database_named(name: str, template: str = "template1") -> str:
        with psycopg.connect(postgres, autocommit=True) as server:
            server.execute(
                sql.SQL("create database {} template {}").format(
                    sql.Identifier(name), sql.Identifier(template)
                )
            )
        made.append(name)
        return make_conninfo(postgres, dbname=name)

    yield database_named
    with psycopg.connect(postgres, autocommit=True) as server:
        for name in made:
            server.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


def test_a_database_of_a_later_version_is_not_opened(conninfo: str, settings: Settings) -> None:
    """It was written as if it were ours."""
    with psycopg.connect(conninfo) as connection:
        connection.execute(
            "insert into _yoyo_migration (migration_hash, migration_id, applied_at_utc)"
            " values ('ff', '9999_later', now())"
        )
        connection.execute("update functions set version = '{77, 1, 2}'")
    said = rf"a later pgfolio \(77.1.2\): it has migration 9999_later; this is pgfolio {version('pgfolio')}, .*{LAST}"
    with pytest.raises(DatabaseError, match=said), database(settings):
        pass


def test_another_applications_tables_are_a_sentence(beside: Callable[[str], str]) -> None:
    conninfo = beside("test_another")
    with psycopg.connect(conninfo) as connection:
        connection.execute("create table documents (id integer)")
        connection.execute("create table runs (id integer)")
    with pytest.raises(DatabaseError, match=r"another application under our names \(documents, runs\)"):
        prepare(conninfo)
    with psycopg.connect(conninfo) as connection:
        assert connection.execute("select to_regclass('chunks')").fetchone() == (None,)


@pytest.mark.parametrize(
    ("before", "said"),
    [
        ("set transaction read only", "takes no writes: it is a replica"),
        ("set local role pg_monitor", "permission denied for table collections: grant the role"),
    ],
)
def test_what_may_not_be_written_is_a_sentence(conninfo: str, before: str, said: str) -> None:
    def write() -> None:
        with connect(conninfo) as connection:
            connection.execute(before.encode())
            connection.execute("insert into collections (name) values ('x')")

    with pytest.raises(DatabaseError, match=said):
        write()
