"""Named statements: each stands in statements/ROOM/MODULE.sql, by the module that uses it first, with a line that
says what it is for."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiosql
from psycopg import sql

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import psycopg

FILES = sorted((Path(__file__).parents[1] / "statements").rglob("*.sql"))
_NAME = re.compile(r"^-- name: (\w+)[^\n]*\n", re.MULTILINE)


def _texts() -> dict[str, str]:
    """Each statement's text by its name, as it is written: read as SQL when it is needed, for all of them take 60
    ms."""
    text = "\n".join(file.read_text(encoding="utf-8") for file in FILES)
    starts = [(match[1], match.start(), match.end()) for match in _NAME.finditer(text)]
    ends = [start for _, start, _ in starts[1:]]
    parts = {name: text[start:end] for (name, start, _), end in zip(starts, [*ends, len(text)], strict=True)}
    if len(parts) < len(starts):
        raise ValueError("two statements have one name")
    return parts


_TEXTS = _texts()


def names() -> list[str]:
    """Every statement's name."""
    return list(_TEXTS)


@cache
def statement(name: str) -> sql.Composed:
    """The statement. One over a generation's tables is `vectors.storage.vector_statement`."""
    return template(name).format()


@cache
def template(name: str) -> sql.SQL:
    """The statement with placeholders in braces, for identifiers and pieces of SQL that are known only later."""
    queries = aiosql.from_str(_TEXTS[name], "psycopg", mandatory_parameters=False)
    return sql.SQL(getattr(queries, name).sql)


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
