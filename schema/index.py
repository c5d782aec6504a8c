"""The HNSW index of a generation: is it there, and building it once the data is in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg import sql

from schema.sql import statement

if TYPE_CHECKING:
    from schema.connect import Connection
    from schema.records import Generation


@dataclass(frozen=True, slots=True)
class IndexState:
    valid: bool
    bytes: int


def state(connection: Connection, generation: Generation) -> IndexState | None:
    """The index as it stands, or None where there is none."""
    row = connection.execute(statement("index_state"), {"name": generation.index}).fetchone()
    return None if row is None else IndexState(*row)


def build(connection: Connection, generation: Generation, m: int, ef_construction: int) -> None:
    """Build the index over all vectors, in the caller's transaction. What was left of an earlier attempt goes
    first. Readers scan the table meanwhile."""
    connection.execute(statement("drop_index", generation))
    create = sql.SQL(statement("create_index", generation).as_string(connection))
    connection.execute(create.format(m=sql.Literal(m), ef_construction=sql.Literal(ef_construction)))
