"""Measuring an HNSW index at several settings, trying others on a sample, and what it is tuned to."""

from __future__ import annotations

import time
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from psycopg import sql

from schema.index import LEAST_MEMORY, graph_bytes
from schema.recall import NEAREST, recall
from schema.sql import fetch_one, statement

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from schema.connect import Connection
    from schema.records import Generation


@dataclass(frozen=True, slots=True)
class Parameters:
    """With what an index is built."""

    m: int
    ef_construction: int


@dataclass(frozen=True, slots=True)
class Measured:
    """recall@10 and the median time of a query in milliseconds; `sampled`: on some of the vectors."""

    parameters: Parameters
    ef_search: int
    recall: float
    p50_ms: float
    vectors: int
    sampled: bool


@dataclass(frozen=True, slots=True)
class Last:
    """The last measurement of the index in use, at the ef_search in use."""

    ef_search: int
    recall: float
    p50_ms: float
    vectors: int
    measured_at: datetime


class Questions:
    """Vectors to be looked for, with the distances of the truly nearest, each left out of its own neighbours."""

    def __init__(
        self, connection: Connection, generation: Generation, count: int, *, sampled: bool = False
    ) -> None:
        self._connection = connection
        self._generation = generation
        self._nearest = "sample_nearest" if sampled else "recall_nearest"
        name = "sample_of_sample" if sampled else "sample_vectors"
        self.sampled = sampled
        self.asked = connection.execute(statement(name, generation), {"count": count}, binary=True).fetchall()
        exact = "sample_exact" if sampled else "recall_exact"
        self.truth = [_distances(connection, exact, generation, row, NEAREST) for row in self.asked]

    def measure(self, ef_search: int) -> tuple[float, float]:
        """recall@10 and p50 in milliseconds, through the index. Ends the transaction."""
        took = []
        found = []
        with self._connection.transaction(force_rollback=True):  # the settings end with it
            self._connection.execute(statement("force_index"), {"ef_search": str(ef_search)})
            for row in self.asked:
                began = time.perf_counter()
                found.append(_distances(self._connection, self._nearest, self._generation, row, NEAREST + 1))
                took.append(time.perf_counter() - began)
        self._connection.commit()
        return recall(found, self.truth) or 0.0, median(took) * 1000


def parameters(connection: Connection, member: Generation) -> Parameters | None:
    """Of a segment's index; None where it has none."""
    row = connection.execute(statement("index_parameters"), {"name": member.index}).fetchone()
    return None if row is None else Parameters(*row)


def tuned(connection: Connection, generation: Generation) -> tuple[Parameters | None, int | None]:
    """What the generation was tuned to: the index's parameters and ef_search."""
    m, ef_construction, ef_search = fetch_one(connection, "read_tuning", {"generation": generation.id})
    return None if m is None else Parameters(m, ef_construction), ef_search


def save(connection: Connection, generation: Generation, wanted: Parameters, ef_search: int) -> None:
    """From now on searches use the ef_search and builds the parameters."""
    values = {"generation": generation.id, "m": wanted.m, "ef_construction": wanted.ef_construction}
    connection.execute(statement("save_tuning"), {**values, "ef_search": ef_search})


def record(connection: Connection, generation: Generation, measured: Sequence[Measured]) -> None:
    for one in measured:
        connection.execute(
            statement("record_measurement"),
            {
                "generation": generation.id,
                "m": one.parameters.m,
                "ef_construction": one.parameters.ef_construction,
                "ef_search": one.ef_search,
                "recall": one.recall,
                "p50_ms": one.p50_ms,
                "vectors": one.vectors,
                "sampled": one.sampled,
            },
        )


def last(connection: Connection, generation: Generation, ef_search: int | None) -> Last | None:
    """At this ef_search; None: at whichever was measured last."""
    row = connection.execute(
        statement("last_measurement"), {"generation": generation.id, "ef_search": ef_search}
    ).fetchone()
    return None if row is None else Last(*row)


def sampled_indexes(
    connection: Connection, generation: Generation, vectors: int, tried: Sequence[Parameters]
) -> Iterator[Parameters]:
    """A table of some vectors, with an index of each of the parameters in turn while the caller measures it."""
    connection.execute(statement("drop_sample"))
    connection.execute(_written(connection, "sample_into", generation, limit=vectors))
    connection.commit()
    try:
        for wanted in tried:
            memory = max(int(vectors * graph_bytes(generation, wanted.m) * 1.25), LEAST_MEMORY)
            connection.execute(statement("prepare_index_build"), {"memory_kb": memory // 1024})
            connection.execute(statement("drop_sample_index"))
            connection.execute(
                _written(
                    connection,
                    "index_sample",
                    generation,
                    m=wanted.m,
                    ef_construction=wanted.ef_construction,
                )
            )
            connection.commit()
            yield wanted
    finally:
        connection.rollback()
        connection.execute(statement("drop_sample"))
        connection.commit()


def _written(connection: Connection, name: str, generation: Generation, **literals: int) -> sql.Composed:
    text = sql.SQL(statement(name, generation).as_string(connection))
    return text.format(**{key: sql.Literal(value) for key, value in literals.items()})


def _distances(
    connection: Connection, name: str, generation: Generation, row: tuple[Any, ...], limit: int
) -> list[float]:
    text = _written(connection, name, generation, limit=limit)
    found = connection.execute(text, {"chunk_id": row[0], "vector": row[1]}, binary=True)
    return [distance for (distance,) in found]
