"""Compares stored chunks with their documents' texts: the unit of work is some documents, in the snapshot that all of
a verification sees."""

from __future__ import annotations

import hashlib
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import TYPE_CHECKING

from pgfolio.flows.chunking.embedded_text import embedded_text, with_header
from pgfolio.schema import markdown
from pgfolio.schema.integrity import verify as stored
from pgfolio.schema.integrity.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pgfolio.schema.integrity.verify import ChunkRow, DocumentRange, TextRow
    from pgfolio.schema.markdown import Table


@dataclass(frozen=True, slots=True)
class WrongChunk(Finding):
    """A chunk that is not what its hash or its place in the document says."""

    right_content: str | None = None
    """The document's text at its offsets, where the hash is that text's: only the content is wrong."""
    hash_known: bool = False
    """Its hash is that of a text that is known, so that its vector can be used again."""


@dataclass(frozen=True, slots=True)
class Compared:
    chunks: int
    wrong: list[WrongChunk]


@dataclass(frozen=True)
class ComparisonJob:
    """Items are ranges of documents. `snapshot`: as PostgreSQL exported it."""

    conninfo: str
    snapshot: str
    slots: int = 1

    @contextmanager
    def open(self) -> Iterator[ComparisonWorker]:
        with closing(stored.SharedSnapshot(self.conninfo, self.snapshot)) as snapshot:
            yield ComparisonWorker(snapshot)

    def weight(self, item: DocumentRange) -> int:
        return item.length

    def parts(self, item: DocumentRange) -> list[DocumentRange]:
        del item
        return []

    def give_up(self, item: DocumentRange) -> Compared:
        raise stored.NotComparedError(
            f"documents {item.first} to {item.last} were not compared: whoever did it ended, each time"
        )


class ComparisonWorker:
    def __init__(self, snapshot: stored.SharedSnapshot) -> None:
        self._snapshot = snapshot

    def __call__(self, item: DocumentRange) -> Compared:
        documents, chunks = stored.texts_of(self._snapshot.connection(), item)
        return Compared(len(chunks), list(wrong_chunks(documents, chunks)))

    def stop(self) -> None: ...


@dataclass
class _Comparison:
    """One document with what its chunks may be."""

    document: TextRow

    @cached_property
    def tables(self) -> list[Table]:
        text = self.document.text
        return markdown.tables(text, markdown.code_blocks(text))

    def possible_contents(self, chunk: ChunkRow) -> list[str]:
        """What the document says at the chunk's offsets, and that below the header of its table."""
        text = self.document.text
        own = text[chunk.start : chunk.end]
        header = markdown.header_above(self.tables, text, chunk.start)
        return [own] if header is None else [own, with_header(text, header, own)]

    def wrong(self, chunk: ChunkRow) -> WrongChunk | None:
        document = self.document
        own = document.text[chunk.start : chunk.end]
        if chunk.content == own and _hash(document.title, chunk.heading, own) == chunk.hash:
            return None
        possible = self.possible_contents(chunk)
        right_content = next(
            (c for c in possible if _hash(document.title, chunk.heading, c) == chunk.hash), None
        )
        if right_content == chunk.content:
            return None
        return WrongChunk(
            "chunk_hash" if chunk.content in possible else "chunk_text",
            source_id=document.source_id,
            source=document.source,
            path=document.path,
            document_id=document.id,
            chunk_id=chunk.id,
            right_content=right_content,
            hash_known=right_content is not None or hash_known(chunk, [document.title], possible),
        )


def wrong_chunks(documents: Sequence[TextRow], chunks: Sequence[ChunkRow]) -> Iterator[WrongChunk]:
    """Chunks, in the documents' order, that are not what their text says at their offsets or have not its hash."""
    by_document = {key: list(group) for key, group in groupby(chunks, key=lambda chunk: chunk.document_id)}
    for document in documents:
        comparison = _Comparison(document)
        for chunk in by_document.get(document.id, ()):
            if (wrong := comparison.wrong(chunk)) is not None:
                yield wrong


def hash_known(chunk: ChunkRow, titles: Iterable[str | None] = (), contents: Iterable[str] = ()) -> bool:
    """Whether a chunk's hash is that of its own text or one of these, under its own title or one of these. It has
    no copy of a title that its heading begins with."""
    possible = {None, chunk.title, chunk.heading.split(" > ")[0], *titles}
    return any(
        _hash(title, chunk.heading, text) == chunk.hash
        for title in possible
        for text in (chunk.content, *contents)
    )


def _hash(title: str | None, heading: str, content: str) -> bytes:
    """As flows/chunking/chunk.py makes it."""
    return hashlib.sha256(embedded_text(title, heading, content).encode("utf-8", "replace")).digest()
