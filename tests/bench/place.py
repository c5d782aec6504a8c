"""Where it is measured: a database of the bench's own, emptied between runs, and what is stored into it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING

from pgfolio.config.models.wordllama import BundledTokenizer, LocalModel
from pgfolio.flows.chunking.embedded_text import embedded_text
from pgfolio.flows.discovery.crawl import crawl
from pgfolio.flows.discovery.reader import read_file
from pgfolio.flows.discovery.rules import Rules
from pgfolio.flows.ingest.document import Processing
from pgfolio.flows.ingest.file_batch import WorkItem, file_batches
from pgfolio.flows.ingest.pipeline import run_sync
from pgfolio.flows.ingest.prepare import Batch, prepare
from pgfolio.flows.ingest.store import Ready, storable
from pgfolio.flows.run.options import Options
from pgfolio.flows.run.report import Report
from pgfolio.schema.corpus import sources
from pgfolio.schema.database.connect import connect
from pgfolio.schema.records import Space
from pgfolio.schema.vectors import generations

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pgfolio.config.settings import Settings
    from pgfolio.schema.database.connect import Connection
    from pgfolio.schema.records import Source

SPACE = Space("local", "wordllama-256", 256)
STORED = "documents, chunks, ledger"
"""What the store stage copies in."""


@dataclass
class SyncedFolder:
    """One folder in one database."""

    settings: Settings
    conninfo: str
    folder: Path

    def source(self, connection: Connection) -> Source:
        return sources.ensure_source(connection, str(self.folder), name="bench")

    def sync(self) -> float:
        """Seconds of one sync, in this process, without the command around it."""
        return timed(self.synced)

    def synced(self) -> Report:
        with connect(self.conninfo) as connection:
            source = self.source(connection)
        return run_sync(self.settings, self.conninfo, [source], Options())

    def first_sync(self) -> float:
        self.clear()
        return self.sync()

    def clear(self) -> None:
        """As a new database is, but for its files, which are flushed so that no run pays for the one before."""
        with connect(self.conninfo) as connection:
            connection.execute(f"truncate {STORED}, folders, retained_vectors cascade")
            for generation in generations.list_generations(
                connection, "building", "ready", "active", "retired"
            ):
                generations.drop_generation(connection, generation)
        with connect(self.conninfo, autocommit=True) as connection:
            connection.execute("checkpoint")

    @cached_property
    def processing(self) -> Processing:
        chunking = self.settings.chunking
        return Processing(chunking.tokens, chunking.overlap, self.settings.search.language)

    @cached_property
    def ready(self) -> list[Ready]:
        """All batches of the folder, as they come to the store: extracted, chunked and embedded."""
        tokenizer, report = BundledTokenizer(), Report()
        model = LocalModel(tokenizer=tokenizer)
        work_items = [WorkItem(entry) for entry in crawl(self.folder, Rules(max_bytes=2**40)).entries]
        made = (
            prepare(
                partial(read_file, str(self.folder)),
                group.work_items,
                self.processing,
                tokenizer.count,
                report,
            )
            for group in file_batches(work_items, 1)
        )
        return [_embedded(batch, model) for batch in made]

    @cached_property
    def texts(self) -> list[str]:
        """Every chunk as it is embedded."""
        return [text for ready in self.ready for text in _texts(ready.batch)]


def timed(work: Callable[[], object]) -> float:
    """Seconds."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _texts(batch: Batch) -> list[str]:
    return [
        embedded_text(item.document.title, chunk.heading, chunk.content)
        for item in batch.prepared
        for chunk in item.chunks
    ]


def _embedded(batch: Batch, model: LocalModel) -> Ready:
    texts = _texts(batch)
    made = iter(model.embed(texts).vectors)
    storables = [storable(item, [next(made) for _ in item.chunks]) for item in batch.prepared]
    return Ready(batch, storables, embedded=len(texts))
