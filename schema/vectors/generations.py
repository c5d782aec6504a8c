"""Spaces and generations: the tables of vectors, which one is active, and the vectors that can be used again."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from psycopg.types.json import Jsonb

from pgfolio.schema.database import locks
from pgfolio.schema.database.statements import fetch_one, statement
from pgfolio.schema.records import Generation, Space
from pgfolio.schema.vectors import segments
from pgfolio.schema.vectors.storage import column_bytes, vector_statement

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pgfolio.schema.database.connect import AsyncConnection, Connection

DROP_ATTEMPTS = 100
ROW_OVERHEAD_BYTES = 64
MAX_ROW_BYTES = 8000
"""What a row may take to stay within one page of a table."""


class ReembedBusyError(Exception):
    """Another reembed is running."""


class GenerationGoneError(Exception):
    """A generation that was to become active was dropped meanwhile."""


def active_generation(connection: Connection) -> Generation | None:
    active = list_generations(connection, "active")
    return active[0] if active else None


def generation_of(row: Sequence[Any]) -> Generation:
    """Of a row (id, state, the space's seven columns) with, where it is read for searching, the tuned ef_search and
    the measured weight."""
    ef_search, vector_weight = row[9:11] if len(row) > 9 else (None, None)
    return Generation(row[0], Space(*row[2:9]), row[1], ef_search=ef_search, vector_weight=vector_weight)


def list_generations(connection: Connection, *states: str) -> list[Generation]:
    """Generations in any of these states, the newest first."""
    rows = connection.execute(statement("list_generations"), {"states": list(states)})
    return [generation_of(row) for row in rows]


async def coming(connection: AsyncConnection) -> list[Generation]:
    """Generations that may become the active one before long."""
    cursor = await connection.execute(statement("list_generations"), {"states": ["building", "ready"]})
    return [generation_of(row) for row in await cursor.fetchall()]


def ensure_active(connection: Connection, space: Space) -> Generation:
    """The active generation; on a new database one is made in this space."""
    # Two first syncs at once: the second waits here and finds what the first has made.
    connection.execute("select pg_advisory_xact_lock(%s)", [locks.FIRST_GENERATION])
    return active_generation(connection) or create_generation(connection, space, "active")


def create_generation(connection: Connection, space: Space, state: str) -> Generation:
    """A generation with its empty table, without an index."""
    row = fetch_one(connection, "upsert_space", asdict(space))
    inserted = fetch_one(connection, "insert_generation", {"space_id": row[0], "state": state})
    generation = Generation(inserted[0], space, state)  # type: ignore[arg-type]
    create_table(connection, generation)
    return generation


def create_table(connection: Connection, generation: Generation) -> None:
    """A generation's table, empty."""
    connection.execute(vector_statement("create_vectors", generation))
    if column_bytes(generation.space) + ROW_OVERHEAD_BYTES < MAX_ROW_BYTES:
        connection.execute(vector_statement("store_vectors_plain", generation))


def activate(connection: Connection, generation: Generation) -> None:
    """The switch: readers see the old generation before the commit and the new one after it. The old one is retired.
    Raises GenerationGoneError."""
    for old in list_generations(connection, "active"):
        set_state(connection, old, "retired")
    if not set_state(connection, generation, "active"):
        raise GenerationGoneError(f"the vectors of {generation.space.name} were dropped meanwhile")


def set_state(connection: Connection, generation: Generation, state: str) -> bool:
    """False: it is not there any more."""
    values = {"id": generation.id, "state": state}
    return connection.execute(statement("set_generation_state"), values).rowcount == 1


@contextmanager
def alone(connection: Connection) -> Iterator[None]:
    """Inside, nobody else moves the corpus. Raises ReembedBusyError."""
    with locks.session_lock(connection, *locks.REEMBED) as is_locked:
        if not is_locked:
            raise ReembedBusyError("another reembed is running: wait until it is done")
        yield


def is_reembedding(connection: Connection) -> bool:
    """Whether anybody moves the corpus just now."""
    lock_class, lock_id = locks.REEMBED
    return bool(fetch_one(connection, "is_reembedding", {"lock_class": lock_class, "lock_id": lock_id})[0])


def generation_in(connection: Connection, space: Space) -> Generation | None:
    """Vectors in this space that are there but not in use: of a killed run, of a gate that failed, of a time when
    the space was active. The most complete are taken up again."""
    unused = [g for g in list_generations(connection, "building", "ready", "retired") if g.space == space]
    return min(unused, key=lambda g: ("building", "ready", "retired").index(g.state), default=None)


def previous(connection: Connection) -> Generation | None:
    """The generation that was active before and is still there."""
    row = connection.execute(statement("previous_generation")).fetchone()
    retired = {generation.id: generation for generation in list_generations(connection, "retired")}
    return None if row is None else retired.get(row[0])


def drop_expired(connection: Connection, days: int) -> list[Generation]:
    """Drop generations that were retired so many days ago, each in a transaction of its own. Returns those that were
    in use all the time: the next call tries again."""
    expired = {row[0] for row in connection.execute(statement("expired_generations"), {"days": days})}
    retired = [g for g in list_generations(connection, "retired") if g.id in expired] if expired else []
    connection.commit()
    return [generation for generation in retired if not drop_generation(connection, generation)]


def record_measured(connection: Connection, generation: Generation, measured: Mapping[str, Any]) -> None:
    """What was measured of a generation before it was to become active."""
    values = {"id": generation.id, "measured": Jsonb(dict(measured))}
    connection.execute(statement("record_measured"), values)


def drop_generation(connection: Connection, generation: Generation) -> bool:
    """Drop a generation that nobody needs, in a transaction of its own. False: it was in use all the time.

    Its foreign key makes the drop lock `chunks` too, and readers take both in their own order: a drop that waits
    could deadlock with them, or hold them all up. So it gives way, and tries again. One whose state is another by
    now is left alone: a rollback may just have made it the active one.
    """
    connection.commit()

    def drop() -> bool:
        with connection.transaction():
            connection.execute(statement("limit_lock_wait"), {"timeout": locks.LOCK_TIMEOUT})
            state = connection.execute(statement("lock_generation"), {"id": generation.id}).fetchone()
            if state is not None and state[0] != generation.state:
                return True
            for name in segments.leftovers(connection, generation):
                segments.drop_leftover(connection, name)
            connection.execute(vector_statement("drop_vectors", generation))
            connection.execute(statement("delete_generation"), {"id": generation.id})
        return True

    return locks.with_lock_retries(drop, DROP_ATTEMPTS) is not None


def count_chunks(connection: Connection) -> int:
    return int(fetch_one(connection, "count_all_chunks")[0])


def has_any(connection: Connection, generation: Generation) -> bool:
    return bool(fetch_one(connection, vector_statement("any_vector", generation))[0])
