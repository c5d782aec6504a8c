"""The schema reads as it is: its description, and the files of its functions, which are defined when they change."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import psycopg
import pytest

from pgfolio.schema.database.connect import connect, prepare
from pgfolio.schema.database.define import FUNCTIONS, ordered, outdated, texts
from pgfolio.schema.database.migrate import pending
from tests.databases import empty_database
from tests.describe_schema import COMMAND, FILE, description, functions
from tests.schema.search.test_lexemes import migrated_before

if TYPE_CHECKING:
    from pgfolio.schema.database.connect import Connection

SINCE_MIGRATIONS: set[str] = set()
"""Functions that read otherwise now than in the migration that made them: whoever changes one adds it here."""

OWN_LANGUAGE = "create text search configuration polish (copy = english)"


def definitions(connection: Connection) -> dict[str, str]:
    """Every function of ours as PostgreSQL tells it: signature, properties, settings and body."""
    rows = connection.execute(
        "select oid::regprocedure::text, pg_get_functiondef(oid) from pg_proc where proname = any(%s)"
        " and pronamespace = 'public'::regnamespace",
        [list(functions(connection))],
    ).fetchall()
    return dict(rows)


def versions(connection: Connection) -> dict[str, str]:
    """Which transaction wrote each function."""
    return dict(
        connection.execute(
            "select proname, xmin::text from pg_proc where proname = any(%s)", [list(texts())]
        ).fetchall()
    )


def test_the_description_is_todays_schema(conninfo: str) -> None:
    with connect(conninfo) as connection:
        assert description(connection) == FILE.read_text(encoding="utf-8"), (
            f"the schema changed: run `{COMMAND}` and commit what it writes"
        )


def test_every_function_has_a_file_of_its_name(conninfo: str) -> None:
    with connect(conninfo) as connection:
        assert functions(connection) == set(texts())


@pytest.mark.parametrize("name", texts())
def test_a_file_says_what_its_function_is_for_and_defines_it_alone(name: str) -> None:
    text = (FUNCTIONS / f"{name}.sql").read_text(encoding="utf-8")
    assert text.startswith("-- ")
    assert text.count("create or replace function ") == text.count(f"create or replace function {name}(") == 1
    assert text.isascii()


@pytest.mark.parametrize("before", ["", OWN_LANGUAGE])
def test_the_files_are_what_the_migrations_leave(postgres: str, before: str) -> None:
    """Also where a configuration was there before, which one function must not take for ours."""
    with empty_database(postgres, "test_functions_migrated") as conninfo:
        with psycopg.connect(conninfo) as connection:
            connection.execute(before.encode())
        migrated_before(conninfo, "9999")
        with connect(conninfo) as connection:
            migrated, written = definitions(connection), versions(connection)
        prepare(conninfo)
        with connect(conninfo) as connection:
            defined = definitions(connection)
            assert not set(written.items()) & set(versions(connection).items()), "all were defined"
        changed = {signature for signature in migrated if migrated[signature] != defined.get(signature)}
        assert {signature.split("(")[0] for signature in changed} == SINCE_MIGRATIONS


def test_what_changed_is_defined_and_nothing_else(conninfo: str) -> None:
    with connect(conninfo) as connection:
        today, before = definitions(connection), versions(connection)
        _make_older(connection)
    prepare(conninfo)
    with connect(conninfo) as connection:
        assert definitions(connection) == today
        after = versions(connection)
    assert {name for name in before if before[name] != after[name]} == {"bm25"}
    prepare(conninfo)
    with connect(conninfo) as connection:
        assert versions(connection) == after


def test_a_function_that_is_gone_is_defined_anew(conninfo: str) -> None:
    """As by a migration, where its return type is to change."""
    with connect(conninfo) as connection:
        today = definitions(connection)
        connection.execute("drop function question_words")
    prepare(conninfo)
    with connect(conninfo) as connection:
        assert definitions(connection) == today


def test_an_older_pgfolio_leaves_what_a_later_one_defined(conninfo: str) -> None:
    with connect(conninfo) as connection:
        _make_older(connection)
        connection.execute("update functions set version = '{9999}' where name = 'bm25'")
        of_later = versions(connection)
    prepare(conninfo)
    with connect(conninfo) as connection:
        assert versions(connection) == of_later


def test_a_text_that_fails_leaves_all_as_it_was(conninfo: str) -> None:
    """As where it would change a return type, which takes a migration."""
    with connect(conninfo) as connection:
        _make_older(connection)
        connection.execute("drop function phrase_query")
        connection.execute(
            "create function phrase_query(phrase text, visible integer[]) returns text language sql return phrase"
        )
        connection.execute("update functions set digest = 'older' where name = 'phrase_query'")
        before = versions(connection)
    with pytest.raises(psycopg.errors.InvalidFunctionDefinition):
        prepare(conninfo)
    with connect(conninfo) as connection:
        assert versions(connection) == before


def test_several_that_start_at_once_make_one_schema(postgres: str) -> None:
    with empty_database(postgres, "test_started_at_once") as conninfo, ThreadPoolExecutor(4) as pool:
        list(pool.map(prepare, [conninfo] * 4))
        with connect(conninfo) as connection:
            assert pending(connection) == []
            assert outdated(connection) == {}


def test_a_function_comes_after_those_that_it_calls() -> None:
    names = ordered(
        {"a": "select b(c(1))", "b": "select c(1)", "c": "select c(1), ab(2)", "d": "-- a\nselect 1"}
    )
    assert names.index("c") < names.index("b") < names.index("a")


def _make_older(connection: Connection) -> None:
    """Another text of bm25, and what the database would know of it."""
    connection.execute(
        "create or replace function bm25(rank real, tokens integer, mean double precision) returns double precision"
        " language sql immutable parallel safe return rank"
    )
    connection.execute("update functions set digest = 'older' where name = 'bm25'")
