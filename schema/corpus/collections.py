"""Moving a source's documents into the collection that it has now, with all that goes by the collection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pgfolio.schema.database.statements import fetch_one, statement
from pgfolio.schema.integrity import repair
from pgfolio.schema.vectors import generations

if TYPE_CHECKING:
    from pgfolio.schema.database.connect import Connection
    from pgfolio.schema.records import Source

BATCH: Final = 200
"""Documents of one transaction."""


def collect(connection: Connection, source: Source) -> int:
    """Move some, in the caller's transaction. Returns how many; 0: all of them are there."""
    values = {"source_id": source.id, "collection_id": source.collection_id}
    if fetch_one(connection, "is_collected", values)[0]:
        return 0
    moved = [row[0] for row in connection.execute(statement("collect_documents"), {**values, "most": BATCH})]
    chunks = [row[0] for row in connection.execute(statement("chunks_of_documents"), {"document_ids": moved})]
    known = generations.list_generations(connection, "active", "building", "ready", "retired")
    repair.mend_collections(connection, known, chunks)
    return len(moved)
