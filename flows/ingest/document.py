"""One document made of a file's bytes, with its chunks: in this process where the text is harmless, else in a process
beside (extraction/worker.py), which calls these functions by their names."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol, TypeVar

from pgfolio.flows.chunking import chunk as chunking
from pgfolio.flows.chunking.outline import Chunkable
from pgfolio.flows.extraction import extract as extraction
from pgfolio.flows.extraction import language as languages
from pgfolio.flows.extraction.extracted import Unextractable, one_line, with_upload_metadata
from pgfolio.flows.extraction.metadata import bounded
from pgfolio.schema import markdown
from pgfolio.schema.records import Document

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pgfolio.flows.discovery.reader import Content
    from pgfolio.schema.records import Chunk

Result = TypeVar("Result")

COUNTED_TOGETHER = 256
"""Texts: what the tokenizer says of each takes 50 KB until it is counted."""


@dataclass(frozen=True, slots=True)
class Processing:
    """How text is made of a file; its fingerprint stands in the ledger, so that another one makes all anew."""

    tokens: int
    overlap: int
    language: str
    """Of documents that do not declare theirs."""

    @property
    def settings(self) -> str:
        """What of it users choose."""
        return f"{self.tokens} tokens, {self.overlap} of overlap, {self.language}"

    @property
    def fingerprint(self) -> str:
        versions = f"{extraction.FINGERPRINT} {chunking.FINGERPRINT} {self.tokens}/{self.overlap}"
        return f"{versions} {languages.FINGERPRINT}/{self.language}"


class Beside(Protocol):
    """Calls a module's function for a file of `size` bytes. Raises Unextractable."""

    def __call__(self, function: Callable[..., Result], *args: object, size: int) -> Result: ...


def in_this_process(function: Callable[..., Result], *args: object, size: int) -> Result:  # noqa: ARG001
    return function(*args)


def document_of(
    path: str, content: Content, content_hash: bytes, processing: Processing
) -> tuple[Document, list[Chunk]]:
    """The document with its chunks. Raises Unextractable."""
    document, chunkable = extracted(path, content, content_hash, processing)
    return document, chunks_of_one(chunkable, processing)


def extracted(
    path: str, content: Content, content_hash: bytes, processing: Processing
) -> tuple[Document, Chunkable]:
    """The document, and what is to be chunked. Raises Unextractable."""
    made = with_upload_metadata(
        extraction.extract(path, content.data), content.title, content.name, content.metadata
    )
    code_blocks = markdown.code_blocks(made.text)
    document = Document(
        path=path,
        title=made.title,
        mime=made.mime,
        text=made.text,
        content_hash=content_hash,
        signature=content.signature,
        language=languages.language_of(made.metadata, made.text, processing.language, code_blocks),
        created_at=made.created_at,
        updated_at=_moment(content.signature.mtime_ns),
        metadata=bounded(made.metadata),
        owner=made.owner,
        code_blocks=code_blocks,
        incomplete=made.incomplete,
        file_offset=made.file_offset,
        crlf=made.crlf,
        pages=made.pages,
    )
    return document, Chunkable(
        made.text, made.title, made.pages, markdown=made.markdown, code_blocks=code_blocks
    )


def chunks_of(
    chunkables: Sequence[Chunkable], processing: Processing, count: Callable[[Sequence[str]], list[int]]
) -> list[list[Chunk]]:
    return chunking.chunk_many(chunkables, count=count, tokens=processing.tokens, overlap=processing.overlap)


def chunks_of_one(chunkable: Chunkable, processing: Processing) -> list[Chunk]:
    """Raises Unextractable."""
    try:
        return chunks_of([chunkable], processing, _count)[0]
    except (KeyboardInterrupt, SystemExit, MemoryError):
        raise
    except BaseException as error:  # a panic of the Rust library is not an Exception
        reason = f"cannot be cut into chunks: {one_line(str(error)) or type(error).__name__}"
        raise Unextractable(reason) from error


def _count(texts: Sequence[str]) -> list[int]:
    from pgfolio.config.models.wordllama import bundled_tokenizer  # noqa: PLC0415 -- slow to import

    tokenizer = bundled_tokenizer()
    slices = (texts[start : start + COUNTED_TOGETHER] for start in range(0, len(texts), COUNTED_TOGETHER))
    return [len(ids) for part in slices for ids in tokenizer.encode(part)]


def _moment(time_ns: int) -> datetime:
    """The beginning of time as computers count it for a time that no calendar has."""
    try:
        return datetime.fromtimestamp(time_ns / 1e9, UTC)
    except (ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(0, UTC)
