"""A sample of stored vectors with the texts that they were made of, to be made anew."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pgfolio.schema.vectors.storage import vector_statement

if TYPE_CHECKING:
    from pgfolio.schema.database.connect import Connection
    from pgfolio.schema.records import Generation


class StoredVector(NamedTuple):
    """A chunk's vector, of shape (dimensions,), float32, with the text that it was made of."""

    chunk_id: int
    document_id: int
    source_id: int
    source: str
    path: str
    title: str | None
    heading: str
    content: str
    hash: bytes
    vector: np.ndarray


def sample_texts(connection: Connection, generation: Generation, count: int) -> list[StoredVector]:
    """Vectors by chance, with their texts. Those that are found to be wrong by themselves are left out."""
    values = {"dimensions": generation.space.dimensions, "count": count}
    rows = connection.execute(vector_statement("sample_with_texts", generation), values, binary=True)
    return [StoredVector(*row)._replace(vector=row[-1].to_numpy().astype(np.float32)) for row in rows]
