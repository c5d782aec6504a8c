"""Recall of an HNSW index: of the vectors truly nearest to stored ones, how many the index finds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psycopg import sql

from schema.sql import statement

if TYPE_CHECKING:
    from schema.connect import Connection
    from schema.records import Generation

SAMPLE = 200
NEAREST = 10
TIE = 1e-6
"""Copies of a text are equally near: another of them than the exact scan's is as good."""


def measure(
    connection: Connection, generation: Generation, ef_search: int, sample: int = SAMPLE
) -> float | None:
    """recall@10 over stored vectors taken by chance, each left out of its own neighbours; None where there are too
    few. Ends the transaction."""
    wanted = {"count": sample}
    chosen = connection.execute(statement("sample_vectors", generation), wanted, binary=True).fetchall()
    with connection.transaction(force_rollback=True):  # the settings end with it
        connection.execute(statement("force_index"), {"ef_search": str(ef_search)})
        found = [_distances(connection, "recall_nearest", generation, row, NEAREST + 1) for row in chosen]
    connection.commit()
    exact = [_distances(connection, "recall_exact", generation, row, NEAREST) for row in chosen]
    connection.commit()
    return recall(found, exact)


def recall(found: list[list[float]], exact: list[list[float]]) -> float | None:
    """The part of the nearest that was found, by distance, over all questions that have neighbours. Pure."""
    hits = [
        sum(distance <= truth[-1] + TIE for distance in near[: len(truth)]) / len(truth)
        for near, truth in zip(found, exact, strict=True)
        if truth
    ]
    return sum(hits) / len(hits) if hits else None


def _distances(
    connection: Connection, name: str, generation: Generation, row: tuple[Any, ...], limit: int
) -> list[float]:
    text = sql.SQL(statement(name, generation).as_string(connection)).format(limit=sql.Literal(limit))
    values = {"chunk_id": row[0], "vector": row[1]}
    return [distance for (distance,) in connection.execute(text, values, binary=True)]
