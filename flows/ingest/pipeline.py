"""Composes the stages of a sync: crawl, plan, then extract, chunk, embed and store side by side, and the index.

The same composition runs in the process and as a Prefect flow: `step` is how one of its parts is called.
Nothing here imports prefect.
"""

from __future__ import annotations

import os
import re
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING

from pgfolio.flows.discovery import plan as planning
from pgfolio.flows.discovery import pushed
from pgfolio.flows.discovery.crawl import Rules, SourceUnreachable, garbage_kept
from pgfolio.flows.discovery.reader import reader
from pgfolio.flows.discovery.survey import Survey, settle, survey
from pgfolio.flows.index import maintenance, tuning
from pgfolio.flows.ingest import accounting, store
from pgfolio.flows.ingest.forecast import Forecaster, by_size
from pgfolio.flows.ingest.forecast import seconds as forecast_seconds
from pgfolio.flows.ingest.prepare import Recipe, Todo, prepared
from pgfolio.flows.ingest.vectors import Supply
from pgfolio.flows.run.concurrency import ahead, workers
from pgfolio.flows.run.context import Options, Progress, Run, Step, at_once
from pgfolio.schema.corpus import sources
from pgfolio.schema.corpus.sources import SourceBusyError
from pgfolio.schema.database.connect import connect
from pgfolio.schema.records import Problem
from pgfolio.schema.search import lexical
from pgfolio.schema.vectors import generations, hnsw, segments

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pgfolio.config.settings import Settings
    from pgfolio.flows.embedding.embedder import Embedder
    from pgfolio.flows.ingest.prepare import Parcel
    from pgfolio.flows.run.report import Estimate, Report
    from pgfolio.schema.database.connect import Connection
    from pgfolio.schema.records import Source, Space

REMOVE_BATCH = 500
SETTLE_FRACTION = 0.05
"""Of the chunks: after fewer new ones autovacuum is soon enough."""


def run_sync(
    settings: Settings,
    conninfo: str,
    chosen: Sequence[Source],
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
        run.all(connection, chosen, step)
    return run.report


class SyncRun(Run):
    """The parts of a sync."""

    def __init__(
        self, settings: Settings, conninfo: str, options: Options, progress: Progress | None = None
    ) -> None:
        super().__init__(settings, conninfo, options, progress)
        self.recipe = Recipe(settings.chunking.tokens, settings.chunking.overlap, settings.search.language)
        self._approved = options.approve_deletes

    def all(self, connection: Connection, chosen: Sequence[Source], step: Step) -> None:
        reached = 0
        for source in chosen:
            try:
                with sources.owned(connection, source):
                    reached += self._one(connection, source, step)
            except SourceBusyError as error:
                if len(chosen) == 1:
                    raise
                if source.kind == "folder":
                    self.report.problem(Problem(source.name, "crawl", str(error)))
                else:  # pushes come at any time: the sync that has them does them, and this one its folders
                    reached += 1
        if not self.options.plan_only:
            generations.expire(connection, self.settings.sync.keep_vectors_days)
            generations.drop_expired(connection, self.settings.index.keep_generations_days)
            connection.commit()
            if self._index_is_due(connection):
                step("index", self.index, connection)
        if chosen and not reached:
            raise SourceUnreachable("; ".join(problem.reason for problem in self.report.problems))

    def _one(self, connection: Connection, source: Source, step: Step) -> bool:
        """One source from its survey to the end; whether it could be reached."""
        problems = len(self.report.problems)
        try:
            found = step(f"crawl and plan {source.name}", self.survey, connection, source)
        except SourceUnreachable as error:
            self.report.problem(Problem(source.name, "crawl", str(error)))
            return False
        accounting.surveyed(self.report, source, found)
        if self.options.plan_only:
            self.forecast(connection, source, found)
        else:
            found = step(f"apply {source.name}", self.apply, connection, source, found)
            if len(self.report.problems) == problems:
                sources.synced(connection, source)
        self.report.chunks.total += found.chunks
        connection.commit()
        return True

    def survey(self, connection: Connection, source: Source) -> Survey:
        """Gather and decide; changes nothing."""
        self.progress.stage(f"looking at {source.name}")
        with self.report.timed("crawl"), garbage_kept():
            found = self._look(connection, source)
        self._approved -= found.plan.approved
        return found

    def _look(self, connection: Connection, source: Source) -> Survey:
        recipe, full = self.recipe.name, self.options.full
        if source.kind == "pushed":
            return pushed.survey(connection, source, recipe, full=full)
        return survey(connection, source, self._rules(source), recipe, self._limits(), full=full)

    def apply(self, connection: Connection, source: Source, found: Survey) -> Survey:
        """Make it so: moves first, then what is new or changed, removals last."""
        with self.report.timed("store"):
            store.collect(connection, source)
        if found.plan.moved:
            with self.report.timed("store"):
                store.move(connection, source, found.plan.moved, found.looked_at)
        if todos := todos_of(found.plan):
            self.progress.begin(len(todos))
            self._pass_through(connection, source, todos)
        self._remove(connection, source, found)
        with self.report.timed("store"):
            if source.kind == "pushed":
                return pushed.counted(connection, source, found)
            return settle(connection, source, found)

    def forecast(self, connection: Connection, source: Source, found: Survey) -> None:
        """Count as the sync would, and say what becomes of which document."""
        todos = todos_of(found.plan)
        self.progress.begin(len(todos))
        generation = generations.active_generation(connection)
        connection.commit()
        planned = self._forecaster.of(
            connection, generation, source, found.plan, todos, self.progress.advance
        )
        accounting.forecast(self.report, planned)
        space = generation.space if generation else self.wanted_space()
        estimate = self._estimate(connection, space, planned.tokens, sampled=planned.sampled)
        self.report.tokens, self.report.cost_usd = estimate.tokens, estimate.cost_usd

    @cached_property
    def _forecaster(self) -> Forecaster:
        return Forecaster(self.settings, self.conninfo, self.recipe, self.tokenizer.count, self.report)

    def _estimate(self, connection: Connection, space: Space, tokens: int, *, sampled: bool) -> Estimate:
        took = forecast_seconds(connection, self.settings, space, tokens)
        return accounting.estimated(self.report, tokens, self.price(space), took, sampled=sampled)

    def _remove(self, connection: Connection, source: Source, found: Survey) -> None:
        """Each path is looked at once more, just before."""
        removed = found.plan.removed
        generation = generations.active_generation(connection) if removed else None
        for start in range(0, len(removed), REMOVE_BATCH):
            gone = [
                known
                for known in removed[start : start + REMOVE_BATCH]
                if known.path in found.ruled_out or store.probe(source.root, known.path) == "gone"
            ]
            with self.report.timed("store"):
                store.remove(connection, source, generation, [known.path for known in gone])
            self.report.documents.removed += planning.documents(gone)

    def index(self, connection: Connection) -> None:
        """Build the indexes that are missing; settle what a large load left."""
        generation = generations.active_generation(connection)
        if generation is None:
            return
        maintenance.finish(self, connection, generation)
        tuning.check(self, connection, generation)
        written = self.report.chunks.embedded + self.report.chunks.reused
        if written > SETTLE_FRACTION * self.report.chunks.total or lexical.are_stale(connection):
            with self.report.timed("index"):
                hnsw.settle(connection, generation)
                connection.commit()

    def _index_is_due(self, connection: Connection) -> bool:
        """After a load, when a run was killed between its load and its index, and when an upgrade left words to be
        counted. An empty table gets none: the first load would have to go through it."""
        if self.report.chunks.embedded or self.report.chunks.reused or self.report.documents.removed:
            return True
        generation = generations.active_generation(connection)
        if generation is None:
            return False
        return bool(segments.unindexed(connection, generation)) or not lexical.are_counted(connection)

    def _pass_through(self, connection: Connection, source: Source, todos: Sequence[Todo]) -> None:
        """Extract and chunk in one pool, embed in another, store here: each ahead of the next by a few parcels."""
        generation = self.active_generation(connection)
        self.report.space = generation.space.name
        tokens = by_size(connection, source, todos)
        self._estimate(connection, generation.space, tokens, sampled=True)
        expected = tokens // max(self.settings.chunking.tokens * 2 // 3, 1)
        load = maintenance.prepare(connection, generation, expected)
        postponed = 0
        with (
            self._prepared(source, todos) as parcels,
            self.embedder(generation) as embedder,
            connect(self.conninfo, autocommit=True) as reader,
            workers(embedder.in_flight, "embed") as embedding,
            self._stopping(embedder),
        ):
            supply = Supply(embedder, generation, reader, self.report)
            for ready in ahead(embedding, supply.give, parcels, embedder.in_flight + 1):
                with self.report.timed("store"):
                    load.add(store.store_parcel(connection, source, load.place, ready, self.recipe.name))
                supply.stored(ready)
                accounting.stored(self.report, ready)
                maintenance.keep_settled(self, connection, generation, load, ready.embedded + ready.reused)
                postponed += len(ready.postponed)
                self.progress.advance(ready.parcel.files, ready.embedded + ready.reused)
        maintenance.loaded(self, connection, load)
        accounting.postponed(self.report, source, postponed, self.options.max_cost)

    @contextmanager
    def _prepared(self, source: Source, todos: Sequence[Todo]) -> Iterator[Iterator[Parcel]]:
        timeout = self.settings.crawl.extract_timeout
        with (
            reader(self.conninfo, source) as read,
            prepared(read, todos, self.recipe, self.tokenizer.count, self.report, timeout) as parcels,
        ):
            yield parcels

    @contextmanager
    def _stopping(self, embedder: Embedder) -> Iterator[None]:
        """On the way out, before the pools are waited for: a retry's long wait would hold them up."""
        try:
            yield
        finally:
            embedder.stop()

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
        home, root = os.path.realpath(self.settings.home), source.root.rstrip("/") + "/"
        if home.startswith(root):
            yield "/" + re.sub(r"([\\*?\[\]! #])", r"\\\1", home.removeprefix(root)) + "/"

    def _limits(self) -> planning.Limits:
        """An approval is a ceiling over all sources of the run."""
        wanted = self.settings.sync
        return planning.Limits(
            wanted.delete_max_documents, wanted.delete_max_fraction, max(self._approved, 0)
        )


def todos_of(plan: planning.Plan) -> list[Todo]:
    """The files to read, in the order of their paths."""
    known = [Todo(suspect.entry, suspect.known) for suspect in plan.changed]
    return sorted([*known, *map(Todo, plan.added)], key=lambda todo: todo.entry.path)
