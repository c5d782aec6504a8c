"""Tunes the HNSW index of the active generation to a target recall, on the user's own vectors.

First the cheapest `ef_search` that meets the target with the index as it is. If none does within reason, other `m`
and `ef_construction` are tried on a sample, and the index is built anew, beside the old one, with the cheapest.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from pgfolio.flows.index import maintenance, queries, weighing
from pgfolio.flows.run.context import RunContext
from pgfolio.flows.run.exclusive import without_syncs
from pgfolio.flows.run.options import BY_COMMAND, Options
from pgfolio.schema.vectors import generations, hnsw, segments, tuning
from pgfolio.schema.vectors.recall import EvaluationQueries
from pgfolio.schema.vectors.tuning import Measurement, Parameters

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from pgfolio.config.settings import Settings
    from pgfolio.flows.run.progress import Progress
    from pgfolio.schema.database.connect import Connection
    from pgfolio.schema.records import Generation

QUERIES = 200
CHECK_QUERIES = 100
"""Questions of the light check after a sync."""

PERFECT_RECALL = 0.9995
"""Recall beyond which looking farther cannot find more."""

MIN_VECTORS = 500
"""Vectors below which there is nothing to tune: comparing all takes a millisecond."""

GROWTH_FACTOR = 1.2
"""The light check measures again after so much growth."""

EF_SEARCH = (10, 16, 24, 32, 40, 64, 80, 100, 128, 160, 200, 300, 400, 600, 800)
MAX_EF_SEARCH = 400
"""An `ef_search` beyond it costs more at every query than another index costs once."""

SAMPLE_VECTORS = 50_000
CANDIDATES = (Parameters(16, 128), Parameters(24, 200), Parameters(32, 200), Parameters(48, 400))
MAX_TIME_FRACTION = 0.7
"""A new index pays when it answers in this part of the time."""


class NothingToTuneError(Exception):
    """There is no index, or too little in it; the message says which."""


@dataclass
class Tuning:
    """What was measured and what came of it; `measured` in the order in which it was."""

    target: float
    measured: list[Measurement] = field(default_factory=list)
    parameters: Parameters | None = None
    ef_search: int | None = None
    recall: float = 0.0
    rebuilt: bool = False

    @property
    def met(self) -> bool:
        return self.recall >= self.target

    def as_json(self) -> dict[str, Any]:
        parameters = asdict(self.parameters) if self.parameters else {}
        return {
            "status": "complete" if self.met else "partial",
            "target_recall": self.target,
            "chosen": {**parameters, "ef_search": self.ef_search, "recall": round(self.recall, 4)},
            "rebuilt": self.rebuilt,
            "measured": [
                {**asdict(one.parameters), **{k: v for k, v in asdict(one).items() if k != "parameters"}}
                for one in self.measured
            ],
        }


def run_tuning(
    settings: Settings,
    conninfo: str,
    target: float,
    *,
    tune: bool,
    rebuild: bool = False,
    progress: Progress | None = None,
    started_by: str = BY_COMMAND,
) -> Tuning:
    """Measure; with `tune` choose, and rebuild where it pays or `rebuild` asks for it. Raises FailedError."""
    run = RunContext(settings, conninfo, Options(started_by=started_by), progress)
    tuning_result = Tuning(target)
    with run.recorded("index") as connection:
        _tune(run, connection, tuning_result, tune=tune, rebuild=rebuild)
        run.report.index = tuning_result.as_json()
    return tuning_result


def cheapest(measured: Sequence[Measurement], target: float) -> Measurement | None:
    """The fastest that meets the target. Times of neighbouring `ef_search` are noise: of equal parameters the
    smallest `ef_search` counts as the fastest."""
    smallest: dict[Parameters, Measurement] = {}
    for measurement in sorted(measured, key=lambda measurement: measurement.ef_search):
        if measurement.recall >= target:
            smallest.setdefault(measurement.parameters, measurement)
    return min(smallest.values(), key=lambda measurement: measurement.p50_ms, default=None)


def better(candidates: Sequence[Measurement], in_use: Parameters, target: float, *, met: bool) -> Parameters:
    """Other parameters, if they pay; else those of the index in use. Where that has not `met` the target over all
    vectors, what it reaches on a sample counts for nothing. Pure."""
    others = cheapest([measurement for measurement in candidates if measurement.parameters != in_use], target)
    same = cheapest(
        [measurement for measurement in candidates if met and measurement.parameters == in_use], target
    )
    if others and (same is None or others.p50_ms < MAX_TIME_FRACTION * same.p50_ms):
        return others.parameters
    return in_use


def check(
    run: RunContext,
    connection: Connection,
    generation: Generation,
    min_vectors: int = queries.MIN_VECTORS_FOR_QUERIES,
) -> None:
    """After a sync that made the corpus grow: measure again, lightly. Where recall has fallen below the target,
    searches look farther from now on; where that is not enough, the report says what is."""
    parameters, tuned = tuning.tuned(connection, generation)
    ef_search, target = tuned or run.settings.index.ef_search, run.settings.index.target_recall
    if not _has_grown(connection, generation, ef_search, min_vectors):
        return
    query_vectors = queries.evaluation_queries(run, connection, generation, CHECK_QUERIES)
    run.progress.stage("measuring the index")
    with run.report.timed("index"):
        larger = [ef for ef in EF_SEARCH if ef_search < ef <= MAX_EF_SEARCH]
        measured = _measure(
            run,
            connection,
            generation,
            (ef_search, *larger),
            count=CHECK_QUERIES,
            query_vectors=query_vectors,
            enough=target,
        )
    last_measured = measured[-1]
    if last_measured.recall < target:
        run.report.note(
            f"recall@10 of the index is {last_measured.recall:.3f}, also with ef_search {last_measured.ef_search}, "
            f"below the target of {target:g}: `pgfolio index --tune` builds a better one"
        )
    if last_measured.ef_search != ef_search and last_measured.recall > measured[0].recall:
        tuning.save(connection, generation, parameters, last_measured.ef_search)
        connection.commit()


def _has_grown(connection: Connection, generation: Generation, ef_search: int, min_vectors: int) -> bool:
    """Whether there are many vectors, and many more than at the last measurement."""
    rows = segments.reckoned(connection, generation)
    if rows < min_vectors:
        return False
    last = tuning.last(connection, generation, ef_search)
    return last is None or rows >= last.vectors * GROWTH_FACTOR


def _tune(run: RunContext, connection: Connection, result: Tuning, *, tune: bool, rebuild: bool) -> None:
    generation = generations.active_generation(connection)
    rows = hnsw.rows(connection, generation) if generation else 0
    if generation is None or rows < MIN_VECTORS:
        raise NothingToTuneError(
            f"there are {rows} vectors: below {MIN_VECTORS} comparing all of them is as fast as an index"
        )
    run.progress.stage(f"measuring the index over {rows:,} vectors")
    result.parameters = _parameters(run, connection, generation)
    query_vectors = queries.evaluation_queries(run, connection, generation, QUERIES)
    searched = tuning.tuned(connection, generation)[1] or run.settings.index.ef_search
    tried = sorted({*EF_SEARCH, searched})
    in_use = _measure(run, connection, generation, tried, query_vectors=query_vectors, at_least=searched)
    result.measured += in_use
    best = cheapest(in_use, result.target)
    if not tune and not rebuild:
        _use(result, next(one for one in in_use if one.ef_search == searched))
        return
    parameters = result.parameters
    if tune and (best is None or best.ef_search > MAX_EF_SEARCH):
        candidates = _measure_candidates(run, connection, generation, rows, query_vectors)
        result.measured += candidates
        parameters = better(candidates, parameters, result.target, met=best is not None)
    if (rebuild or parameters != result.parameters) and _rebuild(run, connection, generation, parameters):
        result.rebuilt, result.parameters = True, parameters
        in_use = _measure(run, connection, generation, EF_SEARCH, query_vectors=query_vectors)
        result.measured += in_use
        best = cheapest(in_use, result.target)
    in_force = best or max(in_use, key=lambda one: one.recall)
    _use(result, in_force)
    tuning.save(connection, generation, result.parameters, in_force.ef_search)
    connection.commit()
    if tune:
        weighing.weigh(run, connection, generation, anew=True)


def _use(result: Tuning, measured: Measurement) -> None:
    result.ef_search, result.recall = measured.ef_search, measured.recall


def _parameters(run: RunContext, connection: Connection, generation: Generation) -> Parameters:
    """Of the largest segment's index."""
    index = run.settings.index
    built = tuning.parameters(connection, segments.largest(connection, generation))
    return built or Parameters(index.m, index.ef_construction)


def _measure(
    run: RunContext,
    connection: Connection,
    generation: Generation,
    tried: Sequence[int],
    *,
    count: int = QUERIES,
    query_vectors: Sequence[np.ndarray] = (),
    enough: float = PERFECT_RECALL,
    at_least: int = 0,
) -> list[Measurement]:
    """The index in use at each `ef_search`, until one finds enough that is no less than `least`."""
    evaluation = EvaluationQueries(connection, generation, count, queries=query_vectors)
    rows = hnsw.rows(connection, generation)
    measured = _measure_each(
        evaluation, _parameters(run, connection, generation), tried, rows, enough=enough, at_least=at_least
    )
    tuning.record(connection, generation, measured)
    connection.commit()
    return measured


def _measure_candidates(
    run: RunContext,
    connection: Connection,
    generation: Generation,
    rows: int,
    query_vectors: Sequence[np.ndarray],
) -> list[Measurement]:
    """Other parameters, on a sample."""
    measured: list[Measurement] = []
    evaluation: EvaluationQueries | None = None
    for parameters in tuning.sampled_indexes(connection, generation, min(rows, SAMPLE_VECTORS), CANDIDATES):
        run.progress.stage(f"trying m {parameters.m}, ef_construction {parameters.ef_construction}")
        if evaluation is None:
            evaluation = EvaluationQueries(
                connection, generation, QUERIES, queries=query_vectors, sampled=True
            )
        measured += _measure_each(evaluation, parameters, EF_SEARCH, min(rows, SAMPLE_VECTORS))
    tuning.record(connection, generation, measured)
    connection.commit()
    return measured


def _measure_each(
    evaluation: EvaluationQueries,
    built: Parameters,
    tried: Sequence[int],
    rows: int,
    enough: float = PERFECT_RECALL,
    at_least: int = 0,
) -> list[Measurement]:
    measured: list[Measurement] = []
    for ef_search in tried:
        recall, p50_ms = evaluation.measure(ef_search)
        measured.append(
            Measurement(
                parameters=built,
                ef_search=ef_search,
                recall=recall or 0.0,
                p50_ms=p50_ms,
                vectors=rows,
                sampled=evaluation.sampled,
            )
        )
        if measured[-1].recall >= enough and ef_search >= at_least:
            break
    return measured


def _rebuild(run: RunContext, connection: Connection, generation: Generation, parameters: Parameters) -> bool:
    """All segments into one, with its index, beside the old ones; readers go on."""
    with without_syncs(connection, run.progress):
        run.progress.stage(
            f"building the index with m {parameters.m}, ef_construction {parameters.ef_construction}"
        )
        members = [m for m in segments.members(connection, generation) if segments.has_any(connection, m)]
        connection.commit()
        return maintenance.join(run, connection, members, parameters)
