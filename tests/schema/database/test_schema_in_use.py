"""Another schema than public, a database that others use, an extension that only an administrator may create."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from pgfolio.schema.database.connect import prepare
from pgfolio.schema.database.errors import DatabaseError
from pgfolio.schema.database.schema_in_use import SchemaInUse, unusable
from pgfolio.schema.operations.export import export
from tests.databases import empty_database
from tests.job import do_job, library_folder
from tests.schema.database.test_grants import ROLES, as_role, drop_roles, grant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pgfolio.config.settings import Settings


@pytest.fixture
def shared(postgres: str) -> Iterator[str]:
    """A database of another application, with tables under names of ours, and pgvector in public."""
    with empty_database(postgres, "test_shared") as conninfo:
        with psycopg.connect(conninfo) as connection:
            connection.execute("create extension vector")
            connection.execute("create table documents (id integer)")
            connection.execute("create table runs (id integer)")
            connection.execute("insert into documents values (7)")
        yield conninfo
        drop_roles(conninfo)


def in_schema(conninfo: str, search_path: str) -> str:
    return make_conninfo(conninfo, options=f"-csearch_path={search_path}")


def create_schema(conninfo: str, name: str) -> None:
    with psycopg.connect(conninfo) as connection:
        connection.execute(sql.SQL("create schema {}").format(sql.Identifier(name)))


def test_the_whole_job_is_done_in_a_schema_of_a_shared_database_with_roles(
    shared: str, new_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    create_schema(shared, "app")
    conninfo = in_schema(shared, "app,public")
    prepare(conninfo)
    grant(conninfo, ROLES)
    writer, reader = (
        new_settings(database_url=as_role(conninfo, role)) for role in (ROLES.writer, ROLES.reader)
    )
    do_job(writer, reader, library_folder(tmp_path))
    with psycopg.connect(shared) as connection:
        ours = connection.execute(
            "select relname from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'S')"
            " order by relname"
        ).fetchall()
        assert ours == [("documents",), ("runs",)]
        assert connection.execute("table documents").fetchall() == [(7,)]


def test_a_copy_goes_to_a_schema_of_a_shared_database(conninfo: str, shared: str) -> None:
    create_schema(shared, "app")
    rows = export(conninfo, in_schema(shared, "app,public"), 16, 64, lambda _: None)
    assert rows["documents"] == 0


def test_two_of_them_share_a_database_whose_extension_has_a_schema(postgres: str) -> None:
    with empty_database(postgres, "test_two") as conninfo:
        for name in ("one", "two", "extensions"):
            create_schema(conninfo, name)
        with psycopg.connect(conninfo) as connection:
            connection.execute("create extension vector schema extensions")
        for name in ("one", "two"):
            prepare(in_schema(conninfo, f"{name},extensions"))
        with psycopg.connect(conninfo) as connection:
            connection.execute("insert into one.collections (name) values ('x')")
            assert connection.execute("select count(*) from two.collections").fetchone() == (0,)
            connection.execute("create schema three")
        with pytest.raises(DatabaseError, match="the schema one, which has another pgfolio's tables"):
            prepare(in_schema(conninfo, "three,one,extensions"))


def test_a_schema_that_has_the_extension_itself_needs_no_other(postgres: str) -> None:
    with empty_database(postgres, "test_alone") as conninfo:
        create_schema(conninfo, "app")
        prepare(in_schema(conninfo, "app"))
        prepare(in_schema(conninfo, "app"))


def test_a_schema_that_is_missing_is_a_sentence(shared: str) -> None:
    with pytest.raises(DatabaseError, match=r"schemas of search_path \(nowhere\) is there.*CREATE SCHEMA"):
        prepare(in_schema(shared, "nowhere"))


def test_a_schema_that_does_not_see_the_extension_is_a_sentence(shared: str) -> None:
    create_schema(shared, "app")
    with pytest.raises(DatabaseError, match="search_path%3Dapp,public"):
        prepare(in_schema(shared, "app"))


def test_a_role_that_may_create_nothing_is_told_who_creates_the_extension(postgres: str) -> None:
    with empty_database(postgres, "test_bare") as conninfo:
        with psycopg.connect(conninfo) as connection:
            connection.execute("create role plain login")
            connection.execute("grant create on schema public to plain")
        try:
            with pytest.raises(DatabaseError, match="administrator run `CREATE EXTENSION vector`"):
                prepare(make_conninfo(conninfo, user="plain"))
            with psycopg.connect(conninfo) as connection:
                connection.execute("create extension vector")
            prepare(make_conninfo(conninfo, user="plain"))
        finally:
            with psycopg.connect(conninfo) as connection:
                connection.execute("drop owned by plain cascade")
                connection.execute("drop role plain")
    assert conninfo_to_dict(conninfo)["dbname"] == "test_bare"


GOOD = SchemaInUse("app", "app", None, "0.8.4", None, False, True)


@pytest.mark.parametrize(
    ("place", "said"),
    [
        (GOOD, None),
        (GOOD._replace(installed="0.8.10", extension_schema="app", is_visible=True), None),
        (GOOD._replace(installed="0.8.4", extension_schema="x", is_visible=True, may_create_extension=False), None),
        (GOOD._replace(offered=None), "has no pgvector: install"),
        (GOOD._replace(offered="0.8.3"), "too old"),
        (GOOD._replace(offered="0.9.0", installed="0.7.4"), "0.7.4 is too old"),
        (GOOD._replace(schema=None), "CREATE SCHEMA"),
        (GOOD._replace(may_create_extension=False), "administrator"),
        (GOOD._replace(installed="0.8.4", extension_schema="x"), "leaves out"),
    ],
)  # fmt: skip
def test_what_a_place_lacks_is_said(place: SchemaInUse, said: str | None) -> None:
    problem = unusable(place)
    assert (problem is None) if said is None else (problem is not None and said in problem)
