"""A question with what was retrieved for it, and its answer: citations, sources, what it took."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgfolio.config.prompts import Prompt
    from pgfolio.query_api.retrieval.results import Retrieved
    from pgfolio.schema.search.access import Permitted
    from pgfolio.schema.search.vector import Hit


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
    url: str | None = None
    """The document's page, at the quote where that stands there; null in the terminal."""


class AnswerSource(Struct, frozen=True):
    """A document that was looked at."""

    id: int
    title: str
    path: str
    similarity: float


class Usage(Struct, frozen=True):
    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class Answer:
    """`answered` is false when the documents do not hold the answer; `mode` says who wrote it."""

    text: str
    answered: bool
    mode: Literal["generated", "extractive"]
    citations: Sequence[Citation] = ()
    sources: Sequence[AnswerSource] = ()
    model: str | None = None
    usage: Usage | None = None
    finish_reason: str | None = None
    notes: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class AnswerRequest:
    """A question with what was retrieved for it, of the permitted collections only."""

    question: str
    prompt: Prompt
    permitted: Permitted
    retrieved: Retrieved
    hits: Sequence[Hit]
    """Without near-duplicates."""
    sources: Sequence[AnswerSource] = field(default_factory=list)
    from_catalog: Answer | None = None
    """The answer, where the question is about the documents themselves."""
