"""Reads a parcel of files and makes documents with chunks of them: the extract and chunk stages at work.

A file that is as it was is *touched*; one that cannot be done is *failed*, with why, and stops no other.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from pgfolio.flows.chunking import chunk as chunking
from pgfolio.flows.chunking.outline import Chunkable
from pgfolio.flows.discovery.reader import ChangedError
from pgfolio.flows.extraction import extract as extraction
from pgfolio.flows.extraction import language as languages
from pgfolio.flows.extraction.worker import isolated
from pgfolio.flows.run.concurrency import ahead, workers
from pgfolio.schema.records import Document

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pgfolio.flows.discovery.crawl import Entry
    from pgfolio.flows.discovery.reader import Read
    from pgfolio.flows.run.report import Report
    from pgfolio.schema.records import Chunk, LedgerEntry, Signature

PREPARERS = 2
PARCEL_BYTES = 256 * 1024
PARCEL_FILES = 64


@dataclass(frozen=True, slots=True)
class Todo:
    """A file to read, and what the ledger knows of it."""

    entry: Entry
    known: LedgerEntry | None = None


@dataclass(frozen=True, slots=True)
class Prepared:
    todo: Todo
    document: Document
    chunks: Sequence[Chunk]


@dataclass(frozen=True, slots=True)
class Touched:
    """Read, and found to be what is stored already."""

    todo: Todo
    signature: Signature


@dataclass(frozen=True, slots=True)
class Failed:
    todo: Todo
    signature: Signature
    content_hash: bytes | None
    stage: str
    reason: str
    transient: bool = False
    """It may pass without the file being changed."""


@dataclass(frozen=True, slots=True)
class Left:
    """Not to be judged now: it is taken at the next sync."""

    todo: Todo
    reason: str


@dataclass(frozen=True, slots=True)
class Parcel:
    """The unit that passes through the stages, and the transaction that stores it."""

    prepared: Sequence[Prepared] = ()
    touched: Sequence[Touched] = ()
    failed: Sequence[Failed] = ()
    left: Sequence[Left] = ()

    @property
    def files(self) -> int:
        return len(self.prepared) + len(self.touched) + len(self.failed) + len(self.left)


@dataclass(frozen=True, slots=True)
class Recipe:
    """How text is made of a file; its name stands in the ledger, so that another recipe makes all anew."""

    tokens: int
    overlap: int
    language: str
    """Of documents that do not tell theirs."""

    @property
    def name(self) -> str:
        made = f"{extraction.RECIPE} {chunking.RECIPE} {self.tokens}/{self.overlap}"
        return f"{made} {languages.RECIPE}/{self.language}"


def parcels(todos: Sequence[Todo]) -> Iterator[list[Todo]]:
    """Groups of about as much work each; a file over the bound stands alone."""
    group: list[Todo] = []
    size = 0
    for todo in todos:
        if group and (len(group) >= PARCEL_FILES or size + todo.entry.signature.size > PARCEL_BYTES):
            yield group
            group, size = [], 0
        group.append(todo)
        size += todo.entry.signature.size
    if group:
        yield group


@contextmanager
def prepared(
    read: Read,
    todos: Sequence[Todo],
    recipe: Recipe,
    count: Callable[[Sequence[str]], list[int]],
    report: Report,
    timeout: float,
) -> Iterator[Iterator[Parcel]]:
    """Parcels of all the files in their order, made by a few threads that keep a little ahead; a parser gets
    `timeout` seconds for a file."""
    with isolated(timeout) as extract, workers(PREPARERS, "prepare") as pool:
        work = partial(prepare, read, recipe=recipe, count=count, report=report, extract=extract)
        yield ahead(pool, work, parcels(todos), PREPARERS + 1)


def prepare(
    read: Read,
    todos: Sequence[Todo],
    recipe: Recipe,
    count: Callable[[Sequence[str]], list[int]],
    report: Report,
    extract: Callable[[str, bytes], extraction.Extracted] = extraction.extract,
) -> Parcel:
    """Read, extract and chunk. Raises nothing for what one file holds."""
    with report.timed("extract"):
        outcomes = [_document(read, todo, recipe, extract) for todo in todos]
    with report.timed("chunk"):
        chunkables = [o.chunkable for o in outcomes if isinstance(o, _Extracted)]
        chunked = iter(
            chunking.chunk_many(chunkables, count=count, tokens=recipe.tokens, overlap=recipe.overlap)
        )
    return Parcel(
        prepared=[
            Prepared(todo, outcome.document, next(chunked))
            for todo, outcome in zip(todos, outcomes, strict=True)
            if isinstance(outcome, _Extracted)
        ],
        touched=[outcome for outcome in outcomes if isinstance(outcome, Touched)],
        failed=[outcome for outcome in outcomes if isinstance(outcome, Failed)],
        left=[outcome for outcome in outcomes if isinstance(outcome, Left)],
    )


def hash_file(root: str, path: str) -> bytes | None:
    """SHA-256 of a file's bytes; None if it cannot be read now."""
    try:
        with open(os.path.join(root, path), "rb") as file:  # noqa: PTH118, PTH123 -- a hot path
            return hashlib.file_digest(file, "sha256").digest()
    except OSError:
        return None


@dataclass(frozen=True, slots=True)
class _Extracted:
    document: Document
    chunkable: Chunkable


def _document(
    read: Read, todo: Todo, recipe: Recipe, extract: Callable[[str, bytes], extraction.Extracted]
) -> _Extracted | Touched | Failed | Left:
    try:
        given = read(todo.entry.path)
    except FileNotFoundError:
        return Left(todo, "it vanished after it was listed")
    except ChangedError:
        return Left(todo, "it changed while it was read; the next sync takes it")
    except OSError as error:
        reason = f"cannot be read: {error.strerror}"
        return Failed(todo, todo.entry.signature, None, "crawl", reason, transient=True)
    data, signature = given.data, given.signature
    content_hash = hashlib.sha256(data).digest()
    known = todo.known
    if known and known.state == "ok" and known.content_hash == content_hash and known.recipe == recipe.name:
        return Touched(todo, signature)
    try:
        extracted = extraction.told(extract(todo.entry.path, data), given.title, given.name, given.metadata)
    except extraction.Unextractable as error:
        return Failed(todo, signature, content_hash, "extract", str(error), error.transient)
    document = Document(
        path=todo.entry.path,
        title=extracted.title,
        mime=extracted.mime,
        text=extracted.text,
        content_hash=content_hash,
        signature=signature,
        language=languages.language_of(extracted.metadata, extracted.text, recipe.language),
        created_at=extracted.created_at,
        updated_at=_moment(signature.mtime_ns),
        metadata=extracted.metadata,
        owner=extracted.owner,
    )
    return _Extracted(
        document,
        Chunkable(extracted.text, extracted.title, extracted.pages, markdown=extracted.markdown),
    )


def _moment(time_ns: int) -> datetime:
    """The beginning of time as computers count it for a time that no calendar has."""
    try:
        return datetime.fromtimestamp(time_ns / 1e9, UTC)
    except (ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(0, UTC)
