"""What a generation's similarities count in hybrid search: measured on the corpus, kept with the generation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pgfolio.schema.database.statements import fetch_one, statement
from pgfolio.schema.vectors.storage import vector_statement

if TYPE_CHECKING:
    from pgfolio.schema.database.connect import Connection
    from pgfolio.schema.records import Generation


def sample_embedded(
    connection: Connection, generation: Generation, count: int
) -> list[tuple[str, np.ndarray]]:
    """Texts of at most `count` chunks with their vectors of shape (dimensions,), float32; the same ones each time."""
    rows = connection.execute(vector_statement("sample_embedded", generation), {"count": count}, binary=True)
    return [(content, embedding.to_numpy().astype(np.float32)) for content, embedding in rows]


def save(connection: Connection, generation: Generation, weight: float, vectors: int) -> None:
    """From now on searches use it that are not told another one."""
    values = {"generation": generation.id, "weight": weight, "vectors": vectors}
    connection.execute(statement("save_vector_weight"), values)


def weighed_vectors(connection: Connection, generation: Generation) -> int | None:
    """How many vectors there were at the last measurement; None: there was none."""
    vectors: int | None = fetch_one(connection, "weighed_vectors", {"generation": generation.id})[0]
    return vectors
