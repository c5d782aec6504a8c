"""Composes the stages of a sync: crawl, plan, then extract, chunk, embed and store side by side, and the index.

The same composition runs in the process and as a Prefect flow: `step` is how one of its parts is called.
Nothing here imports prefect.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from config import models
from flows import crawl as crawling
from flows import plan as planning
from flows import store
from flows.chunk import embedded_text
from flows.embed import Bounds, BudgetSpentError, Embedder, Refusal
from flows.overlap import ahead, workers
from flows.prepare import Failed, Parcel, Prepared, Recipe, Todo, hash_file, parcels, prepare
from flows.report import Report
from schema import index, ledger, runs, sources, vectors
from schema.connect import connect
from schema.records import Problem, Space

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import numpy as np

    from config.models.local import BundledTokenizer
    from config.settings import Settings
    from schema.connect import Connection
    from schema.records import Generation, Source

PREPARERS = 2
REMOVE_BATCH = 500
Result = TypeVar("Result")


class Step(Protocol):
    """Calls one part of a flow: at once, or as a Prefect task."""

    def __call__(self, name: str, work: Callable[..., Result], *args: Any) -> Result: ...


def at_once(name: str, work: Callable[..., Result], *args: Any) -> Result:
    """The step of a run without Prefect."""
    del name
    return work(*args)


class Progress(Protocol):
    """Told what goes on, for a display."""

    def stage(self, text: str) -> None: ...

    def begin(self, files: int) -> None: ...

    def advance(self, files: int, chunks: int) -> None: ...


class Quiet:
    """The progress of a run that nobody watches."""

    def stage(self, text: str) -> None: ...

    def begin(self, files: int) -> None: ...

    def advance(self, files: int, chunks: int) -> None: ...


@dataclass(frozen=True, slots=True)
class Options:
    """What the user asked of one sync."""

    plan_only: bool = False
    full: bool = False
    approve_deletes: int = 0
    max_cost: float | None = None
    started_by: str = "command"


class FailedError(Exception):
    """The run could not go on; what it had stored stays."""

    def __init__(self, message: str, report: Report) -> None:
        super().__init__(message)
        self.report = report


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
    report = Report()
    began = time.perf_counter()
    with connect(conninfo) as connection:
        if options.plan_only:
            report.status = "planned"
        else:
            report.run_id = runs.start(connection, "sync", options.started_by)
            connection.commit()
        run = SyncRun(settings, conninfo, options, report, progress or Quiet())
        try:
            run.all(connection, chosen, step)
        except BaseException as error:
            report.status, report.error = "failed", _sentence(error)
            report.seconds["total"] = time.perf_counter() - began
            _finish(conninfo, report)
            if isinstance(error, Exception):
                raise FailedError(report.error, report) from error
            raise
        report.seconds["total"] = time.perf_counter() - began
        if report.run_id is not None:
            runs.finish(connection, report.run_id, _final(report), report.as_json())
    return report


class SyncRun:
    """One sync's shared state: settings, report, and what is made when first needed."""

    def __init__(
        self, settings: Settings, conninfo: str, options: Options, report: Report, progress: Progress
    ) -> None:
        self.settings = settings
        self.conninfo = conninfo
        self.options = options
        self.report = report
        self.progress = progress
        self.recipe = Recipe(settings.chunking.tokens, settings.chunking.overlap, settings.search.language)
        self._reader_lock = Lock()

    def all(self, connection: Connection, chosen: Sequence[Source], step: Step) -> None:
        reached = 0
        for source in chosen:
            with sources.owned(connection, source):
                try:
                    plan = step(f"crawl and plan {source.name}", self.plan, connection, source)
                except crawling.SourceUnreachable as error:
                    self.report.problem(Problem(source.name, "crawl", str(error)))
                    continue
                reached += 1
                self._count(plan)
                if not self.options.plan_only:
                    step(f"apply {source.name}", self.apply, connection, source, plan)
                self.report.chunks.total += ledger.totals(connection, source)[1]
                connection.commit()
        if not self.options.plan_only and (self.report.chunks.embedded or self.report.chunks.reused):
            step("index", self.index, connection)
        if chosen and not reached:
            raise crawling.SourceUnreachable("; ".join(problem.reason for problem in self.report.problems))

    def plan(self, connection: Connection, source: Source) -> planning.Plan:
        """Gather and decide; changes nothing."""
        self.progress.stage(f"looking at {source.name}")
        with self.report.timed("crawl"):
            crawl = crawling.crawl(Path(source.root), self._rules(source))
            known = ledger.load(connection, source)
            connection.commit()
            comparison = planning.compare(
                crawl, known, recipe=self.recipe.name, now=datetime.now(UTC), full=self.options.full
            )
            comparison = self._second_look(source, comparison)
            hashes = {
                entry.path: found
                for entry in planning.possible_moves(comparison)
                if (found := hash_file(source.root, entry.path))
            }
            limits = planning.Limits(
                self.settings.sync.delete_max_documents,
                self.settings.sync.delete_max_fraction,
                self.options.approve_deletes,
            )
            plan = planning.decide(comparison, hashes, limits)
        for problem in (*crawl.unreadable, *crawl.too_large):
            self.report.problem(problem)
        return plan

    def apply(self, connection: Connection, source: Source, plan: planning.Plan) -> None:
        """Make it so: moves first, then what is new or changed, removals last."""
        if plan.moved:
            with self.report.timed("store"):
                store.move(connection, source, plan.moved)
        todos = [Todo(suspect.entry, suspect.known) for suspect in plan.changed]
        todos = sorted([*todos, *(Todo(entry) for entry in plan.added)], key=lambda todo: todo.entry.path)
        if todos:
            self.progress.begin(len(todos))
            self._pass_through(connection, source, todos)
        for start in range(0, len(plan.removed), REMOVE_BATCH):
            batch = plan.removed[start : start + REMOVE_BATCH]
            gone = [known for known in batch if not store.still_there(source.root, known.path)]
            with self.report.timed("store"):
                store.remove(connection, source, [known.path for known in gone])
            self.report.documents.removed += sum(known.document_id is not None for known in gone)

    def index(self, connection: Connection) -> None:
        """Build the index of the active generation if there is none yet."""
        generation = vectors.active_generation(connection)
        if generation is None:
            return
        found = index.state(connection, generation)
        if found is None or not found.valid:
            self.progress.stage("building the index")
            with self.report.timed("index"):
                index.build(connection, generation, self.settings.index.m, self.settings.index.ef_construction)
                connection.commit()

    @cached_property
    def tokenizer(self) -> BundledTokenizer:
        from config.models.local import BundledTokenizer  # noqa: PLC0415 -- a no-op needs no model

        return BundledTokenizer()

    def _pass_through(self, connection: Connection, source: Source, todos: Sequence[Todo]) -> None:
        """Extract and chunk in one pool, embed in another, store here: each ahead of the next by a few parcels."""
        generation = vectors.ensure_active(connection, self._wanted_space)
        connection.commit()
        tokenizer = self.tokenizer
        embedder = self._embedder(generation)
        threads = embedder.in_flight
        prepared_by = partial(prepare, source.root, recipe=self.recipe, count=tokenizer.count, report=self.report)
        with (
            connect(self.conninfo, autocommit=True) as reader,
            workers(PREPARERS, "prepare") as preparing,
            workers(threads, "embed") as embedding,
        ):
            try:
                made = ahead(preparing, prepared_by, parcels(todos), PREPARERS + 1)
                ready = ahead(embedding, partial(self._embed, embedder, reader, generation), made, threads + 1)
                self._store_all(connection, source, generation, ready)
            except BudgetSpentError as error:
                self.report.problem(Problem(source.name, "embed", str(error)))
            finally:
                embedder.stop()
                self.report.tokens += embedder.tokens
                self.report.cost_usd += embedder.cost

    def _store_all(
        self, connection: Connection, source: Source, generation: Generation, ready: Iterable[store.Ready]
    ) -> None:
        for item in ready:
            with self.report.timed("store"):
                store.store_parcel(connection, source, generation, item, self.recipe.name)
            self._count_stored(item)
            self.progress.advance(item.parcel.files, item.embedded + item.reused)

    def _embed(
        self, embedder: Embedder, reader: Connection, generation: Generation, parcel: Parcel
    ) -> store.Ready:
        """Vectors for a parcel: those that are stored for the same text already, the model's for the rest."""
        wanted = {chunk.hash: (item.document.title, chunk) for item in parcel.prepared for chunk in item.chunks}
        if not wanted:
            return store.Ready(parcel, [store.storable(item, []) for item in parcel.prepared], (), 0, 0)
        with self.report.timed("embed"):
            with self._reader_lock:
                found: dict[bytes, np.ndarray | Refusal] = {
                    **vectors.reuse(reader, generation, list(wanted))
                }
            missing = [(title, chunk) for key, (title, chunk) in wanted.items() if key not in found]
            prefix = generation.space.document_prefix
            texts = [prefix + embedded_text(title, chunk.heading, chunk.content) for title, chunk in missing]
            answers = embedder.embed(texts, [chunk.tokens for _, chunk in missing])
            found |= {chunk.hash: answer for (_, chunk), answer in zip(missing, answers, strict=True)}
        storables, failed = [], []
        for item in parcel.prepared:
            whole = [found[chunk.hash] for chunk in item.chunks]
            refused = next((answer for answer in whole if isinstance(answer, Refusal)), None)
            if refused is None:
                storables.append(store.storable(item, whole))
            else:
                failed.append(_refused(item, refused))
        total = sum(len(item.chunks) for item in storables)
        return store.Ready(parcel, storables, failed, len(missing), max(total - len(missing), 0))

    def _embedder(self, generation: Generation) -> Embedder:
        space, wanted = generation.space, self.settings.embedding
        model = models.embedding_model(
            self.settings,
            space.provider,
            space.model,
            space.dimensions,
            shorten=space.shortened,
            tokenizer=self.tokenizer,
        )
        return Embedder(
            model,
            Bounds(wanted.batch_inputs, wanted.batch_tokens, wanted.deadline),
            usd_per_million_tokens=self.settings.prices.get(space.model, 0.0),
            max_cost=self.options.max_cost,
        )

    def _wanted_space(self) -> Space:
        provider, model, dimensions, shortened = models.wanted_space(self.settings)
        wanted = self.settings.embedding
        return Space(provider, model, dimensions, shortened, wanted.query_prefix, wanted.document_prefix)

    def _rules(self, source: Source) -> crawling.Rules:
        common = self.settings.crawl
        return crawling.Rules(
            max_bytes=int(common.max_file_mb * 1024 * 1024),
            include=(*common.include, *source.include),
            exclude=(*common.exclude, *source.exclude),
            hidden=common.hidden,
            follow_symlinks=common.follow_symlinks,
        )

    def _second_look(self, source: Source, comparison: planning.Comparison) -> planning.Comparison:
        """A missing file that can be seen after all is missing by a rule, or because the first crawl caught the
        folder at a bad moment: a second crawl tells."""
        if not any(store.still_there(source.root, known.path) for known in comparison.missing):
            return comparison
        again = {entry.path for entry in crawling.crawl(Path(source.root), self._rules(source)).entries}
        return planning.without(comparison, again)

    def _count(self, plan: planning.Plan) -> None:
        counts = self.report.documents
        counts.moved += len(plan.moved)
        counts.unchanged += plan.unchanged
        counts.held += len(plan.held) + len(plan.unknown)
        counts.failed += len(plan.quarantined)
        for known in plan.quarantined:
            self.report.problem(Problem(known.path, known.stage, known.reason))
        for known in plan.unknown:
            self.report.problem(Problem(known.path, "crawl", "cannot be seen now: what is stored of it is kept"))
        if plan.held:
            self.report.problem(
                Problem(
                    "",
                    "plan",
                    f"{len(plan.held)} documents are gone from their folder, more than pass unasked: they are kept. "
                    f"If they are meant to go, run `pgfolio sync --approve-deletes {len(plan.held)}`",
                )
            )
        if self.options.plan_only:
            counts.added += len(plan.added)
            counts.changed += len(plan.changed)
            counts.removed += len(plan.removed)

    def _count_stored(self, item: store.Ready) -> None:
        counts = self.report.documents
        for storable in item.storables:
            if storable.document_id is None:
                counts.added += 1
            else:
                counts.changed += 1
        counts.unchanged += len(item.parcel.touched)
        for failed in (*item.parcel.failed, *item.failed):
            counts.failed += 1
            self.report.problem(Problem(failed.todo.entry.path, failed.stage, failed.reason))
        for left in item.parcel.left:
            self.report.problem(Problem(left.todo.entry.path, "crawl", left.reason))
        self.report.chunks.embedded += item.embedded
        self.report.chunks.reused += item.reused


def _refused(item: Prepared, refusal: Refusal) -> Failed:
    return Failed(item.todo, item.document.signature, item.document.content_hash, "embed", refusal.reason)


def _final(report: Report) -> runs.Status:
    assert report.status != "planned"
    return report.status


def _finish(conninfo: str, report: Report) -> None:
    """Write the end of a run that failed, on a connection of its own: the other one may be what broke."""
    if report.run_id is None:
        return
    try:
        with connect(conninfo) as connection:
            runs.finish(connection, report.run_id, "failed", report.as_json(), report.error)
    except Exception as error:  # noqa: BLE001 -- the first error is the one to be seen
        report.error += f" (and its end could not be recorded: {error})"


def _sentence(error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt):
        return "interrupted; what was done until then is stored, the next sync goes on from there"
    return " ".join(str(error).split()) or type(error).__name__


__all__ = ["FailedError", "Options", "Progress", "Quiet", "at_once", "run_sync"]
