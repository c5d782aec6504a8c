"""Reads a batch of files and makes documents with chunks of them: the extract and chunk stages at work.

A file whose content is stored already has *unchanged content*; one that cannot be done is *failed*, with why, and
stops no other.
"""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from pgfolio.config.opening import ChangedError
from pgfolio.flows.discovery.reader import Content, NotAnsweringError, PoisonousError
from pgfolio.flows.extraction.extracted import NothingToRead, Unextractable
from pgfolio.flows.extraction.harmless import is_harmless
from pgfolio.flows.extraction.worker import LARGE_BYTES, Fatality, Workers
from pgfolio.flows.ingest.document import chunks_of, chunks_of_one, document_of, extracted, in_this_process
from pgfolio.flows.ingest.file_batch import file_batches
from pgfolio.flows.run.concurrency import ahead, workers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pgfolio.flows.chunking.outline import Chunkable
    from pgfolio.flows.discovery.reader import Read, Reader
    from pgfolio.flows.ingest.document import Beside, Processing
    from pgfolio.flows.ingest.file_batch import WorkItem
    from pgfolio.flows.run.report import Report
    from pgfolio.schema.records import Chunk, Document, Signature

PREPARERS = 2
MAX_FATALITIES = 3
"""A file whose reader died so many times is left alone until it changes."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """Its text and its chunks, which lack their vectors."""

    work_item: WorkItem
    document: Document
    chunks: Sequence[Chunk]


@dataclass(frozen=True, slots=True)
class UnchangedContent:
    """Read, and found to be what is stored already."""

    work_item: WorkItem
    signature: Signature


@dataclass(frozen=True, slots=True)
class Failed:
    work_item: WorkItem
    signature: Signature
    content_hash: bytes | None
    stage: str
    reason: str
    transient: bool = False
    """It may pass without the file being changed."""
    tries: int | None = None
    """After so many it is not tried again until it changes; None: as often as it takes."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """None that we read, and nothing is stored of it."""

    work_item: WorkItem
    signature: Signature
    content_hash: bytes
    reason: str
    transient: bool = False


@dataclass(frozen=True, slots=True)
class Deferred:
    """Not to be judged now: it is taken at the next sync."""

    work_item: WorkItem
    reason: str


@dataclass(frozen=True, slots=True)
class Batch:
    """The unit that passes through the stages, and the transaction that stores it."""

    prepared: Sequence[Prepared] = ()
    unchanged_content: Sequence[UnchangedContent] = ()
    failed: Sequence[Failed] = ()
    deferred: Sequence[Deferred] = ()
    skipped: Sequence[Skipped] = ()

    @property
    def files(self) -> int:
        groups = (self.prepared, self.unchanged_content, self.failed, self.deferred, self.skipped)
        return sum(map(len, groups))


@contextmanager
def prepared(
    reader: Reader,
    work_items: Sequence[WorkItem],
    processing: Processing,
    *,
    count: Callable[[Sequence[str]], list[int]],
    report: Report,
    timeout: float,
) -> Iterator[Iterator[Batch]]:
    """Batches of all the files in their order, made by a few threads that keep a little ahead; what reads a file
    gets `timeout` seconds for it."""
    beside = Workers(timeout)
    work = partial(read_batch, reader, processing=processing, count=count, report=report, beside=beside.run)
    with workers(PREPARERS, "prepare") as pool:
        try:
            groups = (batch.work_items for batch in file_batches(work_items, PREPARERS))
            yield ahead(pool, work, groups, PREPARERS + 1, weight=_bytes, max_weight=LARGE_BYTES)
        finally:
            beside.stop()  # before the threads are waited for, which wait for it


def read_batch(
    reader: Reader,
    work_items: Sequence[WorkItem],
    processing: Processing,
    count: Callable[[Sequence[str]], list[int]],
    report: Report,
    beside: Beside,
) -> Batch:
    """With the reader's own end: another may have ended who read them."""
    try:
        reader.ahead([work_item.entry for work_item in work_items])
        batch = prepare(reader.read, work_items, processing, count, report, beside)
        return batch if reader.may_skip else _without_skipped(batch)
    finally:
        reader.done([work_item.entry.path for work_item in work_items])


def _without_skipped(batch: Batch) -> Batch:
    failed = [
        Failed(item.work_item, item.signature, item.content_hash, "extract", item.reason, item.transient)
        for item in batch.skipped
    ]
    return replace(batch, skipped=(), failed=[*batch.failed, *failed])


def prepare(
    read: Read,
    work_items: Sequence[WorkItem],
    processing: Processing,
    count: Callable[[Sequence[str]], list[int]],
    report: Report,
    beside: Beside = in_this_process,
) -> Batch:
    """Read, extract and chunk. Raises nothing for what one file holds."""
    with report.timed("extract"):
        outcomes = [_outcome(read, work_item, processing, beside) for work_item in work_items]
    with report.timed("chunk"):
        extracted = [outcome for outcome in outcomes if isinstance(outcome, _Extracted)]
        chunked = iter(list(_chunked(extracted, processing, count, beside)))
    outcomes = [next(chunked) if isinstance(outcome, _Extracted) else outcome for outcome in outcomes]
    return Batch(
        prepared=[outcome for outcome in outcomes if isinstance(outcome, Prepared)],
        unchanged_content=[outcome for outcome in outcomes if isinstance(outcome, UnchangedContent)],
        failed=[outcome for outcome in outcomes if isinstance(outcome, Failed)],
        deferred=[outcome for outcome in outcomes if isinstance(outcome, Deferred)],
        skipped=[outcome for outcome in outcomes if isinstance(outcome, Skipped)],
    )


@dataclass(frozen=True, slots=True)
class _Extracted:
    """Still to be chunked, together with the others of its batch."""

    work_item: WorkItem
    document: Document
    chunkable: Chunkable


_Outcome: TypeAlias = "Prepared | UnchangedContent | Failed | Deferred | Skipped"


def _outcome(
    read: Read, work_item: WorkItem, processing: Processing, beside: Beside
) -> _Outcome | _Extracted:
    content = _content(read, work_item)
    if not isinstance(content, Content):
        return content
    content_hash = hashlib.sha256(content.data).digest()
    known = work_item.known
    if (
        known
        and known.state == "ok"
        and known.content_hash == content_hash
        and known.processing_fingerprint == processing.fingerprint
    ):
        return UnchangedContent(work_item, content.signature)
    path, size = work_item.entry.path, len(content.data)
    is_new = known is None or known.document_id is None
    if not content.data and is_new:
        return Skipped(work_item, content.signature, content_hash, "it is empty")
    try:
        if is_harmless(path, content.data):
            return _Extracted(work_item, *extracted(path, content, content_hash, processing))
        document, chunks = beside(document_of, path, content, content_hash, processing, size=size)
    except Unextractable as error:
        if is_new and isinstance(error, NothingToRead):
            return Skipped(work_item, content.signature, content_hash, str(error), error.transient)
        return _failed(work_item, content.signature, content_hash, "extract", error)
    return Prepared(work_item, document, chunks)


def _chunked(
    items: Sequence[_Extracted],
    processing: Processing,
    count: Callable[[Sequence[str]], list[int]],
    beside: Beside,
) -> Iterator[Prepared | Failed]:
    """With their chunks, of all together: where that fails, of each by itself, beside."""
    try:
        chunked = chunks_of([item.chunkable for item in items], processing, count)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:  # noqa: BLE001 -- a panic of the Rust library is not an Exception
        yield from (_chunked_alone(item, processing, beside) for item in items)
    else:
        for item, chunks in zip(items, chunked, strict=True):
            yield Prepared(item.work_item, item.document, chunks)


def _chunked_alone(item: _Extracted, processing: Processing, beside: Beside) -> Prepared | Failed:
    document = item.document
    try:
        chunks = beside(chunks_of_one, item.chunkable, processing, size=document.signature.size)
    except Unextractable as error:
        return _failed(item.work_item, document.signature, document.content_hash, "chunk", error)
    return Prepared(item.work_item, document, chunks)


def _failed(
    work_item: WorkItem, signature: Signature, content_hash: bytes, stage: str, error: Unextractable
) -> Failed:
    tries = MAX_FATALITIES if isinstance(error, Fatality) else None
    return Failed(work_item, signature, content_hash, stage, str(error), error.transient, tries)


def _content(read: Read, work_item: WorkItem) -> Content | Failed | Deferred:
    try:
        return read(work_item.entry)
    except FileNotFoundError:
        return Deferred(work_item, "it vanished after it was listed")
    except ChangedError:
        return Deferred(work_item, "it changed while it was read; the next sync takes it")
    except NotAnsweringError as error:
        return Deferred(work_item, f"{error}; the next sync takes it")
    except PoisonousError as error:
        reason = " ".join((error.__doc__ or "").split())
        return Failed(work_item, work_item.entry.signature, None, "extract", reason)
    except OSError as error:
        reason = f"cannot be read: {error.strerror}"
        return Failed(work_item, work_item.entry.signature, None, "crawl", reason, transient=True)


def _bytes(work_items: Sequence[WorkItem]) -> int:
    return sum(work_item.entry.signature.size for work_item in work_items)
