"""Measuring an HNSW index at several settings, trying others on a sample, and what it is tuned to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgfolio.schema.database.locks import is_usable
from pgfolio.schema.database.rows import fetch_record
from pgfolio.schema.database.statements import fetch_one, statement
from pgfolio.schema.vectors.hnsw import build_memory
from pgfolio.schema.vectors.recall import with_literals
from pgfolio.schema.vectors.storage import vector_statement

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from pgfolio.schema.database.connect import Connection
    from pgfolio.schema.records import Generation

RECENT_TRACES = 10_000
"""The latest, among which questions are looked for: there may be millions."""


@dataclass(frozen=True, slots=True)
class Parameters:
    """With what an index is built."""

    m: int
    ef_construction: int


@dataclass(frozen=True, slots=True)
class Measurement:
    """recall@10 and the median time of a query in milliseconds; `sampled`: on some of the vectors."""

    parameters: Parameters
    ef_search: int
    recall: float
    p50_ms: float
    vectors: int
    sampled: bool


@dataclass(frozen=True, slots=True)
class LastMeasurement:
    """The last measurement of the index in use, at the ef_search in use."""

    ef_search: int
    recall: float
    p50_ms: float
    vectors: int
    measured_at: datetime


def parameters(connection: Connection, member: Generation) -> Parameters | None:
    """Of a segment's index; None where it has none."""
    return fetch_record(connection, Parameters, statement("index_parameters"), {"name": member.index})


def tuned(connection: Connection, generation: Generation) -> tuple[Parameters | None, int | None]:
    """What the generation was tuned to: the index's parameters and ef_search."""
    m, ef_construction, ef_search = fetch_one(connection, "read_tuning", {"generation": generation.id})
    return None if m is None else Parameters(m, ef_construction), ef_search


def save(
    connection: Connection, generation: Generation, build_parameters: Parameters | None, ef_search: int
) -> None:
    """From now on searches use the ef_search, and builds the parameters (None: the settings')."""
    m, ef_construction = (
        (build_parameters.m, build_parameters.ef_construction) if build_parameters else (None, None)
    )
    values = {"generation": generation.id, "m": m, "ef_construction": ef_construction}
    connection.execute(statement("save_tuning"), {**values, "ef_search": ef_search})


def record(connection: Connection, generation: Generation, measured: Sequence[Measurement]) -> None:
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


def last(connection: Connection, generation: Generation, ef_search: int | None) -> LastMeasurement | None:
    """At this ef_search; None: at whichever was measured last."""
    values = {"generation": generation.id, "ef_search": ef_search}
    return fetch_record(connection, LastMeasurement, statement("last_measurement"), values)


def logged_queries(connection: Connection, limit: int) -> list[str]:
    """What users asked lately, as far as traces keep texts."""
    values = {"limit": limit, "recent_traces": RECENT_TRACES}
    return [row[0] for row in connection.execute(statement("logged_queries"), values)]


def sample_texts(connection: Connection, generation: Generation, count: int) -> list[tuple[str, str]]:
    """Heading and text of chunks taken by chance."""
    return connection.execute(vector_statement("sample_texts", generation), {"count": count}).fetchall()


def sampled_indexes(
    connection: Connection, generation: Generation, vectors: int, tried: Sequence[Parameters]
) -> Iterator[Parameters]:
    """A table of some vectors, with an index of each of the parameters in turn while the caller measures it."""
    connection.execute(statement("drop_sample"))
    connection.execute(with_literals(connection, "sample_into", generation, limit=vectors))
    connection.commit()
    try:
        for build_parameters in tried:
            memory = build_memory(generation, vectors, build_parameters.m)
            connection.execute(statement("prepare_index_build"), {"memory_kb": memory // 1024})
            connection.execute(statement("drop_sample_index"))
            connection.execute(
                with_literals(
                    connection,
                    "index_sample",
                    generation,
                    m=build_parameters.m,
                    ef_construction=build_parameters.ef_construction,
                )
            )
            connection.commit()
            yield build_parameters
    finally:
        if is_usable(connection):
            connection.rollback()
            connection.execute(statement("drop_sample"))
            connection.commit()
