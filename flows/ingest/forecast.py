"""What a sync would embed, cost and take: by reading what it would read, or, quickly, by the sizes of its files."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from pgfolio.flows.chunking.embedded_text import embedded_text
from pgfolio.flows.discovery.trees import reader
from pgfolio.flows.ingest.prepare import prepared
from pgfolio.flows.run.sample import TextSample
from pgfolio.schema.operations import runs
from pgfolio.schema.vectors import batches, reuse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pgfolio.config.settings import Settings
    from pgfolio.flows.discovery.plan import Plan
    from pgfolio.flows.ingest.document import Processing
    from pgfolio.flows.ingest.file_batch import WorkItem
    from pgfolio.flows.ingest.prepare import Batch, Deferred, Failed
    from pgfolio.flows.run.report import Report
    from pgfolio.schema.database.connect import Connection
    from pgfolio.schema.records import Generation, Source, Space

MAX_FILES_READ = 5000
"""Files that a plan reads; of more it reads as many, evenly spread, and reckons with their bytes."""

TOKENS_PER_BYTE = 0.25
"""Of a source of which nothing is stored yet."""

TOKENS_PER_SECOND = {"local": 400_000.0, "transformers": 3_000.0, "openai": 50_000.0}
"""Of a space in which no run has embedded much yet."""

Action = Literal["add", "change", "move", "remove", "hold", "fail", "skip"]


@dataclass(frozen=True, slots=True)
class Planned:
    """One document of a plan. `tokens`: to be embedded; None where its file was not read for the plan."""

    source: str
    action: Action
    path: str
    moved_from: str | None = None
    tokens: int | None = None
    reason: str | None = None


@dataclass
class Forecast:
    """Of one source. `unchanged`: files that would be read and found to be as they are."""

    documents: list[Planned] = field(default_factory=list)
    tokens: int = 0
    unchanged: int = 0
    skipped: int = 0
    sampled: bool = False
    failed: list[Failed] = field(default_factory=list)
    deferred: list[Deferred] = field(default_factory=list)


class Forecaster:
    """Counts a text that stands in several documents once."""

    def __init__(
        self,
        settings: Settings,
        conninfo: str,
        processing: Processing,
        *,
        count: Callable[[Sequence[str]], list[int]],
        report: Report,
    ) -> None:
        self._timeout = settings.crawl.extract_timeout
        self._crawl = settings.crawl
        self._conninfo = conninfo
        self._processing = processing
        self._count = count
        self._report = report
        self._seen: set[bytes] = set()
        self.sample = TextSample()
        """Of the texts to be embedded."""

    def of(
        self,
        connection: Connection,
        generation: Generation | None,
        source: Source,
        plan: Plan,
        work_items: Sequence[WorkItem],
        *,
        advance: Callable[[int, int], None],
    ) -> Forecast:
        """Reads, extracts and chunks what the sync would; embeds and writes nothing."""
        forecast = Forecast(documents=list(_known_actions(source, plan)))
        step = -(-len(work_items) // MAX_FILES_READ) or 1
        sample = work_items[::step]
        forecast.sampled = step > 1
        with (
            reader(self._conninfo, source, self._crawl) as source_reader,
            prepared(
                source_reader,
                sample,
                self._processing,
                count=self._count,
                report=self._report,
                timeout=self._timeout,
            ) as batches,
        ):
            for batch in batches:
                self._add(connection, generation, source, batch, forecast)
                advance(batch.files, 0)
        if forecast.sampled:
            self._scale(source, work_items, sample, forecast)
        return forecast

    def _add(
        self,
        connection: Connection,
        generation: Generation | None,
        source: Source,
        batch: Batch,
        forecast: Forecast,
    ) -> None:
        hashes = {chunk.hash for item in batch.prepared for chunk in item.chunks} - self._seen
        self._seen |= hashes
        if generation is not None and hashes:
            hashes -= reuse.reuse(connection, generation, list(hashes)).keys()
            hashes -= batches.waiting(connection, generation, list(hashes))
            connection.commit()
        for item in batch.prepared:
            tokens = 0
            for chunk in item.chunks:
                if chunk.hash in hashes:
                    hashes.remove(chunk.hash)
                    tokens += chunk.tokens
                    if (at := self.sample.place()) is not None:
                        text = embedded_text(item.document.title, chunk.heading, chunk.content)
                        self.sample.texts[at] = text, chunk.tokens
            forecast.tokens += tokens
            path = item.work_item.entry.path
            forecast.documents.append(Planned(source.name, _action(item.work_item), path, tokens=tokens))
        forecast.documents += [
            Planned(source.name, "fail", item.work_item.entry.path) for item in batch.failed
        ]
        forecast.documents += [
            Planned(source.name, "skip", item.work_item.entry.path, reason=item.reason)
            for item in batch.skipped
        ]
        forecast.skipped += len(batch.skipped)
        forecast.unchanged += len(batch.unchanged_content)
        forecast.failed += batch.failed
        forecast.deferred += batch.deferred

    def _scale(
        self, source: Source, work_items: Sequence[WorkItem], sample: Sequence[WorkItem], forecast: Forecast
    ) -> None:
        read = {work_item.entry.path for work_item in sample}
        forecast.documents += [
            Planned(source.name, _action(work_item), work_item.entry.path)
            for work_item in work_items
            if work_item.entry.path not in read
        ]
        forecast.tokens = round(forecast.tokens * _bytes(work_items) / max(_bytes(sample), 1))


def by_size(connection: Connection, source: Source, work_items: Sequence[WorkItem]) -> int:
    """Tokens of files, by their bytes, as the documents stored of the source have them."""
    tokens_per_byte = runs.tokens_per_byte(connection, source.id) or TOKENS_PER_BYTE
    return round(_bytes(work_items) * tokens_per_byte)


def seconds(connection: Connection, settings: Settings, space: Space, tokens: int) -> float:
    """How long embedding takes: as fast as the last run in the space, and within the allowed rate."""
    tokens_per_second = runs.tokens_per_second(connection, space.name) or TOKENS_PER_SECOND[space.provider]
    limit = settings.embedding.tokens_per_minute
    if limit and space.asks_server:
        tokens_per_second = min(tokens_per_second, limit / 60)
    return tokens / tokens_per_second


def _known_actions(source: Source, plan: Plan) -> Iterator[Planned]:
    """What the plan says without reading a file."""
    for move in plan.moved:
        yield Planned(source.name, "move", move.entry.path, moved_from=move.known.path, tokens=0)
    for known in plan.removed:
        yield Planned(source.name, "remove", known.path)
    for known in (*plan.blocked_deletions, *plan.unmounted, *plan.unknown):
        yield Planned(source.name, "hold", known.path)


def _action(work_item: WorkItem) -> Action:
    return "add" if work_item.known is None or work_item.known.document_id is None else "change"


def _bytes(work_items: Sequence[WorkItem]) -> int:
    return sum(work_item.entry.signature.size for work_item in work_items)
