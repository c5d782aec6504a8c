"""Vectors that are stored or kept already, given to every chunk that has the same text: nothing is embedded twice."""

from __future__ import annotations

from dataclasses import asdict
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from pgvector import HalfVector, Vector
from psycopg import Cursor, sql
from psycopg.types.array import ListBinaryDumper

from pgfolio.schema.database.statements import fetch_one, statement
from pgfolio.schema.vectors.generations import list_generations
from pgfolio.schema.vectors.storage import can_take, storage_of, value, vector_statement

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    import numpy as np

    from pgfolio.schema.database.connect import Connection
    from pgfolio.schema.records import Generation, Space


class VectorArray(list[HalfVector | Vector]):
    """Sent in binary: psycopg sends other lists as text, 60 times slower for vectors."""


def with_vector_arrays(connection: Connection) -> Cursor[Any]:
    """A cursor that takes them."""
    cursor = connection.cursor()
    cursor.adapters.register_dumper(VectorArray, ListBinaryDumper)
    return cursor


def place(connection: Connection, generation: Generation, made: Mapping[bytes, np.ndarray]) -> int:
    """Give each text's vector of shape (dimensions,), float32, to every chunk that has the text and lacks one, while
    syncs go on. Keys are hashes of the texts as embedded. Returns how many chunks got theirs."""
    values = {
        "hashes": list(made),
        "embeddings": VectorArray(value(generation.space, vector) for vector in made.values()),
        "generation": generation.id,
    }
    row = (
        with_vector_arrays(connection)
        .execute(vector_statement("place_vectors", generation), values)
        .fetchone()
    )
    return int(row[0]) if row else 0


def place_stored(connection: Connection, generation: Generation, page: int) -> Iterator[int]:
    """Give chunks that lack a vector those that are stored or kept for the same text. Each page is a transaction;
    yields how many chunks got theirs."""
    text = vector_statement("place_stored_vectors", generation)
    yield from _paged(connection, text, {"generation": generation.id}, page)


def take(connection: Connection, generation: Generation, page: int) -> Iterator[int]:
    """Give chunks the vectors that they have in other generations of the same model, if any. As place_stored."""
    states = ("active", "ready", "building", "retired")
    for other in list_generations(connection, *states):
        if other.id != generation.id and can_take(generation.space, other.space):
            text = sql.SQL(vector_statement("take_vectors", generation).as_string(connection))
            yield from _paged(connection, text.format(other=sql.Identifier(other.table)), {}, page)
    connection.commit()


def _paged(connection: Connection, text: sql.Composed, values: Mapping[str, Any], page: int) -> Iterator[int]:
    after: int | None = 0
    while after is not None:
        row = connection.execute(text, {**values, "after": after, "limit": page}).fetchone()
        connection.commit()
        after, placed = row or (None, 0)
        yield int(placed)


def count_missing(connection: Connection, generation: Generation) -> int:
    """Chunks that have no vector in this generation."""
    return int(fetch_one(connection, vector_statement("count_missing_vectors", generation))[0])


def forecast(connection: Connection, space: Space, generation: Generation | None) -> tuple[int, int]:
    """Texts and their tokens that would have to be embedded for a space, of which `generation` has some."""
    row = connection.execute(statement("find_space"), asdict(space)).fetchone()
    query = (
        statement("forecast_all_texts")
        if generation is None
        else vector_statement("forecast_lacking_texts", generation)
    )
    texts, tokens = fetch_one(connection, query, {"space_id": row[0] if row else None})
    return int(texts), int(tokens)


def reuse(connection: Connection, generation: Generation, hashes: Sequence[bytes]) -> dict[bytes, np.ndarray]:
    """Stored and kept vectors of shape (dimensions,), float32, by the hash of the text as embedded. Only of this
    generation's space: an equal text in another one has another vector."""
    parameters = {"hashes": list(hashes), "generation": generation.id}
    rows = connection.execute(vector_statement("reuse_vectors", generation), parameters, binary=True)
    return {row[0]: row[1].to_numpy().astype("float32") for row in rows}


def keep(connection: Connection, generation: Generation, paid: Mapping[bytes, np.ndarray]) -> None:
    """Vectors of shape (dimensions,), float32, by the hash of the text as embedded, that no chunk has yet: what is
    paid for is not lost with the document that it was for."""
    rows = [
        {"generation": generation.id, "hash": key, "embedding": value(generation.space, vector)}
        for key, vector in sorted(paid.items(), key=itemgetter(0))  # in one order: no two wait in a circle
    ]
    connection.cursor().executemany(vector_statement("retain_vector", generation), rows)


def retain_of_chunks(connection: Connection, generation: Generation, chunk_ids: Sequence[int]) -> None:
    """The vectors of chunks that are about to go: their text may come back."""
    parameters = {"generation": generation.id, "ids": list(chunk_ids)}
    connection.execute(vector_statement("retain_vectors_of_chunks", generation), parameters)


def retain_of_documents(
    connection: Connection, generation: Generation, source_id: int, paths: Sequence[str]
) -> None:
    """The same of whole documents."""
    parameters = {"generation": generation.id, "source_id": source_id, "paths": list(paths)}
    connection.execute(vector_statement("retain_vectors_of_documents", generation), parameters)


def release(connection: Connection, generation: Generation, hashes: Collection[bytes]) -> None:
    """Kept vectors that chunks have now."""
    parameters = {"generation": generation.id, "hashes": list(hashes)}
    connection.execute(statement("release_vectors"), parameters)


def expire(connection: Connection, days: int) -> None:
    """Forget what was kept for longer."""
    connection.execute(statement("expire_vectors"), {"days": days})


def add_vectors(connection: Connection, generation: Generation, rows: Sequence[tuple[int, int, Any]]) -> None:
    """Copy in vectors as (chunk id, collection id, vector of shape (dimensions,), float32)."""
    with connection.cursor().copy(vector_statement("copy_vectors", generation)) as copy:
        copy.set_types(["int8", "int4", storage_of(generation.space).type])
        for chunk_id, collection_id, vector in rows:
            copy.write_row((chunk_id, collection_id, value(generation.space, vector)))
