"""What the tools take and give; their JSON schemas are made of it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

from pgfolio.query_api.retrieval.query import MAX_QUESTION_CHARACTERS
from pgfolio.query_api.service.contracts import Name

DEFAULT_TOKENS, MAX_TOKENS = 8_000, 20_000
"""Of one result. Clients cut what is longer than about 25,000."""

DEFAULT_CHARACTERS, MAX_CHARACTERS = 20_000, 60_000
"""Of one page of a document."""

QueryText = Annotated[
    str,
    Meta(min_length=1, max_length=MAX_QUESTION_CHARACTERS, pattern=r"\S", description="Words or a question."),
]
Collections = Annotated[
    list[Name],
    Meta(min_length=1, max_length=100, description="Only within these; `list_collections` names them."),
]
MetadataFilter = Annotated[
    dict[str, Any],
    Meta(
        description="A condition on metadata and on path, source, title, mime, language, owner, created_at, "
        'updated_at: {"category": "guide", "updated_at": {"$gte": "2026-01-01"}}. Operators: $eq $ne $in $nin '
        "$gt $gte $lt $lte $like $exists $and $or $not."
    ),
]
TokenBudget = Annotated[
    int, Meta(ge=500, le=MAX_TOKENS, description="How long the result may be; what does not fit is told of.")
]
Offset = Annotated[int, Meta(ge=0, le=1_000_000_000)]


class SearchArguments(Struct, forbid_unknown_fields=True, frozen=True):
    query: QueryText


class DocumentLink(Struct, frozen=True):
    """`id` is what `fetch` takes; `url` leads to the best passage."""

    id: str
    title: str
    url: str


class SearchOutput(Struct, frozen=True):
    results: list[DocumentLink]


class FetchArguments(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    id: Annotated[str, Meta(min_length=1, max_length=100, description="Of a result of a search.")]
    offset: Annotated[Offset, Meta(description="Characters of the document to begin after.")] = 0
    limit: Annotated[int, Meta(ge=1, le=MAX_CHARACTERS, description="Characters to read.")] = (
        DEFAULT_CHARACTERS
    )


class FetchOutput(Struct, frozen=True, kw_only=True):
    """A page of a document's text: `total` characters are all; `next_offset` is null on the last page."""

    id: str
    title: str
    text: str
    url: str
    metadata: dict[str, Any]
    offset: int
    limit: int
    total: int
    next_offset: int | None


class SearchDocumentsArguments(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    query: QueryText
    collections: Collections | None = None
    filter: MetadataFilter | None = None
    limit: Annotated[int, Meta(ge=1, le=50, description="Passages to find.")] = 8
    offset: Annotated[
        int, Meta(ge=0, le=50, description="Passages to leave out: `next_offset` of a result.")
    ] = 0
    max_tokens: TokenBudget = DEFAULT_TOKENS


class ToolPassage(Struct, frozen=True, kw_only=True):
    """`start` and `end` are its place in the document's text. `continue_at` is set where its text was cut: the
    `offset` at which `fetch` goes on."""

    id: str
    title: str
    path: str
    collection: str
    heading: str
    page: int | None
    date: str | None
    url: str
    text: str
    start: int
    end: int
    score: float
    continue_at: int | None = None


class SearchDocumentsOutput(Struct, frozen=True, kw_only=True):
    """`next_offset` is where to go on; null where nothing more was found. `notes` say what is to be known."""

    results: list[ToolPassage]
    next_offset: int | None
    notes: list[str] = field(default_factory=list)


class AskArguments(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    question: Annotated[str, Meta(min_length=1, max_length=MAX_QUESTION_CHARACTERS, pattern=r"\S")]
    collections: Collections | None = None
    filter: MetadataFilter | None = None
    max_tokens: TokenBudget = DEFAULT_TOKENS


class ToolCitation(Struct, frozen=True, kw_only=True):
    """The passage that a marker `[1]` of the answer stands for, word for word where it is `verified`."""

    marker: int
    id: str
    title: str
    path: str
    page: int | None
    quote: str
    url: str
    verified: bool


class AskOutput(Struct, frozen=True, kw_only=True):
    """`answered` is false where the documents do not hold the answer; `mode` says whether a chat model wrote it or
    it is quoted."""

    answer: str
    answered: bool
    mode: Literal["generated", "extractive"]
    citations: list[ToolCitation]
    notes: list[str] = field(default_factory=list)


class ListCollectionsArguments(Struct, forbid_unknown_fields=True, frozen=True):
    pass


class CollectionSummary(Struct, frozen=True, kw_only=True):
    name: str
    documents: int
    chunks: int
    synced_at: str | None


class ListCollectionsOutput(Struct, frozen=True):
    collections: list[CollectionSummary]
    notes: list[str] = field(default_factory=list)
