"""What an embedding model and a chat model can do, and the ways in which one request can fail.

A client makes one checked request; loops, batches and retries belong to its callers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from pgfolio.config.errors import UserError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence

    import numpy as np


class ModelError(UserError):
    """A model server's refusal or failure, in a sentence for the user."""


@dataclass(frozen=True, slots=True)
class RateLimits:
    """What a server told of its limits with an answer. 0: it did not say, or there is nothing to wait for."""

    requests_per_minute: int = 0
    tokens_per_minute: int = 0
    wait: float = 0.0
    """Seconds until something of a limit that is used up is there again."""
    remaining: Mapping[str, tuple[float, int]] = field(default_factory=dict, compare=False)
    """Of "requests" and "tokens" what the server said remains, and of how many; 0: it did not say of how many."""


class TransientError(ModelError):
    """May pass: slow, cut off, a server fault. `retry_after` is in seconds where the server said so."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class RateLimitedError(TransientError):
    """Too much at once (429): nothing is wrong with the request but its time."""

    def __init__(
        self, message: str, retry_after: float | None = None, limits: RateLimits | None = None
    ) -> None:
        super().__init__(message, retry_after)
        self.limits = limits


class BadAnswerError(TransientError):
    """Answered, but not with a usable vector for each input. `answer` has those that are usable, with NaN in the
    rows that are not, where it is known which is which. `tokens` as billed; None: the server did not say."""

    def __init__(self, message: str, tokens: int | None = 0, answer: Embeddings | None = None) -> None:
        super().__init__(message)
        self.tokens = tokens
        self.answer = answer


class NoAnswerError(ModelError):
    """A chat model ended without an answer; the message says why."""


class RejectedInputError(ModelError):
    """This input will not be accepted, however often it is sent; others may be. `said`: the server's own words;
    `by_size`: they mean that it was too large; `max_inputs`: how many it takes at once, where they name that."""

    def __init__(self, message: str, said: str = "", *, by_size: bool = False) -> None:
        super().__init__(message)
        self.said = said
        self.by_size = by_size
        self.max_inputs: int | None = None


class FatalModelError(ModelError):
    """No request can succeed until somebody changes something: a wrong key, an unknown model, a spent quota."""


@dataclass(frozen=True, slots=True)
class Embeddings:
    """`vectors` has shape (inputs, dimensions), float32, in the order of the inputs; `tokens` as billed, None where
    the server does not say."""

    vectors: np.ndarray
    tokens: int | None
    limits: RateLimits | None = None


class EmbeddingModel(Protocol):
    """One embedding space's model. Safe to use from several threads."""

    dimensions: int
    in_flight: int
    """How many requests at once make sense."""

    def embed(self, texts: Sequence[str]) -> Embeddings:
        """One request. Raises a ModelError; never returns fewer vectors than inputs."""


OUT_OF_TOKENS: Final = frozenset({"length", "max_tokens"})
CONTENT_FILTER: Final = "content_filter"
"""Finish reasons of an answer that is not whole."""


@dataclass(frozen=True, slots=True)
class Completion:
    """An answer, empty where the model said nothing. Tokens: None where the server does not say. `finish_reason`:
    the server's, "stop" where the model ended by itself; None where it does not say why."""

    text: str
    model: str
    input_tokens: int | None = None
    output_tokens: int | None = None
    finish_reason: str | None = "stop"


class ChatModel(Protocol):
    """A chat model on the event loop."""

    model: str

    async def complete(self, system: str, user: str) -> Completion:
        """One answer. Raises a ModelError."""
        ...

    def stream(self, system: str, user: str) -> AsyncGenerator[str | Completion]:
        """Pieces of text as they come, the whole Completion last. Closing it ends the request."""
        ...

    async def close(self) -> None: ...


class Reranker(Protocol):
    """Safe to use from several threads."""

    def rank(self, question: str, texts: Sequence[str]) -> list[float]:
        """A score for each text, in their order; higher is better. Raises a ModelError."""

    def close(self) -> None: ...
