"""Every named statement is valid against the real schema, and says what it is for."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from psycopg import sql

from pgfolio.schema.database.connect import connect
from pgfolio.schema.database.statements import names
from pgfolio.schema.records import Generation, Space
from pgfolio.schema.search.question import RANKING_NUMBERS
from pgfolio.schema.vectors import generations
from pgfolio.schema.vectors.storage import vector_statement

STATEMENTS = Path(__file__).resolve().parents[3] / "schema" / "statements"
LITERALS: dict[str, sql.Composable] = {
    **{name: sql.Literal(10) for name in ("limit", "m", "ef_construction")},
    "scan": sql.Literal(10),
    "matches": sql.SQL("true"),
    "into": sql.Identifier("vectors_1"),
    "other": sql.Identifier("vectors_1"),
    "max_common": sql.SQL("all"),
    "corpus": sql.SQL("select 1::bigint as size, 1::float8 as tokens"),
    **RANKING_NUMBERS,
    "vector_arm": sql.SQL("select unnest(%(vector_arm)s::bigint[]) as chunk_id"),
}
"""What some statements take as text, for their plan's sake."""


@pytest.fixture
def generation(conninfo: str) -> Generation:
    """With the table that tuning works on for a time."""
    with connect(conninfo) as connection:
        made = generations.create_generation(connection, Space("local", "wordllama-256", 256), "active")
        connection.execute(
            sql.SQL(vector_statement("sample_into", made).as_string(connection)).format(limit=sql.Literal(1))
        )
        return made


def queries() -> list[str]:
    """Statements that PostgreSQL can prepare; running a sync covers the others."""
    text = "".join(file.read_text() for file in STATEMENTS.rglob("*.sql"))
    other = set(
        re.findall(
            r"-- name: (\w+)!?\n(?:--.*\n)+(?:copy|create|alter|drop|analyze|truncate|lock|listen|set)\b",
            text,
        )
    )
    return [name for name in names() if name not in other]


def test_no_statement_is_passed_by() -> None:
    written = sum(file.read_text().count("-- name: ") for file in STATEMENTS.rglob("*.sql"))
    assert (len(names()), len(queries())) >= (written, 195)


@pytest.mark.parametrize("name", queries())
def test_the_server_understands_the_statement(conninfo: str, generation: Generation, name: str) -> None:
    with connect(conninfo) as connection:
        written = (
            sql.SQL(vector_statement(name, generation).as_string()).format(**LITERALS).as_string(connection)
        )
        numbered, count = _numbered(written)
        connection.execute(sql.SQL("prepare checked as ") + sql.SQL(numbered))
        row = connection.execute(
            "select cardinality(parameter_types) from pg_prepared_statements where name = 'checked'"
        ).fetchone()
        assert row == (count,)


def _numbered(text: str) -> tuple[str, int]:
    """`%(name)s` as `$1`, and `%%` as `%`."""
    order: dict[str, int] = {}

    def number(match: re.Match[str]) -> str:
        return f"${order.setdefault(match[1], len(order) + 1)}"

    return re.sub(r"%\((\w+)\)s", number, text).replace("%%", "%"), len(order)


@pytest.mark.parametrize("file", sorted(STATEMENTS.rglob("*.sql")), ids=lambda file: file.stem)
def test_every_statement_has_a_line_that_says_what_it_is_for(file: Path) -> None:
    lines = file.read_text().splitlines()
    named = [i for i, line in enumerate(lines) if line.startswith("-- name:")]
    assert named
    assert [lines[i] for i in named if not re.match(r"-- \w", lines[i + 1])] == []
