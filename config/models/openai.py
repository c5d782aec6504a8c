"""Clients of any server that speaks the OpenAI API: embeddings and chat.

One checked request each, no retries (`max_retries=0`): tenacity in flows/embedding/embedder.py is their one owner.
"""

from __future__ import annotations

import codecs
import math
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import openai

from pgfolio.config.errors import ConfigError
from pgfolio.config.models.protocols import (
    BadAnswerError,
    Completion,
    Embeddings,
    FatalModelError,
    ModelError,
    RateLimitedError,
    RejectedInputError,
    TransientError,
)
from pgfolio.config.models.rate_limit_headers import rate_limits, retry_after

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Sequence

    from pgfolio.config.settings import Settings

EMBEDDING_MODEL: Final = "text-embedding-3-small"
CHAT_MODEL: Final = "gpt-4o-mini"
KNOWN_DIMENSIONS: Final = {
    "text-embedding-3-small": 1536,
    "text-embedding-3-large": 3072,
    "text-embedding-ada-002": 1536,
}
QUOTA_CODES: Final = {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"}
"""Error codes that no waiting helps against."""


class OpenAIEmbeddings:
    """Vectors as the server gives them, shape (inputs, dimensions). `shorten` asks the server for that many
    dimensions; without it the model's own number is expected."""

    def __init__(
        self, client: openai.OpenAI, model: str, dimensions: int, *, shorten: bool, in_flight: int
    ) -> None:
        self.dimensions = dimensions
        self.in_flight = in_flight
        self._client = client
        self._model = model
        self._extra: dict[str, Any] = {"dimensions": dimensions} if shorten else {}

    def embed(self, texts: Sequence[str]) -> Embeddings:
        with _model_errors(f"the embedding model {self._model!r}"):
            # No encoding_format: the SDK asks for base64 and decodes it, and takes plain floats as well.
            raw = self._client.embeddings.with_raw_response.create(
                model=self._model, input=list(texts), **self._extra
            )
            response = raw.parse()
        answer = _checked(response, len(texts), self.dimensions, self._model)
        return replace(answer, limits=rate_limits(raw.headers))


def async_client(settings: Settings, timeout: float) -> openai.AsyncOpenAI:
    """A client of the settings' server for one event loop. Raises ConfigError."""
    key = settings.openai_api_key.get_secret_value() if settings.openai_api_key else ""
    if not key and not settings.openai_base_url:
        raise ConfigError("OPENAI_API_KEY is not set: set it, or OPENAI_BASE_URL for a server without keys")
    return openai.AsyncOpenAI(
        api_key=key or "none", base_url=settings.openai_base_url, timeout=timeout, max_retries=0
    )


def probe_dimensions(client: openai.OpenAI, model: str) -> int:
    """The number of dimensions of a model's vectors, known or asked for with one tiny request."""
    if model in KNOWN_DIMENSIONS:
        return KNOWN_DIMENSIONS[model]
    with _model_errors(f"the embedding model {model!r}"):
        response = client.embeddings.create(model=model, input=["dimensions"])
    if not response.data:
        raise TransientError(f"the embedding model {model!r} answered without a vector")
    return len(response.data[0].embedding)


def _checked(response: Any, inputs: int, dimensions: int, model: str) -> Embeddings:
    rows = sorted(response.data or [], key=lambda row: row.index)
    tokens = response.usage.total_tokens if response.usage else 0
    if [row.index for row in rows] != list(range(inputs)):
        raise BadAnswerError(f"{model!r} answered {len(rows)} vectors to {inputs} inputs", tokens)
    lengths = {len(row.embedding) for row in rows}
    if dimensions not in lengths:
        raise FatalModelError(
            f"{model!r} answered vectors of {', '.join(map(str, sorted(lengths)))} dimensions where {dimensions} "
            "were expected: set PGFOLIO_EMBEDDING__DIMENSIONS and run `pgfolio reembed`"
        )
    absent = [math.nan] * dimensions
    vectors = np.array(
        [row.embedding if len(row.embedding) == dimensions else absent for row in rows], dtype=np.float32
    )
    answer = Embeddings(vectors, tokens)
    if len(lengths) > 1:
        raise BadAnswerError(f"{model!r} answered vectors of different lengths", tokens, answer)
    if not np.isfinite(vectors).all():
        raise BadAnswerError(f"{model!r} answered a vector with NaN or infinity", tokens, answer)
    return answer


class OpenAIChat:
    def __init__(self, client: openai.OpenAI, model: str, max_output_tokens: int) -> None:
        self.model = model
        self.max_output_tokens = max_output_tokens
        self._client = client

    def complete(self, system: str, user: str) -> Completion:
        with _model_errors(f"the chat model {self.model!r}"):
            response = self._client.chat.completions.create(**_request(self, system, user))
        return _completion(response, self.model)

    def stream(self, system: str, user: str) -> Iterator[str | Completion]:
        answer = _StreamedAnswer(self.model)
        with _model_errors(f"the chat model {self.model!r}"):
            request = _request(self, system, user)
            with self._client.chat.completions.create(**request, **STREAMED) as events:
                for event in events:
                    if piece := answer.add(event):
                        yield piece
        yield from answer.end()


class AsyncOpenAIChat:
    """The same on an event loop. Cancelling an answer, or closing its stream, ends the HTTP request."""

    def __init__(self, client: openai.AsyncOpenAI, model: str, max_output_tokens: int) -> None:
        self.model = model
        self.max_output_tokens = max_output_tokens
        self._client = client

    async def complete(self, system: str, user: str) -> Completion:
        with _model_errors(f"the chat model {self.model!r}"):
            response = await self._client.chat.completions.create(**_request(self, system, user))
        return _completion(response, self.model)

    async def stream(self, system: str, user: str) -> AsyncGenerator[str | Completion]:
        answer = _StreamedAnswer(self.model)
        with _model_errors(f"the chat model {self.model!r}"):
            request = _request(self, system, user)
            async with await self._client.chat.completions.create(**request, **STREAMED) as events:
                async for event in events:
                    if piece := answer.add(event):
                        yield piece
        for piece_or_completion in answer.end():
            yield piece_or_completion

    async def close(self) -> None:
        await self._client.close()


STREAMED: Final[Any] = {"stream": True, "stream_options": {"include_usage": True}}


def _request(chat: OpenAIChat | AsyncOpenAIChat, system: str, user: str) -> Any:
    return {
        "model": chat.model,
        "messages": [{"role": "system", "content": system}, {"role": "user", "content": user}],
        "max_tokens": chat.max_output_tokens,
        "temperature": 0,
    }


def _completion(response: Any, model: str) -> Completion:
    if not response.choices:
        raise TransientError(f"the chat model {model!r} answered without a choice")
    usage = response.usage
    return Completion(
        _Text().more(response.choices[0].message.content or "", last=True),
        _Text().more(response.model, last=True),
        usage.prompt_tokens if usage else 0,
        usage.completion_tokens if usage else 0,
    )


class _StreamedAnswer:
    """What the events of a stream make together."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._pieces: list[str] = []
        self._decoded = _Text()
        self._usage: Any = None
        self._finished = False

    def add(self, event: Any) -> str:
        """The event's piece of the text, which may be empty."""
        self._usage = event.usage or self._usage
        self._finished = self._finished or any(choice.finish_reason for choice in event.choices)
        piece = self._decoded.more(event.choices[0].delta.content or "" if event.choices else "")
        if piece:
            self._pieces.append(piece)
        return piece

    def end(self) -> Iterator[str | Completion]:
        """What is left of the text, and the whole. Raises TransientError where the answer has no end: a connection
        without a length that ends early looks like one that is done."""
        if not self._finished:
            raise TransientError(f"the chat model {self._model!r}: its answer was cut off")
        if rest := self._decoded.more("", last=True):
            self._pieces.append(rest)
            yield rest
        usage = self._usage
        counted = (usage.prompt_tokens, usage.completion_tokens) if usage else (0, 0)
        yield Completion("".join(self._pieces), self._model, *counted)


class _Text:
    """What a server sends as text, made text. JSON may have half of a surrogate pair, which nothing can encode: the
    other half may come with the next piece; one that stays alone becomes U+FFFD. NUL, which PostgreSQL does not
    store, is left out."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-16-le")("replace")

    def more(self, piece: str, *, last: bool = False) -> str:
        return self._decoder.decode(piece.encode("utf-16-le", "surrogatepass"), last).replace("\0", "")


@contextmanager
def _model_errors(what: str) -> Iterator[None]:
    """Every failure of the SDK as one of our few, with a sentence."""
    try:
        yield
    except openai.AuthenticationError as error:
        raise FatalModelError(f"{what}: the key was refused (401): check OPENAI_API_KEY") from error
    except openai.PermissionDeniedError as error:
        raise FatalModelError(f"{what}: not permitted (403): {_message(error)}") from error
    except openai.NotFoundError as error:
        raise FatalModelError(
            f"{what} is not known to the server (404): check the model and OPENAI_BASE_URL"
        ) from error
    except openai.RateLimitError as error:
        raise _too_many(what, error) from error
    except (openai.APITimeoutError, openai.APIConnectionError) as error:
        cause = error.__cause__ or error
        raise TransientError(
            f"{what}: no connection to the server: {cause}; check OPENAI_BASE_URL"
        ) from error
    except openai.APIStatusError as error:
        raise _status_error(what, error) from error
    except (openai.OpenAIError, ValueError, TypeError, AttributeError) as error:
        said = str(error)[:200] or type(error).__name__
        raise BadAnswerError(f"{what}: an answer that cannot be read: {said}") from error


def _status_error(what: str, error: openai.APIStatusError) -> ModelError:
    if error.status_code in {408, 409, 425} or error.status_code >= 500:
        return TransientError(
            f"{what}: the server failed ({error.status_code})", retry_after(error.response.headers)
        )
    if error.status_code == 402 or error.code in QUOTA_CODES:
        return FatalModelError(f"{what}: the quota is spent: add credit or change the key")
    if error.code == "model_not_found":
        return FatalModelError(f"{what} is not known to the server: check the model")
    return RejectedInputError(f"{what}: refused ({error.status_code}): {_message(error)}")


def _too_many(what: str, error: openai.RateLimitError) -> ModelError:
    """A 429 is a limit that passes, a quota that does not, or a request larger than ever allowed at once."""
    if error.code in QUOTA_CODES or error.type in QUOTA_CODES:
        return FatalModelError(f"{what}: the quota is spent: add credit or change the key")
    if "request too large" in _message(error).lower():
        return RejectedInputError(f"{what}: refused (429): {_message(error)}")
    limits = rate_limits(error.response.headers, rejected=True)
    wait_seconds = retry_after(error.response.headers)
    if wait_seconds is None and limits and limits.wait:
        wait_seconds = limits.wait
    return RateLimitedError(f"{what}: rate limit (429): {_message(error)}", wait_seconds, limits)


def _message(error: openai.APIStatusError) -> str:
    body = error.body if isinstance(error.body, dict) else {}
    return str(body.get("message") or error.message)[:200]


__all__ = [
    "CHAT_MODEL",
    "EMBEDDING_MODEL",
    "AsyncOpenAIChat",
    "ModelError",
    "OpenAIChat",
    "OpenAIEmbeddings",
    "async_client",
    "probe_dimensions",
]
