"""Model clients made from settings. Each provider's library is imported only where it is used."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Literal, TypeAlias

from pgfolio.config.errors import ConfigError
from pgfolio.config.machine import cores
from pgfolio.config.models.model_files import is_local
from pgfolio.config.models.protocols import EmbeddingModel, FatalModelError, Reranker

if TYPE_CHECKING:
    from pgfolio.config.models.batch_api import BatchApi
    from pgfolio.config.models.model_card import ModelCard
    from pgfolio.config.models.wordllama import BundledTokenizer
    from pgfolio.config.settings import Settings

Provider: TypeAlias = Literal["local", "transformers", "openai"]

LOCAL_MODELS = ("wordllama-256",)

PATH_STARTS = ("/", "./", "../", "~")
"""Of what can be nothing but a path, whether it is there or not."""


def configured_space(settings: Settings) -> tuple[Provider, str, int, bool]:
    """Provider, model, dimensions that the settings ask for, and whether they must be asked of the server
    because they are not the model's own. Raises ConfigError or ModelError."""
    embedding = settings.embedding
    provider = provider_of(settings)
    if provider == "transformers":
        from pgfolio.config.models.transformer import transformer_space  # noqa: PLC0415

        model, width = transformer_space(_named_transformer(settings), embedding.dimensions)
        return provider, model, width, False
    if provider == "local":
        return provider, LOCAL_MODELS[0], _local_dimensions(settings), False
    from pgfolio.config.models import openai  # noqa: PLC0415

    model = embedding.model or openai.EMBEDDING_MODEL
    if embedding.dimensions:
        shortened = embedding.dimensions != openai.KNOWN_DIMENSIONS.get(model)
        return provider, model, embedding.dimensions, shortened
    return provider, model, openai.embeddings_client(settings, model).model_dimensions(), False


def check_configured(settings: Settings) -> None:
    """What can be known of the settings' space without asking anybody and without loading weights: the library is
    installed, the folder has a model, there is a key. Raises ConfigError."""
    provider, model = provider_of(settings), settings.embedding.model
    if provider == "local":
        _local_dimensions(settings)
    elif provider == "transformers":
        from pgfolio.config.models.transformer import check_transformer  # noqa: PLC0415

        check_transformer(_named_transformer(settings))
    else:
        from pgfolio.config.models import openai  # noqa: PLC0415

        openai.embeddings_client(settings, model or openai.EMBEDDING_MODEL)


def files_card(provider: str, model: str) -> ModelCard | None:
    """What the files of a space's model say, where there are such. Raises ConfigError."""
    if provider != "transformers":
        return None
    from pgfolio.config.models.transformer import card_of  # noqa: PLC0415

    return card_of(model)


def embedding_model(
    settings: Settings,
    provider: str,
    model: str,
    dimensions: int,
    *,
    shorten: bool = False,
    tokenizer: BundledTokenizer | None = None,
    threads: int | None = None,
) -> EmbeddingModel:
    """The client of one space; `threads` of a transformer, None: all that it may have. Raises ConfigError when
    something that it needs is not set or not there."""
    if provider == "transformers":
        from pgfolio.config.models.transformer import transformer_model  # noqa: PLC0415

        return transformer_model(model, dimensions, settings.embedding.model, threads)
    if provider == "local":
        from pgfolio.config.models.wordllama import LocalModel  # noqa: PLC0415

        return LocalModel(dimensions, tokenizer)
    from pgfolio.config.models.openai import embeddings_client  # noqa: PLC0415

    return embeddings_client(settings, model, dimensions, shorten=shorten)


def batch_client(settings: Settings, model: str, dimensions: int, *, shorten: bool = False) -> BatchApi:
    """The client of a server's Batch API for one space. Raises ConfigError."""
    from pgfolio.config.models.batch_api import open_batch_api  # noqa: PLC0415

    return open_batch_api(settings, model, dimensions, shorten=shorten)


def limits_name(settings: Settings, model: str) -> str:
    """The name under which all that use the same key for the same model share its rate limits; the key cannot be
    told from it."""
    embedding = settings.embedding
    secret = embedding.api_key or settings.openai_api_key
    key = secret.get_secret_value() if secret else ""
    url = embedding.base_url or settings.openai_base_url or ""
    digest = hashlib.sha256(f"{url}\0{key}".encode()).hexdigest()
    return f"{model} {digest[:16]}"


def reranker(settings: Settings) -> Reranker | None:
    """The reranker, or None where none is set. Raises ConfigError."""
    rerank = settings.rerank
    if rerank.api == "local":
        from pgfolio.config.models.rerank_local import LocalReranker  # noqa: PLC0415

        if not rerank.model:
            raise ConfigError("PGFOLIO_RERANK__MODEL: name a cross-encoder, as a folder or by its name")
        return LocalReranker(rerank.model, threads=max(cores() // settings.api.workers, 1))
    if not rerank.url:
        return None
    from pgfolio.config.models.rerank_http import HttpReranker  # noqa: PLC0415

    key = rerank.key.get_secret_value() if rerank.key else None
    return HttpReranker(rerank.url, rerank.model, key, rerank.timeout, rerank.api)


def _local_dimensions(settings: Settings) -> int:
    """Raises ConfigError."""
    from pgfolio.config.models.wordllama import DIMENSIONS  # noqa: PLC0415

    embedding = settings.embedding
    dimensions = embedding.dimensions or DIMENSIONS[0]
    if (embedding.model or LOCAL_MODELS[0]) not in LOCAL_MODELS:
        raise ConfigError(f"PGFOLIO_EMBEDDING__MODEL: the local models are {', '.join(LOCAL_MODELS)}")
    if dimensions not in DIMENSIONS:
        choices = ", ".join(map(str, DIMENSIONS))
        raise ConfigError(f"PGFOLIO_EMBEDDING__DIMENSIONS: the local model has {choices}, not {dimensions}")
    return dimensions


def _named_transformer(settings: Settings) -> str:
    """Raises ConfigError."""
    if not settings.embedding.model:
        raise ConfigError(
            "PGFOLIO_EMBEDDING__MODEL: name a transformer, as a folder or by its name on the hub"
        )
    return settings.embedding.model


def provider_of(settings: Settings) -> Provider:
    """The one that the settings mean. A server may have models by the names of folders, too: where one is named, they
    are its."""
    embedding = settings.embedding
    if embedding.provider != "auto":
        return embedding.provider
    if not embedding.model or embedding.model in LOCAL_MODELS:
        return "local"
    if (is_local(embedding.model) or embedding.model.startswith(PATH_STARTS)) and not (
        embedding.base_url or settings.openai_base_url
    ):
        return "transformers"
    return "openai"


__all__ = [
    "EmbeddingModel",
    "FatalModelError",
    "batch_client",
    "check_configured",
    "configured_space",
    "embedding_model",
    "files_card",
    "limits_name",
    "provider_of",
]
