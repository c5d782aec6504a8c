"""Composes the stages of a sync: crawl, plan, then extract, chunk, embed and store side by side, and the index.

The same composition runs in the process and as a Prefect flow: `step` is how one of its parts is called.
Nothing here imports prefect.
"""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from flows import crawl as crawling
from flows import plan as planning
from flows import store
from flows.chunk import embedded_text
from flows.embed import BudgetSpentError, Refusal
from flows.overlap import ahead, workers
from flows.prepare import Failed, Parcel, Prepared, Recipe, Todo, hash_file, parcels, prepare
from flows.run import Options, Progress, Run, Step, at_once
from schema import index, ledger, sources, vectors
from schema.connect import connect
from schema.records import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import numpy as np

    from config.settings import Settings
    from flows.embed import Embedder
    from flows.report import Report
    from schema.connect import Connection
    from schema.records import Generation, Source

PREPARERS = 2
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
    """The parts of a sync, and the lock on the one connection that only looks up stored vectors."""

    def __init__(
        self, settings: Settings, conninfo: str, options: Options, progress: Progress | None = None
    ) -> None:
        super().__init__(settings, conninfo, options, progress)
        self.recipe = Recipe(settings.chunking.tokens, settings.chunking.overlap, settings.search.language)
        self._reader_lock = Lock()
        self._ruled_out: set[tuple[int, str]] = set()
        """(source id, path) of files that are there, and that a rule keeps out now."""

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
        if not self.options.plan_only and self._index_is_due(connection):
            step("index", self.index, connection)
        if chosen and not reached:
            raise crawling.SourceUnreachable("; ".join(problem.reason for problem in self.report.problems))

    def plan(self, connection: Connection, source: Source) -> planning.Plan:
        """Gather and decide; changes nothing."""
        self.progress.stage(f"looking at {source.name}")
        with self.report.timed("crawl"), crawling.garbage_kept():
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
            gone = [
                known
                for known in batch
                if (source.id, known.path) in self._ruled_out
                or not store.still_there(source.root, known.path)
            ]
            with self.report.timed("store"):
                store.remove(connection, source, [known.path for known in gone])
            self.report.documents.removed += sum(known.document_id is not None for known in gone)

    def index(self, connection: Connection) -> None:
        """Build the index of the active generation if there is none yet; settle what a large load left."""
        generation = vectors.active_generation(connection)
        if generation is None:
            return
        if not index.is_valid(connection, generation):
            self.progress.stage("building the index")
            with self.report.timed("index"):
                index.build(
                    connection, generation, self.settings.index.m, self.settings.index.ef_construction
                )
                connection.commit()
        written = self.report.chunks.embedded + self.report.chunks.reused
        if written > SETTLE_FRACTION * self.report.chunks.total:
            with self.report.timed("index"):
                index.settle(connection, generation)
                connection.commit()

    def _index_is_due(self, connection: Connection) -> bool:
        """After a load, and when a run was killed between its load and its index. An empty table gets none: the
        first load would have to go through it."""
        if self.report.chunks.embedded or self.report.chunks.reused:
            return True
        generation = vectors.active_generation(connection)
        return (
            generation is not None
            and not index.is_valid(connection, generation)
            and vectors.has_any(connection, generation)
        )

    def _pass_through(self, connection: Connection, source: Source, todos: Sequence[Todo]) -> None:
        """Extract and chunk in one pool, embed in another, store here: each ahead of the next by a few parcels."""
        generation = vectors.ensure_active(connection, self.wanted_space)
        connection.commit()
        prepared_by = partial(
            prepare, source.root, recipe=self.recipe, count=self.tokenizer.count, report=self.report
        )
        with (
            self.embedder(generation) as embedder,
            connect(self.conninfo, autocommit=True) as reader,
            workers(PREPARERS, "prepare") as preparing,
            workers(embedder.in_flight, "embed") as embedding,
            self._stopping(embedder),
        ):
            made = ahead(preparing, prepared_by, parcels(todos), PREPARERS + 1)
            embedded_by = partial(self._embed, embedder, reader, generation)
            ready = ahead(embedding, embedded_by, made, embedder.in_flight + 1)
            try:
                self._store_all(connection, source, generation, ready)
            except BudgetSpentError as error:
                self.report.problem(Problem(source.name, "embed", str(error)))

    @contextmanager
    def _stopping(self, embedder: Embedder) -> Iterator[None]:
        """On the way out, before the pools are waited for: a retry's long wait would hold them up."""
        try:
            yield
        finally:
            embedder.stop()

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
        wanted = {
            chunk.hash: (item.document.title, chunk) for item in parcel.prepared for chunk in item.chunks
        }
        if not wanted:
            return store.Ready(parcel, [store.storable(item, []) for item in parcel.prepared], (), 0, 0)
        with self.report.timed("embed"):
            with self._reader_lock:
                found: dict[bytes, np.ndarray | Refusal] = {**vectors.reuse(reader, generation, list(wanted))}
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
        there = {known.path for known in comparison.missing if store.still_there(source.root, known.path)}
        if not there:
            return comparison
        again = {entry.path for entry in crawling.crawl(Path(source.root), self._rules(source)).entries}
        self._ruled_out |= {(source.id, path) for path in there - again}
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
            self.report.problem(
                Problem(known.path, "crawl", "cannot be seen now: what is stored of it is kept")
            )
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
