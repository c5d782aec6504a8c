"""What goes over HTTP: requests with their bounds, and answers. Separate from what is stored."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 -- msgspec reads it
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct, field

from pgfolio.query_api.answering.records import AnswerSource, Citation, Usage  # noqa: TC001 -- litestar and msgspec read them
from pgfolio.query_api.explain.records import Explanation, Why  # noqa: TC001 -- litestar and msgspec read them
from pgfolio.query_api.retrieval.query import MAX_PER_DOCUMENT, Mode, QuestionText

Limit = Annotated[int, Meta(ge=1, le=100)]
Similarity = Annotated[float, Meta(ge=-1, le=1)]
Name = Annotated[str, Meta(min_length=1, max_length=200, pattern=r"^[^\x00]*$")]
Names = Annotated[list[Name], Meta(min_length=1, max_length=100)]
Title = Annotated[str, Meta(min_length=1, max_length=500, pattern=r"^[^\x00]*[^\x00\s][^\x00]*$")]


class Retrieval(Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """How chunks are found."""

    limit: Limit = 5
    mode: Mode = "hybrid"
    collections: Names | None = None
    filter: dict[str, Any] | None = None
    min_similarity: Similarity | None = None
    rerank: bool = False
    exact: bool = False
    ef_search: Annotated[int, Meta(ge=1, le=1000)] | None = None
    neighbors: Annotated[int, Meta(ge=0, le=10)] = 0
    max_per_document: Annotated[int, Meta(ge=1, le=100)] = MAX_PER_DOCUMENT
    """Results of one document at most."""
    exact_words: bool = False
    """Words that no document has are not corrected."""
    explain: bool = False
    why: Annotated[str, Meta(min_length=1, max_length=1000)] | None = None
    """A document, by its path or id: why is it not among the results. With `explain`."""


class SearchRequest(Retrieval, forbid_unknown_fields=True, kw_only=True, frozen=True):
    query: QuestionText


class ConversationMessage(Struct, forbid_unknown_fields=True, frozen=True):
    role: Literal["user", "assistant", "system"]
    content: Annotated[str, Meta(max_length=100_000)]


class AskRequest(Retrieval, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """`question`, or `messages`, the last of which is the question and the others what was said before."""

    question: QuestionText | None = None
    messages: Annotated[list[ConversationMessage], Meta(min_length=1, max_length=100)] | None = None
    prompt: Annotated[str, Meta(min_length=1, max_length=100)] = "answer"
    stream: bool = False

    def __post_init__(self) -> None:
        if self.question is None and self.messages is None:
            raise ValueError("`question` is missing, or `messages`, the last of which is the question")
        if self.messages is not None and (self.question is not None or self.messages[-1].role != "user"):
            raise ValueError("send `question` or `messages`, not both; the last of `messages` is of the user")
        if self.messages is not None:
            msgspec.convert(self.messages[-1].content, QuestionText)


class Result(Struct, frozen=True):
    """A chunk that was found. `start` and `end` are offsets, in characters, in the document's stored text,
    with which `content` ends: rows of a table that was cut have its header above them. `similarity` is 1 minus the
    cosine distance, `score` what the results are ranked by; `repeats` names the better result that says the same."""

    chunk_id: int
    document_id: int
    collection: str
    source: str
    path: str
    title: str
    content: str
    heading: str
    page: int | None
    start: int
    end: int
    metadata: dict[str, Any]
    similarity: float
    score: float
    repeats: int | None = None
    file_start: int | None = None
    """The same places in the file's own characters; null where it is no text."""
    file_end: int | None = None
    created_at: datetime | None = None
    """The document's own date, and when its file was changed."""
    updated_at: datetime | None = None


class SearchAnswer(Struct, frozen=True):
    """`complete` is false when fewer than `limit` came back although more may match. `notes`: what was left out on
    the way, such as a reranker that did not answer."""

    results: list[Result]
    total_returned: int
    complete: bool
    space: str | None
    took_ms: float
    trace_id: str
    notes: list[str] = field(default_factory=list)
    explain: Explanation | None = None
    why: Why | None = None


class AskAnswer(Struct, frozen=True):
    """`answered` is false when the documents do not hold the answer; `mode` is "extractive" when sentences are
    quoted because no chat model is configured. `finish_reason` is the model server's; `notes` say so where an answer
    was cut."""

    answer: str
    answered: bool
    mode: Literal["generated", "extractive"]
    citations: list[Citation]
    sources: list[AnswerSource]
    model: str | None
    usage: Usage | None
    took_ms: float
    trace_id: str
    notes: list[str] = field(default_factory=list)
    explain: Explanation | None = None
    why: Why | None = None
    finish_reason: str | None = None
    question: str = ""
    """As it was understood, by what was said before."""


class DocumentItem(Struct, frozen=True):
    id: int
    source: str
    path: str
    title: str
    collection: str
    mime: str
    content_hash: str
    chunk_count: int
    state: str
    metadata: dict[str, Any]
    owner: str | None
    language: str
    created_at: datetime | None
    updated_at: datetime
    synced_at: datetime | None


class DocumentPage(Struct, frozen=True):
    """`next` is the cursor of the next page, or null on the last one."""

    items: list[DocumentItem]
    next: str | None
    trace_id: str


class ChunkItem(Struct, frozen=True):
    id: int
    ordinal: int
    content: str
    heading: str
    page: int | None
    start: int
    end: int
    tokens: int
    file_start: int | None
    file_end: int | None


class DocumentAnswer(DocumentItem, frozen=True, kw_only=True):
    """A document with its stored text, which the offsets of chunks and quotes count in. What was pushed and is no
    document yet has none: its `state` is "pending", or "failed" and `reason` says why. `incomplete`: what of the
    file is not in the text, in a sentence."""

    reason: str
    incomplete: str
    text: str
    chunks: list[ChunkItem]
    trace_id: str


class PushRequest(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """A text to be made a document of; Markdown counts as such. `collection` is made where it is new."""

    title: Title
    content: Annotated[str, Meta(min_length=1)]
    metadata: dict[str, Any] | None = None
    collection: Name | None = None


class PushForm(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """The fields beside the file. `metadata` is a JSON object."""

    title: Title | None = None
    metadata: str | None = None
    collection: Name | None = None


class PushAnswer(Struct, frozen=True):
    """What was pushed is kept, and will be made a document of; `url` tells how that went."""

    id: int
    url: str
    state: Literal["pending"]
    trace_id: str


class CollectionItem(Struct, frozen=True):
    id: int
    name: str
    documents: int
    chunks: int
    synced_at: datetime | None


class CollectionList(Struct, frozen=True):
    items: list[CollectionItem]
    space: str | None
    trace_id: str


class Status(Struct, frozen=True):
    """What `pgfolio status` shows."""

    sources: list[dict[str, Any]]
    generations: list[dict[str, Any]]
    upgrade: dict[str, Any] | None
    batches: list[dict[str, Any]]
    runs: list[dict[str, Any]]
    problems: list[dict[str, Any]]
    incomplete: list[dict[str, Any]]
    skipped: list[dict[str, Any]]
    trace_id: str


class HealthAnswer(Struct, frozen=True):
    """`degraded`: what goes on failing beside the requests, and what does not happen meanwhile."""

    status: Literal["ok"]
    space: str | None
    trace_id: str
    degraded: list[str] = field(default_factory=list)


class TraceAnswer(Struct, frozen=True):
    """How the answer with this id was found."""

    id: str
    explain: Explanation
    trace_id: str


class ProblemDetails(Struct, frozen=True, omit_defaults=True):
    """An error as RFC 9457 shows it. `type` is stable; `detail` says what to do."""

    type: str
    title: str
    status: int
    detail: str
    trace_id: str
    errors: list[str] = field(default_factory=list)
