"""Recall of an HNSW index: of the vectors truly nearest to stored ones, how many the index finds, and how fast."""

from __future__ import annotations

import time
from statistics import median
from typing import TYPE_CHECKING, Any

from psycopg import sql

from pgfolio.schema.database.statements import statement
from pgfolio.schema.vectors.storage import scan, value, vector_statement

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from pgfolio.schema.database.connect import Connection
    from pgfolio.schema.records import Generation

SAMPLE_QUERIES = 200
K = 10
TIE_DISTANCE = 1e-6
"""Copies of a text are equally near: another of them than the exact scan's is as good."""


class EvaluationQueries:
    """Stored vectors taken by chance, with the distances of the truly nearest, each left out of its own neighbours;
    `sampled`: in the sample that tuning.py tries indexes on; `queries`: vectors of questions, each of shape
    (dimensions,), in the place of some of them."""

    def __init__(
        self,
        connection: Connection,
        generation: Generation,
        count: int,
        *,
        queries: Sequence[np.ndarray] = (),
        sampled: bool = False,
    ) -> None:
        """Ends the transaction."""
        self.sampled = sampled
        self._connection = connection
        self._generation = generation
        self._nearest = "sample_nearest" if sampled else "recall_nearest"
        sample = vector_statement("sample_of_sample" if sampled else "sample_vectors", generation)
        queries = queries[:count]
        stored = connection.execute(sample, {"count": count - len(queries)}, binary=True).fetchall()
        self.queries = [*stored, *((0, value(generation.space, vector)) for vector in queries)]
        exact = "sample_exact" if sampled else "recall_exact"
        self._truth = [self._distances(exact, row, limit=K) for row in self.queries]
        connection.commit()

    def measure(self, ef_search: int) -> tuple[float | None, float]:
        """recall@10 (None where no vector has neighbours) and the median milliseconds of a query, through the
        index. Ends the transaction."""
        took, distances = [], []
        scan_limit = scan(self._generation.space, K + 1, ef_search)
        with self._connection.transaction(force_rollback=True):  # the settings end with it
            self._connection.execute(statement("force_index"), {"ef_search": str(ef_search)})
            for row in self.queries:
                began = time.perf_counter()
                distances.append(self._distances(self._nearest, row, limit=K, scan=scan_limit))
                took.append(time.perf_counter() - began)
        self._connection.commit()
        return recall(distances, self._truth), median(took) * 1000 if took else 0.0

    def _distances(self, name: str, row: tuple[Any, ...], **literals: int) -> list[float]:
        text = with_literals(self._connection, name, self._generation, **literals)
        values = {"chunk_id": row[0], "vector": row[1]}
        return [distance for (distance,) in self._connection.execute(text, values, binary=True)]


def measure(
    connection: Connection, generation: Generation, ef_search: int, sample: int = SAMPLE_QUERIES
) -> float | None:
    """recall@10 over stored vectors taken by chance; None where there are too few. Ends the transaction."""
    return EvaluationQueries(connection, generation, sample).measure(ef_search)[0]


def recall(approximate: list[list[float]], exact: list[list[float]]) -> float | None:
    """The part of the nearest that was found, by distance, over all questions that have neighbours. Pure."""
    hits = [
        sum(distance <= truth[-1] + TIE_DISTANCE for distance in distances[: len(truth)]) / len(truth)
        for distances, truth in zip(approximate, exact, strict=True)
        if truth
    ]
    return sum(hits) / len(hits) if hits else None


def with_literals(connection: Connection, name: str, generation: Generation, **literals: int) -> sql.Composed:
    """A statement whose limits and parameters are part of its text."""
    text = sql.SQL(vector_statement(name, generation).as_string(connection))
    return text.format(**{key: sql.Literal(number) for key, number in literals.items()})
