"""Looks after the HNSW index of the active generation: where a sync's vectors go, and what is built afterwards.

Decides by measured cost: few vectors go through the live index, many into a segment of their own, whose index is
built when they are in. Readers have an index all the time.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from math import log2
from typing import TYPE_CHECKING, Any, Literal

from schema import index, segments, sources, tuning
from schema.sources import SourceBusyError
from schema.tuning import Parameters

if TYPE_CHECKING:
    from flows.run import Run
    from schema.connect import Connection
    from schema.documents import Written
    from schema.records import Generation

SEGMENTS_AT_MOST = 4
"""Each costs a query about as much as the first."""

MEASURED_AT_LEAST = 100
FIXED = 0.25
"""Seconds that a segment takes however small it is: its table, the start of a build, its part of later merges."""

BUILD = 0.00017
INSERT = 0.0010
AT = 50_000
"""Seconds for a vector of 256 dimensions at that size of index, on two cores, until something is measured."""


@dataclass(frozen=True, slots=True)
class Costs:
    """Seconds for a vector, and the size of index at which they were measured."""

    insert: float
    insert_at: int
    build: float
    build_at: int


@dataclass(frozen=True, slots=True)
class Choice:
    """Predicted seconds of each way, for so many vectors beside so many that are indexed."""

    vectors: int
    indexed: int
    insert: float
    build: float

    @property
    def way(self) -> Literal["insert", "build"]:
        return "insert" if self.insert <= self.build else "build"

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "way": self.way}


def choose(vectors: int, indexed: int, costs: Costs) -> Choice:
    """Both ways grow with the logarithm of the graph that a vector is put into."""
    insert = vectors * costs.insert * _growth(indexed + vectors, costs.insert_at)
    build = FIXED + vectors * costs.build * _growth(vectors, costs.build_at)
    return Choice(vectors, indexed, insert, build)


@dataclass
class Load:
    """Where a sync's vectors go, why, and what they took until now."""

    place: Generation
    choice: Choice | None = None
    vectors: int = 0
    seconds: float = 0.0

    def add(self, written: Written) -> None:
        self.vectors += written.vectors
        self.seconds += written.seconds


def prepare(connection: Connection, generation: Generation, vectors: int) -> Load:
    """The place for about so many new vectors: the live table, or a new segment. A table without an index takes
    everything: its index is built afterwards in any case."""
    waiting = segments.unindexed(connection, generation)
    load = Load(waiting[-1] if waiting else generation)
    if not waiting and index.is_valid(connection, generation):
        indexed = index.rows(connection, generation)
        load.choice = choose(vectors, indexed, costs(connection, generation))
        if load.choice.way == "build":
            load.place = segments.create(connection, generation)
    connection.commit()
    return load


def loaded(run: Run, connection: Connection, load: Load) -> None:
    """The vectors are in: remember what they took, for the next choice."""
    if load.choice is None:
        return
    run.report.index = {
        **load.choice.as_json(),
        "written": load.vectors,
        "seconds": round(load.seconds, 4),
    }
    if load.choice.way == "insert" and load.vectors >= MEASURED_AT_LEAST:
        segments.record_cost(connection, load.place, "insert", load.vectors, load.seconds)
        connection.commit()


def finish(run: Run, connection: Connection, generation: Generation) -> None:
    """Build what is missing, and merge segments when they are many."""
    wanted = _wanted(run, connection, generation)
    for member in segments.unindexed(connection, generation):
        run.progress.stage("building the index")
        connection.commit()
        began = time.perf_counter()
        with run.report.timed("index"):
            index.build(connection, member, wanted.m, wanted.ef_construction)
            segments.record_cost(
                connection,
                member,
                "build",
                segments.size(connection, member),
                time.perf_counter() - began,
            )
            connection.commit()
    _merge(run, connection, generation)


def _merge(run: Run, connection: Connection, generation: Generation) -> None:
    """Not while another sync writes: it does so after the next one."""
    sizes = {member: segments.size(connection, member) for member in segments.members(connection, generation)}
    connection.commit()
    filled = [member for member, size in sizes.items() if size]
    empty = [member for member, size in sizes.items() if not size and member.segment]
    if len(filled) <= SEGMENTS_AT_MOST and not empty:
        return
    joined = to_merge([sizes[member] for member in filled])
    with ExitStack() as held:
        try:
            for source in sources.list_sources(connection):
                held.enter_context(sources.owned(connection, source))
        except SourceBusyError:
            return
        for member in empty:
            segments.drop(connection, member)
            connection.commit()
        if len(filled) <= SEGMENTS_AT_MOST:
            return
        run.progress.stage("merging segments of the index")
        with run.report.timed("index"):
            wanted = _wanted(run, connection, generation)
            segments.merge(connection, [filled[at] for at in joined], wanted.m, wanted.ef_construction)


def _wanted(run: Run, connection: Connection, generation: Generation) -> Parameters:
    """What the index was tuned to, else the settings'."""
    tuned, _ = tuning.tuned(connection, generation)
    return tuned or Parameters(run.settings.index.m, run.settings.index.ef_construction)


def to_merge(sizes: list[int]) -> list[int]:
    """Places of the segments to be made one: all but the largest, unless the others together are half of it."""
    largest = sizes.index(max(sizes))
    others = [place for place in range(len(sizes)) if place != largest]
    if sum(sizes[place] for place in others) * 2 < sizes[largest]:
        return others
    return list(range(len(sizes)))


def _growth(size: int, measured_at: int) -> float:
    return log2(max(size, 16)) / log2(max(measured_at, 16))


def costs(connection: Connection, generation: Generation) -> Costs:
    scale = (generation.space.dimensions / 256) ** 0.5
    insert = segments.measured_cost(connection, generation, "insert") or (INSERT * scale, AT)
    build = segments.measured_cost(connection, generation, "build") or (BUILD * scale, AT)
    return Costs(*insert, *build)
