"""An answer's parts: its citations, its sources, what it took."""

from __future__ import annotations

from msgspec import Struct


class Citation(Struct, frozen=True):
    """A passage that the answer rests on. `verified`: the quote stands in the document's stored text at these
    offsets."""

    marker: int
    chunk_id: int
    document_id: int
    path: str
    title: str
    quote: str
    start: int
    end: int
    verified: bool
    page: int | None = None
    file_start: int | None = None
    """The same places in the file's own characters; null where it is no text."""
    file_end: int | None = None


class AnswerSource(Struct, frozen=True):
    """A document that was looked at."""

    id: int
    title: str
    path: str
    similarity: float


class Usage(Struct, frozen=True):
    input_tokens: int
    output_tokens: int
