"""Named statements: each stands in statements/*.sql with a line that says what it is for."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiosql
from psycopg import sql

from pgfolio.schema.vectors.storage import parts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pgfolio.schema.database.connect import Connection
    from pgfolio.schema.records import Generation

_QUERIES = aiosql.from_path(Path(__file__).parents[1] / "statements", "psycopg", mandatory_parameters=False)


def names() -> list[str]:
    """Every statement's name."""
    return [name for name in _QUERIES.available_queries if not name.endswith("_cursor")]


@cache
def statement(name: str, generation: Generation | None = None) -> sql.Composed:
    """The statement, with `{vectors}` standing for the generation's table, `{segment}` and `{index}` for the one that
    new vectors go to and its index; what depends on how its space is stored is schema/vectors/storage.py's."""
    text = sql.SQL(getattr(_QUERIES, name).sql)
    if generation is None:
        return text.format()
    return text.format(
        vectors=sql.Identifier(generation.table),
        segment=sql.Identifier(generation.segment_table),
        index=sql.Identifier(generation.index),
        **parts(generation.space),
    )


def array(ids: Sequence[int] | None) -> list[int] | None:
    """Ids as a statement takes them: null is no bound."""
    return None if ids is None else list(ids)


def fetch_one(
    connection: Connection,
    name: str,
    parameters: Mapping[str, Any] | None = None,
    generation: Generation | None = None,
) -> tuple[Any, ...]:
    """The row of a statement that always has one."""
    row = connection.execute(statement(name, generation), parameters).fetchone()
    if row is None:
        raise LookupError(f"{name} gave no row")
    return row
