"""Reads a batch of files and makes documents with chunks of them: the extract and chunk stages at work.

A file whose content is stored already has *unchanged content*; one that cannot be done is *failed*, with why, and
stops no other.
"""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from pgfolio.flows.chunking import chunk as chunking
from pgfolio.flows.chunking.outline import Chunkable
from pgfolio.flows.discovery.reader import ChangedError, Content
from pgfolio.flows.extraction import extract as extraction
from pgfolio.flows.extraction import language as languages
from pgfolio.flows.extraction.extracted import Extracted, Unextractable, with_upload_metadata
from pgfolio.flows.extraction.worker import extraction_workers
from pgfolio.flows.run.concurrency import ahead, workers
from pgfolio.schema import markdown
from pgfolio.schema.records import Document

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pgfolio.flows.discovery.reader import Read
    from pgfolio.flows.discovery.walk import Entry
    from pgfolio.flows.run.report import Report
    from pgfolio.schema.records import Chunk, LedgerEntry, Signature

PREPARERS = 2
BATCH_BYTES = 256 * 1024
BATCH_FILES = 64


@dataclass(frozen=True, slots=True)
class WorkItem:
    """A file to read, and what the ledger knows of it."""

    entry: Entry
    known: LedgerEntry | None = None


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

    @property
    def files(self) -> int:
        return len(self.prepared) + len(self.unchanged_content) + len(self.failed) + len(self.deferred)


@dataclass(frozen=True, slots=True)
class Processing:
    """How text is made of a file; its fingerprint stands in the ledger, so that another one makes all anew."""

    tokens: int
    overlap: int
    language: str
    """Of documents that do not declare theirs."""

    @property
    def fingerprint(self) -> str:
        versions = f"{extraction.FINGERPRINT} {chunking.FINGERPRINT} {self.tokens}/{self.overlap}"
        return f"{versions} {languages.FINGERPRINT}/{self.language}"


def batches(work_items: Sequence[WorkItem]) -> Iterator[list[WorkItem]]:
    """Groups of about as much work each; a file over the bound stands alone."""
    group: list[WorkItem] = []
    size = 0
    for work_item in work_items:
        if group and (len(group) >= BATCH_FILES or size + work_item.entry.signature.size > BATCH_BYTES):
            yield group
            group, size = [], 0
        group.append(work_item)
        size += work_item.entry.signature.size
    if group:
        yield group


@contextmanager
def prepared(
    read: Read,
    work_items: Sequence[WorkItem],
    processing: Processing,
    *,
    count: Callable[[Sequence[str]], list[int]],
    report: Report,
    timeout: float,
) -> Iterator[Iterator[Batch]]:
    """Batches of all the files in their order, made by a few threads that keep a little ahead; a parser gets
    `timeout` seconds for a file."""
    with extraction_workers(timeout) as extract, workers(PREPARERS, "prepare") as pool:
        work = partial(prepare, read, processing=processing, count=count, report=report, extract=extract)
        yield ahead(pool, work, batches(work_items), PREPARERS + 1)


def prepare(
    read: Read,
    work_items: Sequence[WorkItem],
    processing: Processing,
    count: Callable[[Sequence[str]], list[int]],
    report: Report,
    extract: Callable[[str, bytes], Extracted] = extraction.extract,
) -> Batch:
    """Read, extract and chunk. Raises nothing for what one file holds."""
    with report.timed("extract"):
        outcomes = [_outcome(read, work_item, processing, extract) for work_item in work_items]
    with report.timed("chunk"):
        chunkables = [o.chunkable for o in outcomes if isinstance(o, _Extracted)]
        chunked = iter(
            chunking.chunk_many(chunkables, count=count, tokens=processing.tokens, overlap=processing.overlap)
        )
    return Batch(
        prepared=[
            Prepared(work_item, outcome.document, next(chunked))
            for work_item, outcome in zip(work_items, outcomes, strict=True)
            if isinstance(outcome, _Extracted)
        ],
        unchanged_content=[outcome for outcome in outcomes if isinstance(outcome, UnchangedContent)],
        failed=[outcome for outcome in outcomes if isinstance(outcome, Failed)],
        deferred=[outcome for outcome in outcomes if isinstance(outcome, Deferred)],
    )


@dataclass(frozen=True, slots=True)
class _Extracted:
    document: Document
    chunkable: Chunkable


def _outcome(
    read: Read,
    work_item: WorkItem,
    processing: Processing,
    extract: Callable[[str, bytes], Extracted],
) -> _Extracted | UnchangedContent | Failed | Deferred:
    content = _content(read, work_item)
    if not isinstance(content, Content):
        return content
    signature, content_hash = content.signature, hashlib.sha256(content.data).digest()
    known = work_item.known
    if (
        known
        and known.state == "ok"
        and known.content_hash == content_hash
        and known.processing_fingerprint == processing.fingerprint
    ):
        return UnchangedContent(work_item, signature)
    try:
        extracted = with_upload_metadata(
            extract(work_item.entry.path, content.data), content.title, content.name, content.metadata
        )
    except Unextractable as error:
        return Failed(
            work_item, signature, content_hash, stage="extract", reason=str(error), transient=error.transient
        )
    document = _document_of(work_item.entry.path, content_hash, signature, extracted, processing)
    return _Extracted(
        document,
        Chunkable(
            extracted.text,
            extracted.title,
            extracted.pages,
            markdown=extracted.markdown,
            code_blocks=document.code_blocks,
        ),
    )


def _content(read: Read, work_item: WorkItem) -> Content | Failed | Deferred:
    try:
        return read(work_item.entry.path)
    except FileNotFoundError:
        return Deferred(work_item, "it vanished after it was listed")
    except ChangedError:
        return Deferred(work_item, "it changed while it was read; the next sync takes it")
    except OSError as error:
        reason = f"cannot be read: {error.strerror}"
        return Failed(work_item, work_item.entry.signature, None, "crawl", reason, transient=True)


def _document_of(
    path: str, content_hash: bytes, signature: Signature, extracted: Extracted, processing: Processing
) -> Document:
    return Document(
        path=path,
        title=extracted.title,
        mime=extracted.mime,
        text=extracted.text,
        content_hash=content_hash,
        signature=signature,
        language=languages.language_of(extracted.metadata, extracted.text, processing.language),
        created_at=extracted.created_at,
        updated_at=_moment(signature.mtime_ns),
        metadata=extracted.metadata,
        owner=extracted.owner,
        code_blocks=markdown.code_blocks(extracted.text),
    )


def _moment(time_ns: int) -> datetime:
    """The beginning of time as computers count it for a time that no calendar has."""
    try:
        return datetime.fromtimestamp(time_ns / 1e9, UTC)
    except (ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(0, UTC)
