"""The unit of work: one batch of files carried through by one worker, from their bytes to its own short
transaction."""

from __future__ import annotations

from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgfolio.config import telemetry
from pgfolio.flows.discovery.trees import reader
from pgfolio.flows.embedding.spending import Spending
from pgfolio.flows.execution.job import process_name
from pgfolio.flows.extraction.worker import Workers
from pgfolio.flows.ingest import store
from pgfolio.flows.ingest.outcome import Outcome
from pgfolio.flows.ingest.prepare import MAX_FATALITIES, Batch, Failed, read_batch
from pgfolio.flows.ingest.vectors import VectorSupply
from pgfolio.flows.run.report import Report
from pgfolio.schema.corpus.documents import Written
from pgfolio.schema.database.connect import connect
from pgfolio.schema.database.per_thread import ThreadConnections

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgfolio.config.models.wordllama import BundledTokenizer
    from pgfolio.config.settings import Settings
    from pgfolio.flows.discovery.reader import Reader
    from pgfolio.flows.embedding.embedder import Embedder
    from pgfolio.flows.embedding.opening import EmbedderPlan
    from pgfolio.flows.ingest.document import Processing
    from pgfolio.flows.ingest.file_batch import FileBatch
    from pgfolio.schema.records import Generation, Source


@dataclass(frozen=True)
class SyncJob:
    """Batches of one source. `generation`: with the segment that its vectors go to. `parsers`: processes beside each
    worker that read what may harm them."""

    settings: Settings
    conninfo: str
    source: Source
    generation: Generation
    processing: Processing
    embedder: EmbedderPlan
    slots: int
    parsers: int
    awaits_batches: bool = True

    @contextmanager
    def open(self) -> Iterator[BatchWorker]:
        from pgfolio.config.models.wordllama import bundled_tokenizer  # noqa: PLC0415 -- slow to import

        telemetry.start("pgfolio-flows")
        # Left from the last to the first: what reads files is stopped before connections close.
        with (
            closing(ThreadConnections(self.conninfo)) as connections,
            self.embedder.open() as embedder,
            reader(self.conninfo, self.source, self.settings.crawl) as source_reader,
        ):
            worker = BatchWorker(self, embedder, source_reader, bundled_tokenizer(), connections)
            try:
                yield worker
            finally:
                worker.stop()

    def weight(self, item: FileBatch) -> int:
        return sum(work_item.entry.signature.size for work_item in item.work_items)

    def parts(self, item: FileBatch) -> list[FileBatch]:
        return item.parts()

    def give_up(self, item: FileBatch) -> Outcome:
        reason = "the process that worked on it ended, each time"
        failed = [
            Failed(w, w.entry.signature, None, "extract", reason, transient=True, tries=MAX_FATALITIES)
            for w in item.work_items
        ]
        ready = store.Ready(Batch(failed=failed))
        with connect(self.conninfo, autocommit=True) as connection:
            store.store_batch(connection, self.source, self.generation, ready, self.processing.fingerprint)
        return Outcome.of(ready, Written(), {}, "", Spending())


class BatchWorker:
    """A sync's job in one process. Each of its threads has a connection of its own, in autocommit."""

    def __init__(
        self,
        job: SyncJob,
        embedder: Embedder,
        source_reader: Reader,
        tokenizer: BundledTokenizer,
        connections: ThreadConnections,
    ) -> None:
        self._job = job
        self._embedder = embedder
        self._reader = source_reader
        self._count = tokenizer.count
        self._vectors = VectorSupply(
            embedder,
            job.generation,
            is_metered=job.embedder.is_metered,
            awaits_batches=job.awaits_batches,
        )
        self._parsers = Workers(job.settings.crawl.extract_timeout, job.parsers)
        self._connections = connections
        self._process = process_name()

    def __call__(self, item: FileBatch) -> Outcome:
        """Raises ModelError, SourceLostError and what the database raises."""
        with telemetry.span("batch", {"pgfolio.files": len(item.work_items)}):
            return self._carry(item)

    def _carry(self, item: FileBatch) -> Outcome:
        report = Report()
        connection = self._connections.get()
        batch = read_batch(
            self._reader if item.contents is None else item.reader(),
            item.work_items,
            processing=self._job.processing,
            count=self._count,
            report=report,
            beside=self._parsers.run,
        )
        ready = self._vectors.supply(connection, batch, report)
        with report.timed("store"):
            written = store.store_batch(
                connection, self._job.source, self._job.generation, ready, self._job.processing.fingerprint
            )
        return Outcome.of(ready, written, report.seconds, self._process, self._embedder.spending)

    def stop(self) -> None:
        self._embedder.stop()
        self._parsers.stop()
        telemetry.flush()
