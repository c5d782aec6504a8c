"""Moving a source's documents into the collection that it has now, with all that goes by the collection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pgfolio.schema.database.statements import fetch_one, statement
from pgfolio.schema.vectors import generations
from pgfolio.schema.vectors.storage import vector_statement

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pgfolio.schema.database.connect import Connection
    from pgfolio.schema.records import Generation, Source

MAX_BATCH_DOCUMENTS: Final = 200
"""Documents of one transaction."""


def collect(connection: Connection, source: Source) -> int:
    """Move some, in the caller's transaction. Returns how many; 0: all of them are there."""
    values = {"source_id": source.id, "collection_id": source.collection_id}
    if fetch_one(connection, "is_collected", values)[0]:
        return 0
    moved = [
        row[0]
        for row in connection.execute(
            statement("collect_documents"), {**values, "limit": MAX_BATCH_DOCUMENTS}
        )
    ]
    chunks = [row[0] for row in connection.execute(statement("chunks_of_documents"), {"document_ids": moved})]
    known = generations.list_generations(connection, "active", "building", "ready", "retired")
    repair_collections(connection, known, chunks)
    return len(moved)


def repair_collections(
    connection: Connection, generations: Iterable[Generation], chunk_ids: Sequence[int]
) -> None:
    """Put chunks and their vectors of these generations into their document's collection."""
    connection.execute(statement("repair_chunk_collections"), {"ids": list(chunk_ids)})
    for generation in generations:
        connection.execute(
            vector_statement("repair_vector_collections", generation), {"ids": list(chunk_ids)}
        )
