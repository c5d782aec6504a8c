"""Moves the corpus to another embedding space while search and syncs go on: a generation is filled from the stored
chunk text, indexed, measured, and made the active one in one transaction. The old one stays for a way back.

A killed run leaves its generation; the next one goes on with it. Nothing here imports prefect.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict
from typing import TYPE_CHECKING

from pgfolio.config.errors import ConfigError
from pgfolio.config.models.protocols import ModelError
from pgfolio.flows.batches.choice import batch_price
from pgfolio.flows.embedding.budget import BudgetSpentError
from pgfolio.flows.index import maintenance, queries, weighing
from pgfolio.flows.ingest import accounting
from pgfolio.flows.ingest.forecast import seconds as forecast_seconds
from pgfolio.flows.reembedding import gate
from pgfolio.flows.reembedding.backfill import Backfill
from pgfolio.flows.reembedding.half_price import HalfPriceBackfill, sample_of_stored
from pgfolio.flows.reembedding.target import reembed_command
from pgfolio.flows.run.context import RunContext
from pgfolio.flows.run.exclusive import without_syncs
from pgfolio.flows.run.options import Options, at_once
from pgfolio.schema.corpus import sources
from pgfolio.schema.corpus.sources import SourceBusyError
from pgfolio.schema.records import Problem
from pgfolio.schema.vectors import generations, reuse, segments, tuning
from pgfolio.schema.vectors.recall import SAMPLE_QUERIES
from pgfolio.schema.vectors.storage import can_take

if TYPE_CHECKING:
    from pathlib import Path

    from pgfolio.config.settings import Settings
    from pgfolio.flows.run.options import Step
    from pgfolio.flows.run.progress import Progress
    from pgfolio.flows.run.report import Report
    from pgfolio.schema.database.connect import Connection
    from pgfolio.schema.records import Generation, Space

MAX_ROUNDS = 5
"""Each is much shorter than the one before, unless syncs never end."""
MAX_CHUNKS_AT_SWITCH = 1000
"""Chunks that may be embedded while syncs are kept away."""
MAX_BACKGROUND_CHUNKS_AT_SWITCH = 100
"""By one process of low priority."""


def run_reembed(
    settings: Settings,
    conninfo: str,
    options: Options,
    *,
    rollback: bool = False,
    force: bool = False,
    labelled: Path | None = None,
    progress: Progress | None = None,
    step: Step = at_once,
    space: Space | None = None,
) -> Report:
    """Bring all vectors into the space that the settings ask for, or `rollback` to the generation before.

    `labelled` is a file of `pgfolio eval`; `force` switches whatever was measured. Raises FailedError; the old
    generation then stays active, and what is done of the new one is kept. `space`: that of the settings, where it is
    known already.
    """
    run = Reembedding(settings, conninfo, options, progress, force=force, labelled=labelled, space=space)
    with run.recorded("reembed") as connection:
        if options.plan_only:
            run.plan(connection)
        elif rollback:
            run.rollback(connection, step)
        else:
            run.execute(connection, step)
    return run.report


class Reembedding(RunContext):
    """The parts of a move from one generation to another."""

    def __init__(
        self,
        settings: Settings,
        conninfo: str,
        options: Options,
        progress: Progress | None = None,
        *,
        force: bool = False,
        labelled: Path | None = None,
        space: Space | None = None,
    ) -> None:
        super().__init__(settings, conninfo, options, progress)
        self._force = force
        self._labelled = labelled
        self._space = space
        is_in_background = options.in_background
        self._max_chunks_at_switch = (
            MAX_BACKGROUND_CHUNKS_AT_SWITCH if is_in_background else MAX_CHUNKS_AT_SWITCH
        )
        self._opened = ExitStack()
        self._half_price = HalfPriceBackfill(self)
        self._open_backfill: Backfill | None = None

    def plan(self, connection: Connection) -> None:
        """What would be embedded, what it would cost and take; changes nothing."""
        space = self.requested_space()
        active = generations.active_generation(connection)
        existing = (
            active
            if active and can_take(space, active.space)
            else generations.generation_in(connection, space)
        )
        self.report.chunks.total = generations.count_chunks(connection)
        _, tokens = reuse.forecast(connection, space, existing)
        billed = round(tokens * self.billed_per_counted(connection, space, sample_of_stored(connection)))
        took = forecast_seconds(connection, self.settings, space, billed)
        estimate = accounting.count_estimate(
            self.report,
            billed,
            self.price(space),
            took,
            sampled=False,
            batch_usd_per_million_tokens=batch_price(self.settings, space),
        )
        self.report.tokens, self.report.cost_usd = estimate.tokens, estimate.cost_usd
        self.report.space, self.report.plan = space.name, []

    def execute(self, connection: Connection, step: Step) -> None:
        with generations.alone(connection), self._opened:
            space = self._space or self.requested_space()
            self.report.space = space.name
            active = generations.active_generation(connection)
            connection.commit()
            is_active = active is not None and active.space == space
            generation = active if active and is_active else self._begin_generation(connection, space)
            if self._half_price.execute(connection, generation, step):
                self.report.problem(Problem("", "embed", self._half_price.waiting_reason))
            elif is_active:  # chunks of an interrupted rollback, if any
                step(f"complete {space.name}", self.catch_up, connection, generation)
            else:
                step(f"embed into {space.name}", self.catch_up, connection, generation)
                step("index", self.index_generation, connection, generation)
                if not self._force:
                    step("measure", self.measure, connection, generation)
                step("switch", self.switch, connection, generation)
                self._half_price.forget_failed(connection, generation)
            self._end(connection)

    def rollback(self, connection: Connection, step: Step) -> None:
        """Switch to the generation before at once, then complete it. Raises NoWayBackError."""
        with generations.alone(connection), self._opened:
            step("switch back", self.switch_back, connection)
            generation = generations.active_generation(connection)
            connection.commit()
            if generation is not None:
                self.report.space = generation.space.name
                step(f"complete {generation.space.name}", self.complete, connection, generation)
            self._end(connection)

    def catch_up(self, connection: Connection, generation: Generation) -> None:
        """Vectors for every chunk that lacks one; syncs go on meanwhile and may add some, for the next round."""
        missing = reuse.count_missing(connection, generation)
        connection.commit()
        for _ in range(MAX_ROUNDS if missing else 0):
            self._backfill(connection, generation, gives_way=self.options.in_background)
            before, missing = missing, reuse.count_missing(connection, generation)
            connection.commit()
            if missing <= self._max_chunks_at_switch or missing >= before:
                return

    def index_generation(self, connection: Connection, generation: Generation) -> None:
        maintenance.finish(self, connection, generation)
        connection.commit()
        weighing.weigh(self, connection, generation)

    def measure(self, connection: Connection, generation: Generation) -> None:
        """Raises GateError when the new generation is not good enough: it is kept ready."""
        index_settings, active = self.settings.index, generations.active_generation(connection)
        enough_vectors = segments.reckoned(connection, generation) >= queries.MIN_VECTORS_FOR_QUERIES
        query_vectors = (
            queries.evaluation_queries(self, connection, generation, SAMPLE_QUERIES) if enough_vectors else []
        )
        self.progress.stage("measuring the new vectors")
        measured = gate.measure(
            connection, self.conninfo, index_settings, generation, active, self._labelled, query_vectors
        )
        if measured.ef_search is not None and measured.ef_search != index_settings.ef_search:
            tuning.save(connection, generation, None, measured.ef_search)
        generations.record_measured(connection, generation, asdict(measured))
        connection.commit()
        if objections := gate.objections(measured, index_settings):
            self._keep_ready(connection, generation, "; ".join(objections))

    def switch(self, connection: Connection, generation: Generation) -> None:
        """While no sync runs: the rest, then one row in one transaction, and only if nothing is missing."""
        for last in (False, False, True):
            with without_syncs(connection, self.progress) as owned_ids:
                missing = reuse.count_missing(connection, generation)
                connection.commit()
                if missing <= self._max_chunks_at_switch or last:
                    self._backfill(connection, generation)
                    self._activate(connection, generation)
                    break
            self._backfill(connection, generation)
        if {source.id for source in sources.list_sources(connection)} - owned_ids:
            self.complete(connection, generation)  # a first sync of a new source, begun in the old space

    def switch_back(self, connection: Connection) -> None:
        """Raises NoWayBackError."""
        earlier = generations.previous(connection)
        if earlier is None:
            raise NoWayBackError("there is no earlier generation to go back to: see `pgfolio status`")
        generations.activate(connection, earlier)
        connection.commit()

    def complete(self, connection: Connection, generation: Generation) -> None:
        """Give an active generation what it lacks. It serves searches already: what cannot be done is a problem."""
        try:
            self.catch_up(connection, generation)
            self.index_generation(connection, generation)
            with without_syncs(connection, self.progress):  # those that began with the other generation
                self._backfill(connection, generation)
        except (ModelError, ConfigError, BudgetSpentError, SourceBusyError) as error:
            connection.rollback()
            self.report.problem(Problem("", "embed", str(error)))
        if missing := reuse.count_missing(connection, generation):
            self.report.problem(
                Problem(
                    "",
                    "embed",
                    f"{missing:,} chunks have no vector in {generation.space.name}, so searches by meaning do not "
                    "find them: `pgfolio verify --repair` embeds them",
                )
            )
        connection.commit()

    def _backfill(self, connection: Connection, generation: Generation, *, gives_way: bool = False) -> None:
        if self._open_backfill is None:
            missing = reuse.count_missing(connection, generation)
            place = maintenance.prepare(connection, generation, missing).place if missing else generation
            self._open_backfill = self._opened.enter_context(Backfill(self, place))
        self._open_backfill.run_round(connection, gives_way=gives_way)
        if self._open_backfill.postponed:
            raise BudgetSpentError(
                f"the next batch would cost more than the ${self.options.max_cost or 0:.2f} allowed: the "
                "old space stays; what is done is kept, and the next reembed goes on from there"
            )

    def _activate(self, connection: Connection, generation: Generation) -> None:
        missing = reuse.count_missing(connection, generation)
        if missing and not self._force:
            reasons = {problem.reason for problem in self.report.problems}
            why = f" ({'; '.join(sorted(reasons)[:3])})" if reasons else ""
            self._keep_ready(
                connection, generation, f"{missing} chunks have no vector in {generation.space.name}{why}"
            )
        generations.activate(connection, generation)
        connection.commit()

    def _keep_ready(self, connection: Connection, generation: Generation, why: str) -> None:
        generations.set_state(connection, generation, "ready")
        connection.commit()
        raise gate.GateError(
            f"{why}: the old space stays active, {generation.space.name} is kept ready; "
            f"`{reembed_command(self.settings)} --force` switches all the same"
        )

    def _begin_generation(self, connection: Connection, space: Space) -> Generation:
        """The generation to fill: one that is there of this space, or a new one. Others that were begun make room."""
        for other in generations.list_generations(connection, "building", "ready"):
            if other.space != space:
                generations.set_state(connection, other, "retired")
        existing = generations.generation_in(connection, space)
        if existing is None:
            generation = generations.create_generation(connection, space, "building")
        else:
            generations.set_state(connection, existing, "building")
            generation = generations.list_generations(connection, "building")[0]
        connection.commit()
        return generation

    def _end(self, connection: Connection) -> None:
        self.report.chunks.total = generations.count_chunks(connection)
        connection.commit()
        for undropped in generations.drop_expired(connection, self.settings.index.keep_generations_days):
            self.report.problem(
                Problem("", "store", f"the old space {undropped.space.name} is in use: the next run drops it")
            )


class NoWayBackError(Exception):
    """A rollback without an earlier generation."""
