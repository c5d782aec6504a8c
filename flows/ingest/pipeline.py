"""Composes the stages of a sync: crawl, plan, then extract, chunk, embed and store side by side, and the index.

The same composition runs in the process and as a Prefect flow: `step` is how one of its parts is called.
Nothing here imports prefect.
"""

from __future__ import annotations

import os
import re
from contextlib import closing
from functools import cached_property, partial
from typing import TYPE_CHECKING

from pgfolio.flows.batches.choice import batch_price
from pgfolio.flows.discovery import plan as planning
from pgfolio.flows.discovery import pushed
from pgfolio.flows.discovery.crawl import without_garbage_collection
from pgfolio.flows.discovery.listing import SourceUnreachable
from pgfolio.flows.discovery.plan import folder_of
from pgfolio.flows.discovery.reader import read_file
from pgfolio.flows.discovery.rules import Rules
from pgfolio.flows.discovery.survey import Survey, mark_settled, survey_folder
from pgfolio.flows.discovery.trees import open_tree
from pgfolio.flows.embedding.spending import Spending
from pgfolio.flows.execution.dask import DaskExecutor
from pgfolio.flows.execution.workforce import Workforce
from pgfolio.flows.extraction.worker import PROCESSES
from pgfolio.flows.index import maintenance, tuning, weighing
from pgfolio.flows.ingest import accounting, store
from pgfolio.flows.ingest.document import Processing
from pgfolio.flows.ingest.file_batch import WorkItem, carried, file_batches
from pgfolio.flows.ingest.forecast import Forecaster, by_size
from pgfolio.flows.ingest.forecast import seconds as forecast_seconds
from pgfolio.flows.ingest.half_price import HalfPrice
from pgfolio.flows.ingest.source_life import gone_for_good, machine_name, other_processing
from pgfolio.flows.ingest.worker import SyncJob
from pgfolio.flows.run.context import RunContext
from pgfolio.flows.run.options import Options, Step, at_once
from pgfolio.flows.run.recorder import ProgressRecorder
from pgfolio.schema.corpus import ledger, sources, statistics, word_statistics
from pgfolio.schema.corpus.sources import SourceBusyError
from pgfolio.schema.records import Problem
from pgfolio.schema.vectors import claims, generations, reuse, segments

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from pgfolio.config.settings import Settings
    from pgfolio.flows.execution.job import Executor
    from pgfolio.flows.ingest.file_batch import FileBatch
    from pgfolio.flows.run.progress import Progress
    from pgfolio.flows.run.report import Estimate, Report
    from pgfolio.schema.database.connect import Connection
    from pgfolio.schema.records import Generation, Source, Space

REMOVE_BATCH_FILES = 500
FILE_BYTES = 2048
"""What a file costs, however small it is, in bytes of a larger one."""

ANALYZE_FRACTION = 0.05
"""Of the chunks: after fewer new ones autovacuum is soon enough."""


def run_sync(
    settings: Settings,
    conninfo: str,
    selected: Sequence[Source],
    options: Options,
    *,
    progress: Progress | None = None,
    step: Step = at_once,
) -> Report:
    """Bring what is stored in line with the sources. Documents that cannot be done are the report's problems.

    Raises FailedError, with the report so far, when the run as a whole cannot go on, and what the database
    raises. Interrupted anywhere, every document is stored as it was or as it is now, never half.
    """
    run = SyncRun(settings, conninfo, options, progress)
    with run.recorded("sync") as connection:
        run.execute(connection, selected, step)
    return run.report


class SyncRun(RunContext):
    """The parts of a sync."""

    def __init__(
        self, settings: Settings, conninfo: str, options: Options, progress: Progress | None = None
    ) -> None:
        super().__init__(settings, conninfo, options, progress)
        self.processing = Processing(
            settings.chunking.tokens, settings.chunking.overlap, settings.search.language
        )
        self._approved = options.approve_deletes
        self._is_alone = True
        self._workforce = Workforce(settings)
        self._recorder = ProgressRecorder(conninfo)
        self._half_price = HalfPrice(self, self.processing, self._files_to_read)

    def execute(self, connection: Connection, selected: Sequence[Source], step: Step) -> None:
        with closing(self._recorder), closing(self._workforce):
            if not self.options.plan_only:
                self._workforce.connect()
            self.note_prefixes(connection)
            if not self.options.plan_only:
                self._half_price.execute(connection, selected, step)
            reached = self._all(connection, selected, step)
        if not self.options.plan_only:
            reuse.expire(connection, self.settings.sync.keep_vectors_days)
            claims.forget_lost(connection)
            self._half_price.forget_failed(connection)
            sources.drop_empty_collections(connection)
            generations.drop_expired(connection, self.settings.index.keep_generations_days)
            connection.commit()
            if self._index_is_due(connection):
                step("index", self.index, connection)
        if selected and not reached:
            raise SourceUnreachable("; ".join(problem.reason for problem in self.report.problems))

    def _all(self, connection: Connection, selected: Sequence[Source], step: Step) -> int:
        """How many of them could be reached."""
        reached = 0
        self._is_alone = len(selected) == 1
        for source in selected:
            try:
                with sources.owned(connection, source, fenced=not self.options.plan_only) as owned:
                    reached += self._one(connection, owned, step)
            except SourceBusyError as error:
                if len(selected) == 1:
                    raise
                if source.kind != "pushed":
                    self.report.problem(Problem(source.name, "crawl", str(error)))
                else:  # pushes come at any time: the sync that has them does them, and this one its folders
                    reached += 1
        return reached

    def _one(self, connection: Connection, source: Source, step: Step) -> bool:
        """One source from its survey to the end; whether it could be reached."""
        problems = len(self.report.problems)
        if reason := other_processing(source, self.processing.settings, full=self.options.full):
            self.report.problem(Problem(source.name, "plan", reason))
            return True
        try:
            survey = step(f"crawl and plan {source.name}", self.survey, connection, source)
        except SourceUnreachable as error:
            return self._unreachable(connection, source, error)
        accounting.count_survey(self.report, source, survey)
        if self.options.plan_only:
            accounting.note_litter(self.report, source, survey)
            self.forecast(connection, source, survey)
        else:
            sources.note_reached(connection, source, reached=True)
            self.report.sources.append(source.name)
            sources.set_processing(connection, source, self.processing.settings, machine_name())
            sources.set_blocked_deletions(connection, source, accounting.blocked_deletions(survey))
            survey = step(f"apply {source.name}", self.apply, connection, source, survey)
            if len(self.report.problems) == problems:
                sources.synced(connection, source)
        self.report.chunks.total += survey.chunks
        connection.commit()
        return True

    def _unreachable(self, connection: Connection, source: Source, error: SourceUnreachable) -> bool:
        """Whether it has been given up: a place that is gone for good makes no sync partial for ever."""
        connection.rollback()
        if not self.options.plan_only:
            sources.note_reached(connection, source, reached=False)
            connection.commit()
        if (since := gone_for_good(source)) and not self._is_alone:
            self.report.note(
                f"{source.root} cannot be reached since {since:%Y-%m-%d}: the documents of {source.name} are kept; "
                f"`pgfolio sources move {source.name} FOLDER` says where they are, `forget` removes them"
            )
            return True
        self.report.problem(Problem(source.name, "crawl", str(error)))
        return False

    def survey(self, connection: Connection, source: Source) -> Survey:
        """Gather and decide; changes nothing."""
        self.progress.stage(f"looking at {source.name}")
        with self.report.timed("crawl"), without_garbage_collection():
            survey = self._survey_source(connection, source)
        self._approved -= survey.plan.approved
        return survey

    def _files_to_read(self, connection: Connection, source: Source) -> list[WorkItem]:
        """Raises SourceUnreachable."""
        if other_processing(source, self.processing.settings, full=self.options.full):
            return []
        return work_items_of(self._survey_source(connection, source).plan)

    def _survey_source(self, connection: Connection, source: Source) -> Survey:
        fingerprint, full = self.processing.fingerprint, self.options.full
        if source.kind == "pushed":
            return pushed.survey_pushes(connection, source, fingerprint, full=full)
        with open_tree(source, self._rules(source)) as tree:
            return survey_folder(connection, source, tree, fingerprint, self._deletion_limits(), full=full)

    def apply(self, connection: Connection, source: Source, survey: Survey) -> Survey:
        """Make it so: moves first, then what is new or changed, removals last."""
        with self.report.timed("store"):
            store.collect(connection, source)
        if survey.plan.moved:
            with self.report.timed("store"):
                store.move(connection, source, survey.plan.moved, survey.crawled_at_ns)
        if work_items := work_items_of(survey.plan):
            self.progress.begin(len(work_items))
            self._recorder.begin(self.report.run_id, source, len(work_items))
            for together in _apart(work_items, survey.unfinished):
                self._pass_through(connection, source, together)
        self._remove(connection, source, survey)
        with self.report.timed("store"):
            if source.kind == "pushed":
                return pushed.with_current_chunks(connection, source, survey)
            return mark_settled(connection, source, survey)

    def forecast(self, connection: Connection, source: Source, survey: Survey) -> None:
        """Count as the sync would, and say what becomes of which document."""
        work_items = work_items_of(survey.plan)
        self.progress.begin(len(work_items))
        generation = generations.active_generation(connection)
        connection.commit()
        planned = self._forecaster.of(
            connection, generation, source, survey.plan, work_items, advance=self.progress.advance
        )
        accounting.count_forecast(self.report, planned)
        space = generation.space if generation else self.requested_space()
        estimate = self._estimate(connection, space, planned.tokens, sampled=planned.sampled)
        self.report.tokens, self.report.cost_usd = estimate.tokens, estimate.cost_usd

    @cached_property
    def _forecaster(self) -> Forecaster:
        return Forecaster(
            self.settings,
            self.conninfo,
            self.processing,
            count=self.tokenizer.count,
            report=self.report,
        )

    def _estimate(self, connection: Connection, space: Space, tokens: int, *, sampled: bool) -> Estimate:
        sample = self._forecaster.sample.texts if self.options.plan_only else []
        billed = round(tokens * self.billed_per_counted(connection, space, sample))
        took = forecast_seconds(connection, self.settings, space, billed)
        return accounting.count_estimate(
            self.report,
            billed,
            self.price(space),
            took,
            sampled=sampled,
            batch_usd_per_million_tokens=batch_price(self.settings, space),
        )

    def _remove(self, connection: Connection, source: Source, survey: Survey) -> None:
        """Each path is looked at once more, just before."""
        removed = survey.plan.removed
        if not removed:
            return
        generation = generations.active_generation(connection)
        with open_tree(source, self._rules(source)) as tree:
            for start in range(0, len(removed), REMOVE_BATCH_FILES):
                batch = removed[start : start + REMOVE_BATCH_FILES]
                presence = tree.presence(
                    [known.path for known in batch if known.path not in survey.ruled_out]
                )
                gone = [known for known in batch if presence.get(known.path, "gone") == "gone"]
                with self.report.timed("store"):
                    store.remove(connection, source, generation, [known.path for known in gone])
                self.report.documents.removed += planning.documents(gone)

    def index(self, connection: Connection) -> None:
        """Build the indexes that are missing; analyze after a large load."""
        generation = generations.active_generation(connection)
        if generation is None:
            return
        maintenance.finish(self, connection, generation)
        tuning.check(self, connection, generation)
        if (
            not generation.space.asks_server
        ):  # a sync pays for documents alone: `index --tune` and `reembed` measure
            weighing.weigh(self, connection, generation)
        written = self.report.chunks.embedded + self.report.chunks.reused
        if (
            written > ANALYZE_FRACTION * self.report.chunks.total
            or word_statistics.are_behind(connection)
            or word_statistics.are_stale(connection)
        ):
            with self.report.timed("index"):
                statistics.analyze(connection, generation)
                connection.commit()

    def _index_is_due(self, connection: Connection) -> bool:
        """After a load, when a run was killed between its load and its index, and when an upgrade left words to be
        counted. An empty table gets none: the first load would have to go through it."""
        if self.report.chunks.embedded or self.report.chunks.reused or self.report.documents.removed:
            return True
        generation = generations.active_generation(connection)
        if generation is None:
            return False
        return (
            bool(segments.unindexed(connection, generation))
            or not word_statistics.are_counted(connection)
            or word_statistics.are_behind(connection)
        )

    def _pass_through(self, connection: Connection, source: Source, work_items: Sequence[WorkItem]) -> None:
        """Batches are handed out, and what became of them is counted: each is carried through by one worker."""
        generation = self.active_generation(connection)
        self.report.space = generation.space.name
        tokens = by_size(connection, source, work_items)
        self._estimate(connection, generation.space, tokens, sampled=True)
        expected = tokens // max(self.settings.chunking.tokens * 2 // 3, 1)
        load = maintenance.prepare(connection, generation, expected)
        ledger.unsettle(connection, source, {folder_of(item.entry.path) for item in work_items})
        connection.commit()
        metered = generation.space.asks_server
        weight = sum(item.entry.signature.size + FILE_BYTES for item in work_items)
        executor = self._workforce.executor(weight, metered=metered)
        job = self._job(source, load.place, executor, metered=metered)
        spending: dict[str, Spending] = {}
        postponed = waiting = 0
        try:
            with closing(executor.run(job, self._batches(source, work_items, executor))) as outcomes:
                for done in outcomes:
                    outcome = done.result
                    spending[outcome.process] = outcome.spending
                    load.add(outcome.vectors, outcome.vector_seconds)
                    accounting.count_outcome(self.report, outcome)
                    if executor.processes > 1:
                        accounting.count_worker(self.report, done.worker, outcome)
                    chunks = outcome.embedded + outcome.reused
                    maintenance.keep_analyzed(self, connection, generation, load, chunks)
                    postponed += outcome.postponed
                    waiting += outcome.waiting
                    self.progress.advance(outcome.files, chunks)
                    self._recorder.advance(outcome.files, chunks)
        finally:
            self.record_spending(sum(spending.values(), Spending()))
        maintenance.loaded(self, connection, load)
        accounting.count_postponed(self.report, source, postponed, self.options.max_cost)
        accounting.count_waiting(self.report, source, waiting)

    def _batches(
        self, source: Source, work_items: Sequence[WorkItem], executor: Executor
    ) -> Iterator[FileBatch]:
        made = file_batches(work_items, executor.processes)
        if (
            source.kind == "folder"
            and self.settings.sync.read == "driver"
            and isinstance(executor, DaskExecutor)
        ):
            follow_symlinks = self.settings.crawl.follow_symlinks
            return carried(made, partial(read_file, source.root, follow_symlinks=follow_symlinks))
        return made

    def _job(self, source: Source, place: Generation, executor: Executor, *, metered: bool) -> SyncJob:
        share = self._workforce.share(executor, self.settings.embedding.in_flight, metered=metered)
        return SyncJob(
            settings=self.settings,
            conninfo=self.conninfo,
            source=source,
            generation=place,
            processing=self.processing,
            embedder=self.embedder_plan(place, share.requests),
            slots=share.slots,
            parsers=PROCESSES if executor.processes == 1 else 1,
            awaits_batches=self.options.batch is not False,
        )

    def _rules(self, source: Source) -> Rules:
        common = self.settings.crawl
        return Rules(
            max_bytes=int(common.max_file_mb * 1024 * 1024),
            include=(*common.include, *source.include),
            exclude=(*common.exclude, *source.exclude, *self._own_files(source)),
            hidden=common.hidden,
            follow_symlinks=common.follow_symlinks,
        )

    def _own_files(self, source: Source) -> Iterator[str]:
        """The database that the documents are kept in is none of them."""
        if source.kind != "folder":
            return
        home, root = os.path.realpath(self.settings.home), source.root.rstrip("/") + "/"
        if home.startswith(root):
            yield "/" + re.sub(r"([\\*?\[\]! #])", r"\\\1", home.removeprefix(root)) + "/"

    def _deletion_limits(self) -> planning.DeletionLimits:
        """An approval is a ceiling over all sources of the run."""
        sync = self.settings.sync
        return planning.DeletionLimits(
            sync.delete_max_documents, sync.delete_max_fraction, max(self._approved, 0)
        )


def work_items_of(plan: planning.Plan) -> list[WorkItem]:
    """The files to read, in the order of their paths."""
    known = [WorkItem(file.entry, file.known) for file in plan.changed]
    return sorted([*known, *map(WorkItem, plan.added)], key=lambda work_item: work_item.entry.path)


def _apart(work_items: list[WorkItem], unfinished: Collection[str]) -> list[list[WorkItem]]:
    """Each that was begun before and not finished by itself, when all others are stored."""
    plain = [item for item in work_items if item.entry.path not in unfinished]
    return [*([plain] if plain else []), *([item] for item in work_items if item.entry.path in unfinished)]
