"""Repairs what verify.py finds, and embeds nothing that is still stored.

Rows are repaired batch by batch while they are found, each batch in one short transaction. A document that only its
file can repair gets a ledger row that makes the next sync make it anew, and that sync runs at once.
"""

from __future__ import annotations

import time
from contextlib import ExitStack, closing
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from pgfolio.config.errors import ConfigError
from pgfolio.config.models.protocols import ModelError
from pgfolio.flows.execution.workforce import Workforce
from pgfolio.flows.index import build
from pgfolio.flows.ingest.pipeline import run_sync
from pgfolio.flows.integrity.comparison import WrongChunk, hash_known
from pgfolio.flows.integrity.verify import Verification, examine, run_verify
from pgfolio.flows.reembedding.backfill import backfill
from pgfolio.flows.remote.opening import is_there
from pgfolio.flows.run.context import RunContext
from pgfolio.flows.run.options import FailedError, Options
from pgfolio.flows.run.progress import NullProgress
from pgfolio.schema.corpus import collections, push_queue, sources
from pgfolio.schema.database.connect import connect
from pgfolio.schema.integrity import repair as stored_repair
from pgfolio.schema.integrity import verify as stored
from pgfolio.schema.vectors import generations, segments

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pgfolio.config.settings import Settings
    from pgfolio.flows.run.progress import Progress
    from pgfolio.flows.run.report import Report
    from pgfolio.schema.database.connect import Connection
    from pgfolio.schema.integrity.findings import Finding
    from pgfolio.schema.records import Generation, Source

FINDINGS_PER_BATCH = 500
STARTED_BY = Options(started_by="verify")
LEDGER_MISMATCHES = {"ledger_missing", "ledger_document", "ledger_hash", "chunk_count", "chunk_order"}
UNUSABLE_VECTORS = {"vector_without_chunk", "vector_dimensions", "vector_zero"}
INDEX_FAULTS = {"index_missing", "index_invalid", "index_wrong", "index_incomplete"}


def run_repair(settings: Settings, conninfo: str, *, progress: Progress | None = None) -> Verification:
    """Verify, repair what can be repaired, and verify again: the result is what remains. No sync may run meanwhile.

    Raises SourceBusyError when one does; nothing is changed then.
    """
    began = time.perf_counter()
    progress = progress or NullProgress()
    before = Verification()
    with connect(conninfo) as connection:
        repair = Repair(settings, conninfo, connection, progress)
        with ExitStack() as owned:
            for source in repair.sources.values():
                owned.enter_context(sources.owned(connection, source))
            with stored.snapshot(conninfo) as reader, closing(Workforce(settings)) as workforce:
                found = examine(reader, conninfo, workforce, before, progress, settings)
                for batch in _batched(_counted(found, before)):
                    repair.repair_batch(batch)
            repair.finish()
    repair.sync()
    after = run_verify(conninfo, settings, progress=progress)
    after.repaired = {
        kind: count - after.counts[kind]
        for kind, count in before.counts.items()
        if count > after.counts[kind]
    }
    after.unresolved, after.embedded, after.reused = repair.unresolved, repair.embedded, repair.reused
    after.seconds = time.perf_counter() - began
    return after


class Repair:
    """One repair: what it works on, what it must still do when all is found, and what came of it."""

    def __init__(self, settings: Settings, conninfo: str, connection: Connection, progress: Progress) -> None:
        self.sources = {source.id: source for source in sources.list_sources(connection)}
        self.unresolved: list[str] = []
        self.embedded = self.reused = 0
        self._run = RunContext(settings, conninfo, STARTED_BY, progress)
        self._settings = settings
        self._conninfo = conninfo
        self._connection = connection
        self._progress = progress
        self._active = generations.active_generation(connection)
        self._generations = {g.id: g for g in generations.list_generations(connection, "active", "building")}
        self._to_sync: dict[int, Source] = {}
        self._remade_paths: set[str] = set()
        self._table_findings: list[Finding] = []
        self._narrowed: dict[int, Generation] = {}
        self._outdated: dict[int, Generation] = {}
        connection.commit()

    def repair_batch(self, batch: Sequence[Finding]) -> None:
        """Repair the rows of one batch; what is done to whole tables waits until nobody reads them."""
        self._table_findings += [
            f for f in batch if f.kind.startswith(("table_", "index_", "generation_", "lexemes_"))
        ]
        by_kind: dict[str, list[Finding]] = {}
        for finding in batch:
            by_kind.setdefault(finding.kind, []).append(finding)
        with self._connection.transaction():
            self._repair_chunks([f for f in batch if isinstance(f, WrongChunk)])
            self._repair_orphans(by_kind.get("chunk_without_document", ()))
            self._repair_collections(batch)
            self._repair_ledger(by_kind)
            self._remove_vectors(batch)
        self._connection.commit()

    def finish(self) -> None:
        """Tables, then the vectors that are missing, then the indexes."""
        kinds = {finding.kind for finding in self._table_findings}
        try:
            self._repair_tables()
            if self._active is not None:
                backfill(self._run, self._connection, self._active)
        except (ModelError, ConfigError) as error:
            self._connection.rollback()
            self.unresolved.append(str(error))
        self._count(self._run.report)
        self.unresolved += [f"{p.path}: {p.reason}" for p in self._run.report.problems]
        for name in (f.path for f in self._table_findings if f.kind == "table_leftover" and f.path):
            if not stored_repair.drop_table(self._connection, name):
                self.unresolved.append(f"the table {name} is in use: run it again later")
        if self._active is not None:
            self._repair_index(self._active, rebuild=bool(kinds & INDEX_FAULTS))
        if "lexemes_index" in kinds:
            self._progress.stage("building the words' index")
            stored_repair.rebuild_lexemes(self._connection)
        self._connection.commit()

    def sync(self) -> None:
        """Make documents anew from their files, where these are at hand."""
        if not self._to_sync:
            return
        try:
            report = run_sync(
                self._settings,
                self._conninfo,
                list(self._to_sync.values()),
                STARTED_BY,
                progress=self._progress,
            )
        except FailedError as error:
            report = error.report
            self.unresolved.append(str(error))
        self._count(report)
        self.unresolved += [f"{p.path}: {p.reason}" for p in report.problems if p.path in self._remade_paths]

    def _repair_chunks(self, wrong: Sequence[WrongChunk]) -> None:
        """Where only the content is wrong, the document has it. Any other chunk goes, if its file is there to make
        it anew; its vector is kept where it is known to be that hash's."""
        contents = {
            f.chunk_id: f.right_content
            for f in wrong
            if f.right_content is not None and f.chunk_id is not None
        }
        if contents:
            stored_repair.repair_chunk_contents(self._connection, contents)
        to_remake = [f for f in wrong if f.right_content is None and self._from_file(f)]
        if to_remake:
            keep = [f for f in to_remake if f.hash_known]
            stored_repair.delete_chunks(
                self._connection, self._active, _chunk_ids(to_remake), _chunk_ids(keep)
            )
            stored_repair.repair_ledger(self._connection, _document_ids(to_remake))

    def _repair_orphans(self, findings: Sequence[Finding]) -> None:
        if not findings:
            return
        chunks = stored_repair.chunks_without_document(self._connection, _chunk_ids(findings))
        keep = [chunk.id for chunk in chunks if hash_known(chunk)]
        stored_repair.delete_chunks(self._connection, self._active, [chunk.id for chunk in chunks], keep)

    def _repair_collections(self, batch: Iterable[Finding]) -> None:
        if moved := [f for f in batch if f.kind in {"chunk_collection", "vector_collection"}]:
            collections.repair_collections(self._connection, self._generations.values(), _chunk_ids(moved))

    def _repair_ledger(self, by_kind: dict[str, list[Finding]]) -> None:
        if missing := by_kind.get("document_missing"):
            stored_repair.forget_missing(self._connection, missing)
        for finding in by_kind.get("ledger_path", ()):
            stored_repair.repair_ledger_path(self._connection, finding)
        mismatched = [f for kind in LEDGER_MISMATCHES & by_kind.keys() for f in by_kind[kind]]
        if mismatched:
            stored_repair.repair_ledger(self._connection, _document_ids(mismatched))
        for finding in (*(missing or ()), *by_kind.get("ledger_path", ()), *mismatched):
            self._from_file(finding)

    def _remove_vectors(self, batch: Sequence[Finding]) -> None:
        unusable = [f for f in batch if f.kind in UNUSABLE_VECTORS]
        for generation in self._generations.values():
            own = [f for f in unusable if f.generation_id == generation.id]
            if own:
                stored_repair.delete_vectors(self._connection, generation, _chunk_ids(own))
            if any(f.kind == "vector_dimensions" for f in own):
                self._narrowed[generation.id] = generation
            if any(f.kind == "vector_outdated" and f.generation_id == generation.id for f in batch):
                self._outdated[generation.id] = generation

    def _from_file(self, finding: Finding) -> bool:
        """Whether the file is there to make the document of; its source is synced then."""
        source = self.sources.get(finding.source_id or 0)
        path = finding.expected if finding.kind == "ledger_path" else finding.path
        try:
            present = source is not None and self._is_there(source, path or "")
        except OSError:
            present = False
        if source is not None and present:
            self._to_sync[source.id] = source
            self._remade_paths.add(path or "")
        return present

    def _is_there(self, source: Source, path: str) -> bool:
        if source.kind == "pushed":
            return push_queue.is_there(self._connection, source, path)
        if source.kind == "remote":
            return is_there(source.root, path)
        return Path(source.root, path).is_file()

    def _repair_tables(self) -> None:
        """A generation's table that is gone, or an active generation that there must be: empty at first."""
        with self._connection.transaction():
            for finding in self._table_findings:
                if finding.kind == "table_missing" and finding.generation_id is not None:
                    stored_repair.make_table(self._connection, self._generations[finding.generation_id])
            for generation in self._narrowed.values():
                stored_repair.repair_dimensions(self._connection, generation)
            for generation in self._outdated.values():
                stored_repair.delete_vectors_of_model(self._connection, generation)
            stored_repair.forget_retained_vectors(self._connection)
        self._connection.commit()
        if any(finding.kind == "generation_missing" for finding in self._table_findings):
            self._active = self._activated()

    def _activated(self) -> Generation:
        """The newest generation that is still there becomes active, or a new one in the settings' space."""
        usable, _ = stored.tables(self._connection, "ready", "retired")
        if usable:
            generations.activate(self._connection, usable[0])
        return self._run.active_generation(self._connection)

    def _repair_index(self, generation: Generation, *, rebuild: bool) -> None:
        parameters = build.parameters_of(self._run, self._connection, generation)
        due = segments.unindexed(self._connection, generation)
        if rebuild:
            due = [
                member
                for member in segments.members(self._connection, generation)
                if segments.has_any(self._connection, member)
            ]
        self._connection.commit()
        for member in due:
            self._progress.stage("building the index")
            stored_repair.drop_index(self._conninfo, member)
            build.build(self._run, self._connection, member, parameters)

    def _count(self, report: Report) -> None:
        self.embedded += report.chunks.embedded
        self.reused += report.chunks.reused


def _counted(findings: Iterable[Finding], result: Verification) -> Iterator[Finding]:
    for finding in findings:
        result.add(finding)
        yield finding


def _batched(findings: Iterable[Finding]) -> Iterator[list[Finding]]:
    every = iter(findings)
    while batch := list(islice(every, FINDINGS_PER_BATCH)):
        yield batch


def _chunk_ids(findings: Iterable[Finding]) -> list[int]:
    return [f.chunk_id for f in findings if f.chunk_id is not None]


def _document_ids(findings: Iterable[Finding]) -> list[int]:
    return sorted({f.document_id for f in findings if f.document_id is not None})
