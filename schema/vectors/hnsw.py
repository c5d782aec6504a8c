"""The HNSW index of a generation, or of one of its segments: is it there, and building it once the data is in."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from pgfolio.schema.database.rows import fetch_record
from pgfolio.schema.database.statements import fetch_one, statement
from pgfolio.schema.vectors.storage import storage_of, vector_statement

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgfolio.schema.database.connect import Connection
    from pgfolio.schema.records import Generation

MIB = 1024 * 1024
PROCESS_BYTES = 32 * MIB
"""PostgreSQL takes no more processes for a build than it has so much memory for."""

PROCESS_ROWS = 1500
"""Of fewer for each, another process takes longer to start than it saves."""


@dataclass(frozen=True, slots=True)
class IndexState:
    valid: bool
    bytes: int


@dataclass(frozen=True, slots=True)
class IndexBuild:
    """`beyond_memory`: the graph was too large for maintenance_work_mem; `serial`: workers could not be had."""

    rows: int
    needed_mb: int
    beyond_memory: bool
    serial: bool


def state(connection: Connection, generation: Generation) -> IndexState | None:
    """The index as it stands, or None where there is none."""
    return fetch_record(connection, IndexState, statement("index_state"), {"name": generation.index})


def rows(connection: Connection, generation: Generation) -> int:
    """Vectors of all segments."""
    return int(fetch_one(connection, vector_statement("count_vectors", generation))[0])


def is_valid(connection: Connection, generation: Generation) -> bool:
    """Whether the segment has an index that searches can use."""
    index = state(connection, generation)
    return index is not None and index.valid


def build(connection: Connection, generation: Generation, m: int, ef_construction: int) -> IndexBuild:
    """Build the index over all vectors, in one transaction. What was left of an earlier attempt goes first.
    Readers scan the table meanwhile."""
    text = sql.SQL(vector_statement("create_index", generation).as_string(connection))
    create = text.format(m=sql.Literal(m), ef_construction=sql.Literal(ef_construction))
    serial = False
    with connection.transaction(), _notices(connection) as notices:
        connection.execute(vector_statement("drop_index", generation))
        rows = int(fetch_one(connection, vector_statement("segment_size", generation))[0])
        workers = int(fetch_one(connection, "build_workers")[0])
        memory = build_memory(generation, rows, m, workers)
        connection.execute(statement("prepare_index_build"), {"memory_kb": memory // 1024})
        try:
            with connection.transaction():
                connection.execute(create)
        except (psycopg.errors.DiskFull, psycopg.errors.OutOfMemory):
            # Workers share memory through /dev/shm, which is small in containers.
            serial = True
            connection.execute(statement("build_index_serially"))
            connection.execute(create)
    return IndexBuild(rows, memory // MIB, any("no longer fits" in notice for notice in notices), serial)


def progress(connection: Connection, pid: int) -> float | None:
    """The part, from 0 to 1, of the index that another session is building; None where it builds none."""
    row = connection.execute(statement("build_progress"), {"pid": pid}).fetchone()
    return None if row is None else float(row[0])


@contextmanager
def _notices(connection: Connection) -> Iterator[list[str]]:
    """What the server says meanwhile that is no error."""
    said: list[str] = []

    def hear(notice: psycopg.errors.Diagnostic) -> None:
        said.append(notice.message_primary or "")

    connection.add_notice_handler(hear)
    try:
        yield said
    finally:
        connection.remove_notice_handler(hear)


def build_memory(generation: Generation, rows: int, m: int, workers: int = 1) -> int:
    """Bytes that a build needs, so that its graph stays in memory, with a quarter to spare, and as many processes
    beside its own take part as may and are worth it."""
    processes = 1 + max(min(workers, rows // PROCESS_ROWS), 1)
    return max(int(rows * graph_bytes(generation, m) * 1.25), processes * PROCESS_BYTES)


def graph_bytes(generation: Generation, m: int) -> int:
    """What one row takes in the graph while it is built."""
    space = generation.space
    return 144 + 32 * m + (16 + 16 * m) // (m - 1) + space.dimensions * storage_of(space).bits // 8
