"""Segments of a generation: its own table and tables that inherit from it, each with an HNSW index of its own.

A large load goes into a segment of its own, whose index is built over it alone once the data is in: 5,000 vectors
beside 50,000 take 0.9 s so, and 5 s through the live index. PostgreSQL merges the segments' index scans, so that a
query names the generation's table and sees them all, an unindexed one exactly. Each costs a query another descent,
so they are merged when there are many.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from psycopg import sql

from pgfolio.schema.database import locks
from pgfolio.schema.database.statements import fetch_one, statement
from pgfolio.schema.vectors import hnsw
from pgfolio.schema.vectors.storage import vector_statement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgfolio.schema.database.connect import Connection
    from pgfolio.schema.records import Generation

SWAP_ATTEMPTS = 100

MIN_MEASURED_VECTORS = 100
"""Vectors below which what they cost says little of one."""

COST_MEASUREMENTS = 5
"""The latest, of which a vector's cost is the mean."""


def members(connection: Connection, generation: Generation) -> list[Generation]:
    """The generation's own table and its segments, each as the place that new vectors go to."""
    rows = connection.execute(statement("list_segments"), {"table": generation.table})
    return [replace(generation, segment=number) for number in (0, *(row[0] for row in rows))]


def size(connection: Connection, member: Generation) -> int:
    """Vectors of one segment alone."""
    return int(fetch_one(connection, vector_statement("segment_size", member))[0])


def about(connection: Connection, generation: Generation) -> dict[Generation, int]:
    """Vectors of each segment, as PostgreSQL reckons; counted where it does not know yet. Counting a million takes
    a tenth of a second."""
    return {member: _about(connection, member) for member in members(connection, generation)}


def reckoned(connection: Connection, generation: Generation) -> int:
    """Vectors of all segments, as `about`."""
    return sum(about(connection, generation).values())


def largest(connection: Connection, generation: Generation) -> Generation:
    """The segment that most searches end in."""
    sizes = about(connection, generation)
    return max(sizes, key=lambda member: sizes[member])


def unindexed(connection: Connection, generation: Generation) -> list[Generation]:
    """Segments with vectors and without an index that searches can use."""
    return [
        member
        for member in members(connection, generation)
        if has_any(connection, member) and not hnsw.is_valid(connection, member)
    ]


def has_any(connection: Connection, member: Generation) -> bool:
    """Whether the segment alone has any vector."""
    return bool(fetch_one(connection, vector_statement("segment_has_any", member))[0])


def create(connection: Connection, generation: Generation) -> Generation:
    """An empty segment that readers see from the caller's commit on."""
    made = _next(connection, generation)
    connection.execute(vector_statement("create_segment", made))
    connection.execute(vector_statement("attach_segment", made))
    return made


def merge(
    connection: Connection, joined: Sequence[Generation], m: int, ef_construction: int
) -> tuple[Generation, hnsw.IndexBuild] | None:
    """One indexed segment in place of several, without their deleted rows; readers go on. Commits.

    Returns None, and leaves everything as it was, when the old ones were in use, or written to, all the time.
    """
    made = _next(connection, joined[0])
    connection.execute(vector_statement("create_segment", made))
    for member in joined:
        connection.execute(_into("copy_segment", member, made))
    connection.commit()
    built = hnsw.build(connection, made, m, ef_construction)
    connection.commit()

    def swap() -> bool:
        with connection.transaction():
            connection.execute(statement("limit_lock_wait"), {"timeout": locks.LOCK_TIMEOUT})
            return _swap(connection, joined, made)

    if locks.with_lock_retries(swap, SWAP_ATTEMPTS):
        return made, built
    connection.execute(vector_statement("drop_segment", made))
    connection.commit()
    return None


def _swap(connection: Connection, joined: Sequence[Generation], made: Generation) -> bool:
    """False: one of them has a vector that the new one lacks, and nothing is changed. Only a reembed's way back,
    which waits for no sync, writes while segments are merged."""
    for member in joined:  # compared while readers go on
        connection.execute(vector_statement("lock_segment_writes", member))
        if connection.execute(_into("lack_of_segment", member, made)).fetchone() != (0,):
            return False
    for member in joined:
        connection.execute(vector_statement("lock_segment", member))
    for member in joined:
        name = "drop_segment" if member.segment else "empty_segment"
        connection.execute(vector_statement(name, member))
    connection.execute(vector_statement("attach_segment", made))
    return True


def leftovers(connection: Connection, generation: Generation) -> list[str]:
    """Tables that killed merges left."""
    pattern = f"^{generation.table}_s[0-9]+$"
    return [row[0] for row in connection.execute(statement("list_leftovers"), {"pattern": pattern})]


def drop_leftover(connection: Connection, name: str) -> None:
    """While nobody merges."""
    text = sql.SQL(statement("drop_leftover").as_string())
    connection.execute(text.format(leftover=sql.Identifier(name)))


def dead(connection: Connection, member: Generation) -> int:
    """Rows that were deleted from a segment and that its index still has. Commits."""
    connection.execute(statement("publish_counts"))
    connection.commit()
    return int(fetch_one(connection, "dead_rows", {"table": member.segment_table})[0] or 0)


def drop(connection: Connection, member: Generation) -> None:
    """An empty segment, which nobody is loading."""
    connection.execute(vector_statement("drop_segment", member))


def record_cost(connection: Connection, member: Generation, way: str, vectors: int, seconds: float) -> None:
    """What it took to put vectors under an index: inserted into a live one, or as a build."""
    values = {"generation": member.id, "way": way, "vectors": vectors, "seconds": seconds}
    connection.execute(statement("record_index_cost"), {**values, "indexed": _about(connection, member)})


def measured_cost(connection: Connection, generation: Generation, way: str) -> tuple[float, int] | None:
    """Seconds for a vector, and the size of the index at which they were measured; None before any measurement."""
    values = {"generation": generation.id, "way": way}
    sizes = {"min_vectors": MIN_MEASURED_VECTORS, "measurements": COST_MEASUREMENTS}
    row = connection.execute(statement("read_index_cost"), {**values, **sizes}).fetchone()
    return None if row is None or row[0] is None else (row[0], row[1])


def _about(connection: Connection, member: Generation) -> int:
    known = int(fetch_one(connection, "reckoned_size", {"table": member.segment_table})[0])
    return size(connection, member) if known < 0 else known


def _next(connection: Connection, generation: Generation) -> Generation:
    leftover_numbers = [int(name.rpartition("_s")[2]) for name in leftovers(connection, generation)]
    member_numbers = [member.segment for member in members(connection, generation)]
    return replace(generation, segment=1 + max([*member_numbers, *leftover_numbers]))


def _into(name: str, member: Generation, into: Generation) -> sql.Composed:
    text = sql.SQL(vector_statement(name, member).as_string())
    return text.format(into=sql.Identifier(into.segment_table))
