"""Named statements: each stands in statements/ROOM/MODULE.sql, by the module that uses it first, with a line that
says what it is for."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiosql
from psycopg import sql

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import psycopg

FILES = sorted((Path(__file__).parents[1] / "statements").rglob("*.sql"))
_QUERIES = aiosql.from_str(
    "\n".join(file.read_text(encoding="utf-8") for file in FILES), "psycopg", mandatory_parameters=False
)


def names() -> list[str]:
    """Every statement's name."""
    return [name for name in _QUERIES.available_queries if not name.endswith("_cursor")]


@cache
def statement(name: str) -> sql.Composed:
    """The statement. One over a generation's tables is `vectors.storage.vector_statement`."""
    return template(name).format()


def template(name: str) -> sql.SQL:
    """The statement with placeholders in braces, for identifiers and pieces of SQL that are known only later."""
    return sql.SQL(getattr(_QUERIES, name).sql)


def array(ids: Sequence[int] | None) -> list[int] | None:
    """Ids as a statement takes them: null is no bound."""
    return None if ids is None else list(ids)


def fetch_one(
    connection: psycopg.Connection[tuple[Any, ...]],
    query: str | sql.Composed,
    parameters: Mapping[str, Any] | None = None,
) -> tuple[Any, ...]:
    """The row of a statement, or of one named so, that always has one."""
    composed = statement(query) if isinstance(query, str) else query
    row = connection.execute(composed, parameters).fetchone()
    if row is None:
        raise LookupError(f"no row from {composed.as_string(connection)}")
    return row
