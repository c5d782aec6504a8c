"""Looks after the HNSW index of the active generation: where a sync's vectors go, and what is built afterwards.

Decides by measured cost: few vectors go through the live index, many into a segment of their own, whose index is
built when they are in. Readers have an index all the time.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import log2
from typing import TYPE_CHECKING, Any, Literal

from pgfolio.flows.index import build
from pgfolio.flows.run.exclusive import unless_syncing
from pgfolio.schema.corpus import postings, statistics, word_statistics
from pgfolio.schema.vectors import hnsw, segments

if TYPE_CHECKING:
    from pgfolio.flows.run.context import RunContext
    from pgfolio.schema.database.connect import Connection
    from pgfolio.schema.records import Generation
    from pgfolio.schema.vectors.tuning import Parameters

MAX_SEGMENTS = 4
"""Each costs a query about as much as the first."""

MAX_DEAD_FRACTION = 0.1
MIN_DEAD_ROWS = 1000
"""Part, and number, of deleted rows from which a segment is built anew: before autovacuum begins, at a fifth. Of
60,000 vectors 20% deleted: built anew in 11 s, vacuumed in 62 s; 5% deleted: 7 s and 16 s."""

MIN_CHUNKS_TO_ANALYZE = 5000
"""Chunks that may come without new statistics, or else twice as many as there were."""

MIN_MEASURED_VECTORS = 100
SEGMENT_SECONDS = 0.25
"""Seconds that a segment takes however small it is: its table, the start of a build, its part of later merges."""

BUILD_SECONDS = 0.00017
INSERT_SECONDS = 0.0010
MEASURED_AT_VECTORS = 50_000
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


def predict(vectors: int, indexed: int, costs: Costs) -> Choice:
    """Both ways grow with the logarithm of the graph that a vector is put into."""
    insert = vectors * costs.insert * _growth(indexed + vectors, costs.insert_at)
    build = SEGMENT_SECONDS + vectors * costs.build * _growth(vectors, costs.build_at)
    return Choice(vectors, indexed, insert, build)


@dataclass
class VectorLoad:
    """Where a sync's vectors go, why, and what they took until now."""

    place: Generation
    choice: Choice | None = None
    vectors: int = 0
    seconds: float = 0.0
    analyzed: int = 0
    """Chunks that there were when statistics were taken last."""
    not_analyzed: int = 0
    """Those that came since."""

    def add(self, vectors: int, seconds: float) -> None:
        self.vectors += vectors
        self.seconds += seconds


def prepare(connection: Connection, generation: Generation, vectors: int) -> VectorLoad:
    """The place for about so many new vectors: the live table, or a new segment. A table without an index takes
    everything: its index is built afterwards in any case."""
    waiting = segments.unindexed(connection, generation)
    load = VectorLoad(waiting[-1] if waiting else generation, analyzed=word_statistics.counted(connection))
    if not waiting and hnsw.is_valid(connection, generation):
        indexed = segments.reckoned(connection, generation)
        load.choice = predict(vectors, indexed, costs(connection, generation))
        if load.choice.way == "build":
            load.place = segments.create(connection, generation)
    connection.commit()
    return load


def keep_analyzed(
    run: RunContext, connection: Connection, generation: Generation, load: VectorLoad, chunks: int
) -> None:
    """So many chunks more are stored. Statistics that are far behind make searches slow long before the load is done:
    PostgreSQL keeps the plans that it made for small tables, and no word is known to be common."""
    load.not_analyzed += chunks
    if load.not_analyzed <= max(MIN_CHUNKS_TO_ANALYZE, 2 * load.analyzed):
        return
    with run.report.timed("index"):
        statistics.analyze(connection, generation)
        connection.commit()
    load.analyzed, load.not_analyzed = load.analyzed + load.not_analyzed, 0


def loaded(run: RunContext, connection: Connection, load: VectorLoad) -> None:
    """The vectors are in: remember what they took, for the next choice."""
    if load.choice is None:
        return
    run.report.index = {
        **load.choice.as_json(),
        "written": load.vectors,
        "seconds": round(load.seconds, 4),
    }
    if load.choice.way == "insert" and load.vectors >= MIN_MEASURED_VECTORS:
        segments.record_cost(connection, load.place, "insert", load.vectors, load.seconds)
        connection.commit()


def finish(run: RunContext, connection: Connection, generation: Generation) -> None:
    """Build what is missing; renew segments that are many, empty or full of deleted rows. Postings of words too."""
    parameters = build.parameters_of(run, connection, generation)
    if members := segments.unindexed(connection, generation):
        run.progress.stage("building the index")
        build.build_all(run, connection, members, parameters)
    connection.commit()
    if MaintenanceNeeds.of(connection, generation).due:
        with unless_syncing(connection) as free:  # else after the next sync
            if free:
                _rebuild_segments(run, connection, generation, parameters)
    with run.report.timed("index"):
        postings.update(connection)


@dataclass(frozen=True, slots=True)
class MaintenanceNeeds:
    """What a generation's tables need besides an index. `stale`: segments with many deleted rows, which an index
    keeps, and searches walk through, until a vacuum; that takes longer than building the index anew."""

    filled: dict[Generation, int]
    empty: list[Generation]
    bloated: list[Generation]
    leftovers: list[str]

    @classmethod
    def of(cls, connection: Connection, generation: Generation) -> MaintenanceNeeds:
        filled, empty, bloated = {}, [], []
        for member, rows in segments.about(connection, generation).items():
            if not segments.has_any(connection, member):
                if member.segment:
                    empty.append(member)
                continue
            filled[member] = rows
            dead = segments.dead(connection, member)
            if dead >= MIN_DEAD_ROWS and dead > MAX_DEAD_FRACTION * segments.size(connection, member):
                bloated.append(member)
        return cls(filled, empty, bloated, segments.leftovers(connection, generation))

    @property
    def due(self) -> bool:
        return bool(self.empty or self.bloated or self.leftovers) or len(self.filled) > MAX_SEGMENTS

    @property
    def joined(self) -> list[list[Generation]]:
        """Segments to be made one, and segments to be made anew."""
        if len(self.filled) > MAX_SEGMENTS:
            members = list(self.filled)
            return [[members[at] for at in to_merge(list(self.filled.values()))]]
        return [[member] for member in self.bloated]


def _rebuild_segments(
    run: RunContext, connection: Connection, generation: Generation, parameters: Parameters
) -> None:
    """While no sync runs."""
    needs = MaintenanceNeeds.of(connection, generation)
    for name in needs.leftovers:
        segments.drop_leftover(connection, name)
    for member in needs.empty:
        segments.drop(connection, member)
        connection.commit()
    connection.commit()
    for members in needs.joined:
        run.progress.stage("merging segments of the index" if len(members) > 1 else "building the index anew")
        join(run, connection, members, parameters)


def join(run: RunContext, connection: Connection, members: list[Generation], parameters: Parameters) -> bool:
    """One segment in place of these, while no sync runs. False: they were in use all the time, and stay."""
    with run.report.timed("index"), build.displayed(run, connection):
        made = segments.merge(connection, members, parameters.m, parameters.ef_construction)
    if made is not None:
        build.note_advice(run, made[1])
    return made is not None


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
    insert = segments.measured_cost(connection, generation, "insert") or (
        INSERT_SECONDS * scale,
        MEASURED_AT_VECTORS,
    )
    build = segments.measured_cost(connection, generation, "build") or (
        BUILD_SECONDS * scale,
        MEASURED_AT_VECTORS,
    )
    return Costs(*insert, *build)
