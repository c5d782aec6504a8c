"""Model clients made from settings. Each provider's library is imported only where it is used."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Literal

from pgfolio.config.errors import ConfigError
from pgfolio.config.models.protocols import ChatModel, EmbeddingModel, FatalModelError, Reranker

if TYPE_CHECKING:
    import openai

    from pgfolio.config.models.wordllama import BundledTokenizer
    from pgfolio.config.settings import Settings

LOCAL_MODELS = ("wordllama-256",)


def configured_space(settings: Settings) -> tuple[Literal["local", "openai"], str, int, bool]:
    """Provider, model, dimensions that the settings ask for, and whether they must be asked of the server
    because they are not the model's own. Raises ConfigError or ModelError."""
    wanted = settings.embedding
    provider = wanted.provider
    if provider == "auto":
        provider = "local" if not wanted.model or wanted.model in LOCAL_MODELS else "openai"
    if provider == "local":
        from pgfolio.config.models.wordllama import DIMENSIONS  # noqa: PLC0415

        dimensions = wanted.dimensions or DIMENSIONS[0]
        if (wanted.model or LOCAL_MODELS[0]) not in LOCAL_MODELS:
            raise ConfigError(f"PGFOLIO_EMBEDDING__MODEL: the local models are {', '.join(LOCAL_MODELS)}")
        if dimensions not in DIMENSIONS:
            choices = ", ".join(map(str, DIMENSIONS))
            raise ConfigError(
                f"PGFOLIO_EMBEDDING__DIMENSIONS: the local model has {choices}, not {dimensions}"
            )
        return provider, LOCAL_MODELS[0], dimensions, False
    from pgfolio.config.models.openai import EMBEDDING_MODEL, KNOWN_DIMENSIONS, probe_dimensions  # noqa: PLC0415

    model = wanted.model or EMBEDDING_MODEL
    if wanted.dimensions:
        return provider, model, wanted.dimensions, wanted.dimensions != KNOWN_DIMENSIONS.get(model)
    return provider, model, probe_dimensions(_client(settings, wanted.timeout), model), False


def embedding_model(
    settings: Settings,
    provider: str,
    model: str,
    dimensions: int,
    *,
    shorten: bool = False,
    tokenizer: BundledTokenizer | None = None,
) -> EmbeddingModel:
    """The client of one space. Raises ConfigError when something that it needs is not set."""
    if provider == "local":
        from pgfolio.config.models.wordllama import LocalModel  # noqa: PLC0415

        return LocalModel(dimensions, tokenizer)
    from pgfolio.config.models.openai import OpenAIEmbeddings  # noqa: PLC0415

    client = _client(settings, settings.embedding.timeout)
    return OpenAIEmbeddings(
        client, model, dimensions, shorten=shorten, in_flight=settings.embedding.in_flight
    )


def limits_name(settings: Settings, model: str) -> str:
    """The name under which all that use the same key for the same model share its rate limits; the key cannot be
    told from it."""
    key = settings.openai_api_key.get_secret_value() if settings.openai_api_key else ""
    digest = hashlib.sha256(f"{settings.openai_base_url or ''}\0{key}".encode()).hexdigest()
    return f"{model} {digest[:16]}"


def chat_model(settings: Settings) -> ChatModel | None:
    """The chat model, or None where none is configured: answers are then extractive."""
    chat = settings.chat
    if chat.provider == "none" or (chat.provider == "auto" and not chat.model):
        return None
    from pgfolio.config.models.openai import CHAT_MODEL, OpenAIChat  # noqa: PLC0415

    return OpenAIChat(_client(settings, chat.timeout), chat.model or CHAT_MODEL, chat.max_output_tokens)


def reranker(settings: Settings) -> Reranker | None:
    """The reranker, or None where none is set. Raises ConfigError."""
    wanted = settings.rerank
    if wanted.api == "local":
        from pgfolio.config.models.rerank_local import LocalReranker  # noqa: PLC0415

        if not wanted.model:
            raise ConfigError("PGFOLIO_RERANK__MODEL: name a cross-encoder, as a folder or by its name")
        return LocalReranker(wanted.model)
    if not wanted.url:
        return None
    from pgfolio.config.models.rerank_http import HttpReranker  # noqa: PLC0415

    key = wanted.key.get_secret_value() if wanted.key else None
    return HttpReranker(wanted.url, wanted.model, key, wanted.timeout, wanted.api)


def _client(settings: Settings, timeout: float) -> openai.OpenAI:
    from openai import OpenAI  # noqa: PLC0415

    key = settings.openai_api_key.get_secret_value() if settings.openai_api_key else ""
    if not key and not settings.openai_base_url:
        raise ConfigError("OPENAI_API_KEY is not set: set it, or OPENAI_BASE_URL for a server without keys")
    return OpenAI(api_key=key or "none", base_url=settings.openai_base_url, timeout=timeout, max_retries=0)


__all__ = [
    "ChatModel",
    "EmbeddingModel",
    "FatalModelError",
    "chat_model",
    "configured_space",
    "embedding_model",
    "limits_name",
]
