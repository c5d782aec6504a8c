"""What goes over HTTP in OpenAI's API: requests with what is read of them, and answers. Other fields are left unread,
as chat programs send many."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

Role = Literal["system", "developer", "user", "assistant", "tool", "function"]
ModelName = Annotated[str, Meta(min_length=1, max_length=300)]
Flag = bool | None
FinishReason = Literal["stop", "length", "content_filter"]


class ContentPart(Struct, frozen=True):
    type: str
    text: str | None = None


class ChatMessage(Struct, frozen=True):
    role: Role
    content: str | list[ContentPart] | None = None


class StreamOptions(Struct, frozen=True):
    include_usage: Flag = False


class ChatRequest(Struct, kw_only=True, frozen=True):
    """The last message of the user is the question; those before it are the conversation."""

    model: ModelName
    messages: Annotated[list[ChatMessage], Meta(min_length=1)]
    stream: Flag = False
    stream_options: StreamOptions | None = None


class UrlCitation(Struct, frozen=True):
    """A source. The indices are those of its link in the text, in characters."""

    url: str
    title: str
    start_index: int
    end_index: int


class Annotation(Struct, frozen=True, kw_only=True):
    type: Literal["url_citation"] = "url_citation"
    url_citation: UrlCitation


class AnswerMessage(Struct, frozen=True, kw_only=True):
    role: Literal["assistant"] = "assistant"
    content: str
    refusal: str | None = None
    annotations: list[Annotation] = field(default_factory=list)


class ChatChoice(Struct, frozen=True, kw_only=True):
    index: int = 0
    message: AnswerMessage
    finish_reason: FinishReason
    logprobs: None = None


class CompletionUsage(Struct, frozen=True):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class ChatCompletion(Struct, frozen=True, kw_only=True):
    """An answer. `usage` is null where the model's server does not say, and 0 where no model wrote it."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[ChatChoice]
    usage: CompletionUsage | None


class Model(Struct, frozen=True, kw_only=True):
    """A collection that can be asked, or all of them. `created`: when it was synced last, as a Unix time."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "pgfolio"


class ModelList(Struct, frozen=True, kw_only=True):
    object: Literal["list"] = "list"
    data: list[Model]


Text = Annotated[str, Meta(min_length=1)]
Texts = Annotated[list[Text], Meta(min_length=1, max_length=2048)]


class EmbeddingRequest(Struct, kw_only=True, frozen=True):
    """Texts become vectors of the active space, as questions do."""

    input: Text | Texts
    model: ModelName
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Meta(ge=1)] | None = None


class EmbeddingItem(Struct, frozen=True, kw_only=True):
    """`embedding` is a list of numbers, or the base64 of little-endian float32."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str


class EmbeddingUsage(Struct, frozen=True):
    prompt_tokens: int
    total_tokens: int


class EmbeddingList(Struct, frozen=True, kw_only=True):
    object: Literal["list"] = "list"
    data: list[EmbeddingItem]
    model: str
    usage: EmbeddingUsage


class FileCounts(Struct, frozen=True, kw_only=True):
    in_progress: int = 0
    completed: int
    failed: int = 0
    cancelled: int = 0
    total: int


class VectorStore(Struct, frozen=True, kw_only=True):
    """A collection."""

    id: str
    object: Literal["vector_store"] = "vector_store"
    created_at: int
    name: str
    usage_bytes: int = 0
    file_counts: FileCounts
    status: Literal["completed"] = "completed"
    last_active_at: int | None
    metadata: dict[str, str] = field(default_factory=dict)


class VectorStoreList(Struct, frozen=True, kw_only=True):
    object: Literal["list"] = "list"
    data: list[VectorStore]
    first_id: str | None
    last_id: str | None
    has_more: bool = False


class RankingOptions(Struct, frozen=True):
    score_threshold: Annotated[float, Meta(ge=0, le=1)] | None = None


StoreQuery = Annotated[str, Meta(min_length=1, max_length=4000, pattern=r"\S")]


class StoreSearchRequest(Struct, kw_only=True, frozen=True):
    query: StoreQuery | Annotated[list[StoreQuery], Meta(min_length=1, max_length=10)]
    filters: dict[str, Any] | None = None
    max_num_results: Annotated[int, Meta(ge=1, le=50)] | None = None
    ranking_options: RankingOptions | None = None


class TextContent(Struct, frozen=True, kw_only=True):
    type: Literal["text"] = "text"
    text: str


class StoreResult(Struct, frozen=True, kw_only=True):
    """A chunk. `attributes` are the document's metadata, with the link to the passage as `url`."""

    file_id: str
    filename: str
    score: float
    attributes: dict[str, str | float | bool]
    content: list[TextContent]


class StoreSearchPage(Struct, frozen=True, kw_only=True):
    object: Literal["vector_store.search_results.page"] = "vector_store.search_results.page"
    search_query: list[str]
    data: list[StoreResult]
    has_more: bool = False
    next_page: str | None = None
