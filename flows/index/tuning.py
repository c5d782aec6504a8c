"""Tunes the HNSW index of the active generation to a target recall, on the user's own vectors.

First the cheapest `ef_search` that meets the target with the index as it is. If none does within reason, other `m`
and `ef_construction` are tried on a sample, and the index is built anew, beside the old one, with the cheapest.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from pgfolio.flows.index import maintenance, queries
from pgfolio.flows.run.context import Options, Run
from pgfolio.flows.run.exclusive import without_syncs
from pgfolio.schema.vectors import generations, hnsw, segments, tuning
from pgfolio.schema.vectors.recall import Questions
from pgfolio.schema.vectors.tuning import Measured, Parameters

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from pgfolio.config.settings import Settings
    from pgfolio.flows.run.context import Progress
    from pgfolio.schema.database.connect import Connection
    from pgfolio.schema.records import Generation

QUESTIONS = 200
CHECKED = 100
"""Questions of the light check after a sync."""

ALL = 0.9995
"""Recall beyond which looking farther cannot find more."""

LEAST = 500
"""Vectors below which there is nothing to tune: comparing all takes a millisecond."""

GROWN = 1.2
"""The light check measures again after so much growth."""

EF_SEARCH = (10, 16, 24, 32, 40, 64, 80, 100, 128, 160, 200, 300, 400, 600, 800)
REASONABLE = 400
"""An `ef_search` beyond it costs more at every query than another index costs once."""

SAMPLE = 50_000
TRIED = (Parameters(16, 128), Parameters(24, 200), Parameters(32, 200), Parameters(48, 400))
GAIN = 0.7
"""A new index pays when it answers in this part of the time."""


class NothingToTuneError(Exception):
    """There is no index, or too little in it; the message says which."""


@dataclass
class Tuning:
    """What was measured and what came of it; `measured` in the order in which it was."""

    target: float
    measured: list[Measured] = field(default_factory=list)
    parameters: Parameters | None = None
    ef_search: int | None = None
    recall: float = 0.0
    rebuilt: bool = False

    @property
    def met(self) -> bool:
        return self.recall >= self.target

    def as_json(self) -> dict[str, Any]:
        chosen = asdict(self.parameters) if self.parameters else {}
        return {
            "status": "complete" if self.met else "partial",
            "target_recall": self.target,
            "chosen": {**chosen, "ef_search": self.ef_search, "recall": round(self.recall, 4)},
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
) -> Tuning:
    """Measure; with `tune` choose, and rebuild where it pays or `rebuild` asks for it. Raises FailedError."""
    run = Run(settings, conninfo, Options(), progress)
    found = Tuning(target)
    with run.recorded("index") as connection:
        _tune(run, connection, found, tune=tune, rebuild=rebuild)
        run.report.index = found.as_json()
    return found


def cheapest(measured: Sequence[Measured], target: float) -> Measured | None:
    """The fastest that meets the target. Times of neighbouring `ef_search` are noise: of equal parameters the
    smallest `ef_search` counts as the fastest."""
    smallest: dict[Parameters, Measured] = {}
    for one in sorted(measured, key=lambda one: one.ef_search):
        if one.recall >= target:
            smallest.setdefault(one.parameters, one)
    return min(smallest.values(), key=lambda one: one.p50_ms, default=None)


def better(tried: Sequence[Measured], in_use: Parameters, target: float, *, met: bool) -> Parameters:
    """Other parameters, if they pay; else those of the index in use. Where that has not `met` the target over all
    vectors, what it reaches on a sample counts for nothing. Pure."""
    others = cheapest([one for one in tried if one.parameters != in_use], target)
    same = cheapest([one for one in tried if met and one.parameters == in_use], target)
    if others and (same is None or others.p50_ms < GAIN * same.p50_ms):
        return others.parameters
    return in_use


def check(run: Run, connection: Connection, generation: Generation, least: int = queries.ASKED_FROM) -> None:
    """After a sync that made the corpus grow: measure again, lightly. Where recall has fallen below the target,
    searches look farther from now on; where that is not enough, the report says what is."""
    rows = segments.reckoned(connection, generation)
    if rows < least:
        return
    parameters, tuned = tuning.tuned(connection, generation)
    ef_search, target = tuned or run.settings.index.ef_search, run.settings.index.target_recall
    last = tuning.last(connection, generation, ef_search)
    if last is not None and rows < last.vectors * GROWN:
        return
    asked = queries.asked(run, connection, generation, CHECKED)
    run.progress.stage("measuring the index")
    with run.report.timed("index"):
        farther = [ef for ef in EF_SEARCH if ef_search < ef <= REASONABLE]
        made = _measured(run, connection, generation, (ef_search, *farther), CHECKED, asked, enough=target)
    found = made[-1]
    if found.recall < target:
        run.report.note(
            f"recall@10 of the index is {found.recall:.3f}, also with ef_search {found.ef_search}, below the target "
            f"of {target:g}: `pgfolio index --tune` builds a better one"
        )
    if found.ef_search != ef_search and found.recall > made[0].recall:
        tuning.save(connection, generation, parameters, found.ef_search)
        connection.commit()


def _tune(run: Run, connection: Connection, found: Tuning, *, tune: bool, rebuild: bool) -> None:
    generation = generations.active_generation(connection)
    rows = hnsw.rows(connection, generation) if generation else 0
    if generation is None or rows < LEAST:
        raise NothingToTuneError(
            f"there are {rows} vectors: below {LEAST} comparing all of them is as fast as an index"
        )
    run.progress.stage(f"measuring the index over {rows:,} vectors")
    found.parameters = _parameters(run, connection, generation)
    asked = queries.asked(run, connection, generation, QUESTIONS)
    searched = tuning.tuned(connection, generation)[1] or run.settings.index.ef_search
    farther = sorted({*EF_SEARCH, searched})
    in_use = _measured(run, connection, generation, farther, QUESTIONS, asked, least=searched)
    found.measured += in_use
    best = cheapest(in_use, found.target)
    if not tune and not rebuild:
        _choose(found, next(one for one in in_use if one.ef_search == searched))
        return
    wanted = found.parameters
    if tune and (best is None or best.ef_search > REASONABLE):
        tried = _tried(run, connection, generation, rows, asked)
        found.measured += tried
        wanted = better(tried, found.parameters, found.target, met=best is not None)
    if (rebuild or wanted != found.parameters) and _rebuild(run, connection, generation, wanted):
        found.rebuilt, found.parameters = True, wanted
        in_use = _measured(run, connection, generation, EF_SEARCH, QUESTIONS, asked)
        found.measured += in_use
        best = cheapest(in_use, found.target)
    chosen = best or max(in_use, key=lambda one: one.recall)
    _choose(found, chosen)
    tuning.save(connection, generation, found.parameters, chosen.ef_search)
    connection.commit()


def _choose(found: Tuning, chosen: Measured) -> None:
    found.ef_search, found.recall = chosen.ef_search, chosen.recall


def _parameters(run: Run, connection: Connection, generation: Generation) -> Parameters:
    """Of the largest segment's index."""
    wanted = run.settings.index
    found = tuning.parameters(connection, segments.largest(connection, generation))
    return found or Parameters(wanted.m, wanted.ef_construction)


def _measured(
    run: Run,
    connection: Connection,
    generation: Generation,
    tried: Sequence[int],
    count: int,
    asked: Sequence[np.ndarray] = (),
    enough: float = ALL,
    least: int = 0,
) -> list[Measured]:
    """The index in use at each `ef_search`, until one finds enough that is no less than `least`."""
    to_ask = Questions(connection, generation, count, asked=asked)
    rows = hnsw.rows(connection, generation)
    made = _grid(to_ask, _parameters(run, connection, generation), tried, rows, enough, least)
    tuning.record(connection, generation, made)
    connection.commit()
    return made


def _tried(
    run: Run, connection: Connection, generation: Generation, rows: int, asked: Sequence[np.ndarray]
) -> list[Measured]:
    """Other parameters, on a sample."""
    made: list[Measured] = []
    to_ask: Questions | None = None
    for wanted in tuning.sampled_indexes(connection, generation, min(rows, SAMPLE), TRIED):
        run.progress.stage(f"trying m {wanted.m}, ef_construction {wanted.ef_construction}")
        if to_ask is None:
            to_ask = Questions(connection, generation, QUESTIONS, asked=asked, sampled=True)
        made += _grid(to_ask, wanted, EF_SEARCH, min(rows, SAMPLE))
    tuning.record(connection, generation, made)
    connection.commit()
    return made


def _grid(
    asked: Questions,
    built: Parameters,
    tried: Sequence[int],
    rows: int,
    enough: float = ALL,
    least: int = 0,
) -> list[Measured]:
    made: list[Measured] = []
    for ef_search in tried:
        found, p50_ms = asked.measure(ef_search)
        made.append(Measured(built, ef_search, found or 0.0, p50_ms, rows, asked.sampled))
        if made[-1].recall >= enough and ef_search >= least:
            break
    return made


def _rebuild(run: Run, connection: Connection, generation: Generation, wanted: Parameters) -> bool:
    """All segments into one, with its index, beside the old ones; readers go on."""
    with without_syncs(connection, run.progress):
        run.progress.stage(f"building the index with m {wanted.m}, ef_construction {wanted.ef_construction}")
        members = [m for m in segments.members(connection, generation) if segments.has_any(connection, m)]
        connection.commit()
        return maintenance.join(run, connection, members, wanted)
