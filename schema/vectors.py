"""Spaces and generations: the tables of vectors, which one is active, and the vectors that can be used again."""

from __future__ import annotations

import random
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import psycopg
from pgvector import HalfVector

from schema.records import Generation, Space
from schema.sql import fetch_one, statement

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from schema.connect import Connection

LOCK = 0x67656E  # "gen"
DROP_ATTEMPTS = 100
PAGE_BYTES = 8000
"""What a row may take to stay within one page of a table."""


def active_generation(connection: Connection) -> Generation | None:
    found = generations(connection, "active")
    return found[0] if found else None


def generations(connection: Connection, *states: str) -> list[Generation]:
    """Generations in any of these states, the newest first."""
    rows = connection.execute(statement("list_generations"), {"states": list(states)})
    return [Generation(row[0], Space(*row[2:9]), row[1]) for row in rows]


def ensure_active(connection: Connection, space: Space) -> Generation:
    """The active generation; on a new database one is made in this space."""
    # Two first syncs at once: the second waits here and finds what the first has made.
    connection.execute("select pg_advisory_xact_lock(%s)", [LOCK])
    return active_generation(connection) or create_generation(connection, space, "active")


def create_generation(connection: Connection, space: Space, state: str) -> Generation:
    """A generation with its empty table, without an index."""
    row = fetch_one(connection, "upsert_space", asdict(space))
    inserted = fetch_one(connection, "insert_generation", {"space_id": row[0], "state": state})
    generation = Generation(inserted[0], space, state)  # type: ignore[arg-type]
    connection.execute(statement("create_vectors", generation))
    if 2 * space.dimensions + 64 < PAGE_BYTES:
        connection.execute(statement("store_vectors_plain", generation))
    return generation


def activate(connection: Connection, generation: Generation) -> None:
    """The switch: readers see the old generation before the commit and the new one after it."""
    for old in generations(connection, "active"):
        connection.execute(statement("set_generation_state"), {"id": old.id, "state": "retired"})
    connection.execute(statement("set_generation_state"), {"id": generation.id, "state": "active"})


def drop_generation(connection: Connection, generation: Generation) -> bool:
    """Drop a generation that nobody needs, in a transaction of its own. False: it was in use all the time.

    Its foreign key makes the drop lock `chunks` too, and readers take both in their own order: a drop that waits
    could deadlock with them, or hold them all up. So it gives way, and tries again.
    """
    connection.commit()
    for _ in range(DROP_ATTEMPTS):
        try:
            with connection.transaction():
                connection.execute("set local lock_timeout = '200ms'")
                connection.execute(statement("drop_vectors", generation))
                connection.execute(statement("delete_generation"), {"id": generation.id})
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
            time.sleep(random.uniform(0.0, 0.2))  # noqa: S311 -- jitter
        else:
            return True
    return False


def has_any(connection: Connection, generation: Generation) -> bool:
    return bool(fetch_one(connection, "any_vector", generation=generation)[0])


def reuse(connection: Connection, generation: Generation, hashes: Sequence[bytes]) -> dict[bytes, np.ndarray]:
    """Stored and kept vectors of shape (dimensions,), float32, by the hash of the text as embedded. Only of this
    generation's space: an equal text in another one has another vector."""
    parameters = {"hashes": list(hashes), "generation": generation.id}
    rows = connection.execute(statement("reuse_vectors", generation), parameters, binary=True)
    return {row[0]: row[1].to_numpy().astype(np.float32) for row in rows}


def keep(connection: Connection, generation: Generation, paid: Mapping[bytes, np.ndarray]) -> None:
    """Vectors of shape (dimensions,), float32, by the hash of the text as embedded, that no chunk has yet: what is
    paid for is not lost with the document that it was for."""
    rows = [
        {"generation": generation.id, "hash": key, "embedding": HalfVector(vector)}
        for key, vector in paid.items()
    ]
    connection.cursor().executemany(statement("keep_vector"), rows)


def keep_of_chunks(connection: Connection, generation: Generation, chunk_ids: Sequence[int]) -> None:
    """The vectors of chunks that are about to go: their text may come back."""
    parameters = {"generation": generation.id, "ids": list(chunk_ids)}
    connection.execute(statement("keep_vectors_of_chunks", generation), parameters)


def keep_of_documents(
    connection: Connection, generation: Generation, source_id: int, paths: Sequence[str]
) -> None:
    """The same of whole documents."""
    parameters = {"generation": generation.id, "source_id": source_id, "paths": list(paths)}
    connection.execute(statement("keep_vectors_of_documents", generation), parameters)


def release(connection: Connection, generation: Generation, hashes: Collection[bytes]) -> None:
    """Kept vectors that chunks have now."""
    parameters = {"generation": generation.id, "hashes": list(hashes)}
    connection.execute(statement("release_vectors"), parameters)


def expire(connection: Connection, days: int) -> None:
    """Forget what was kept for longer."""
    connection.execute(statement("expire_vectors"), {"days": days})


def add_vectors(connection: Connection, generation: Generation, rows: Sequence[tuple[int, int, Any]]) -> None:
    """Copy in vectors as (chunk id, collection id, vector of shape (dimensions,), float32)."""
    with connection.cursor().copy(statement("copy_vectors", generation)) as copy:
        copy.set_types(["int8", "int4", "halfvec"])
        for chunk_id, collection_id, vector in rows:
            copy.write_row((chunk_id, collection_id, HalfVector(vector)))
