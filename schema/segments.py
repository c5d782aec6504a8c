"""Segments of a generation: its own table and tables that inherit from it, each with an HNSW index of its own.

A large load goes into a segment of its own, whose index is built over it alone once the data is in: 5,000 vectors
beside 50,000 take 0.9 s so, and 5 s through the live index. PostgreSQL merges the segments' index scans, so that a
query names the generation's table and sees them all, an unindexed one exactly. Each costs a query another descent,
so they are merged when there are many.
"""

from __future__ import annotations

import random
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from schema import index
from schema.sql import fetch_one, statement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from schema.connect import Connection
    from schema.records import Generation

ATTEMPTS = 100


def members(connection: Connection, generation: Generation) -> list[Generation]:
    """The generation's own table and its segments, each as the place that new vectors go to."""
    rows = connection.execute(statement("list_segments"), {"table": generation.table})
    return [replace(generation, segment=number) for number in (0, *(row[0] for row in rows))]


def size(connection: Connection, member: Generation) -> int:
    """Vectors of one segment alone."""
    return int(fetch_one(connection, "segment_size", generation=member)[0])


def unindexed(connection: Connection, generation: Generation) -> list[Generation]:
    """Segments with vectors and without an index that searches can use."""
    return [
        member
        for member in members(connection, generation)
        if has_any(connection, member) and not index.is_valid(connection, member)
    ]


def has_any(connection: Connection, member: Generation) -> bool:
    """Whether the segment alone has any vector."""
    return bool(fetch_one(connection, "segment_has_any", generation=member)[0])


def create(connection: Connection, generation: Generation) -> Generation:
    """An empty segment that readers see from the caller's commit on."""
    made = _next(connection, generation)
    connection.execute(statement("create_segment", made))
    connection.execute(statement("attach_segment", made))
    return made


def merge(
    connection: Connection, joined: Sequence[Generation], m: int, ef_construction: int
) -> Generation | None:
    """One indexed segment in place of several; nobody may write to them meanwhile, readers go on. Commits.

    Returns None, and leaves everything as it was, when the old ones were in use all the time.
    """
    made = _next(connection, joined[0])
    connection.execute(statement("create_segment", made))
    for member in joined:
        connection.execute(_into("copy_segment", member, made))
    connection.commit()
    index.build(connection, made, m, ef_construction)
    connection.commit()
    for _ in range(ATTEMPTS):
        try:
            with connection.transaction():
                connection.execute("set local lock_timeout = '200ms'")
                _swap(connection, joined, made)
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
            time.sleep(random.uniform(0.0, 0.2))  # noqa: S311 -- jitter
        else:
            return made
    connection.execute(statement("drop_segment", made))
    connection.commit()
    return None


def _swap(connection: Connection, joined: Sequence[Generation], made: Generation) -> None:
    for member in joined:
        connection.execute(statement("lock_segment", member))
        if connection.execute(_into("lack_of_segment", member, made)).fetchone() != (0,):
            raise MergeError(f"{member.segment_table} was written to while it was merged")
    for member in joined:
        name = "drop_segment" if member.segment else "empty_segment"
        connection.execute(statement(name, member))
    connection.execute(statement("attach_segment", made))


class MergeError(Exception):
    """Segments could not be merged; they are as they were."""


def drop(connection: Connection, member: Generation) -> None:
    """An empty segment, which nobody is loading."""
    connection.execute(statement("drop_segment", member))


def record_cost(connection: Connection, member: Generation, way: str, vectors: int, seconds: float) -> None:
    """What it took to put vectors under an index: inserted into a live one, or as a build."""
    values = {"generation": member.id, "way": way, "vectors": vectors, "seconds": seconds}
    connection.execute(statement("record_index_cost"), {**values, "indexed": size(connection, member)})


def measured_cost(connection: Connection, generation: Generation, way: str) -> tuple[float, int] | None:
    """Seconds for a vector, and the size of the index at which they were measured; None before any measurement."""
    row = connection.execute(
        statement("read_index_cost"), {"generation": generation.id, "way": way}
    ).fetchone()
    return None if row is None or row[0] is None else (row[0], row[1])


def _next(connection: Connection, generation: Generation) -> Generation:
    number = 1 + max(member.segment for member in members(connection, generation))
    while connection.execute(
        "select to_regclass(%s) is not null", [f"{generation.table}_s{number}"]
    ).fetchone() == (True,):
        number += 1  # one that a killed merge left
    return replace(generation, segment=number)


def _into(name: str, member: Generation, into: Generation) -> sql.Composed:
    text = sql.SQL(statement(name, member).as_string())
    return text.format(into=sql.Identifier(into.segment_table))
