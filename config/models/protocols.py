"""What an embedding model and a chat model can do, and the ways in which one request can fail.

A client makes one checked request; loops, batches and retries belong to its callers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np


class ModelError(Exception):
    """A model server's refusal or failure, in a sentence for the user."""


@dataclass(frozen=True, slots=True)
class RateLimits:
    """What a server told of its limits with an answer. 0: it did not say, or there is nothing to wait for."""

    requests_per_minute: int = 0
    tokens_per_minute: int = 0
    wait: float = 0.0
    """Seconds until something of a limit that is used up is there again."""


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
    rows that are not, where it is known which is which."""

    def __init__(self, message: str, tokens: int = 0, answer: Embeddings | None = None) -> None:
        super().__init__(message)
        self.tokens = tokens
        self.answer = answer


class RejectedInputError(ModelError):
    """This input will not be accepted, however often it is sent; others may be."""


class FatalModelError(ModelError):
    """No request can succeed until somebody changes something: a wrong key, an unknown model, a spent quota."""


@dataclass(frozen=True, slots=True)
class Embeddings:
    """`vectors` has shape (inputs, dimensions), float32, in the order of the inputs; `tokens` as billed."""

    vectors: np.ndarray
    tokens: int
    limits: RateLimits | None = None


class EmbeddingModel(Protocol):
    """One embedding space's model. Safe to use from several threads."""

    dimensions: int
    in_flight: int
    """How many requests at once make sense."""

    def embed(self, texts: Sequence[str]) -> Embeddings:
        """One request. Raises a ModelError; never returns fewer vectors than inputs."""


@dataclass(frozen=True, slots=True)
class Completion:
    text: str
    model: str
    input_tokens: int
    output_tokens: int


class ChatModel(Protocol):
    model: str

    def complete(self, system: str, user: str) -> Completion:
        """One answer. Raises a ModelError."""

    def stream(self, system: str, user: str) -> Iterator[str | Completion]:
        """Pieces of text as they come, the whole Completion last. Closing the iterator ends the request."""


class Reranker(Protocol):
    """Safe to use from several threads."""

    def rank(self, question: str, texts: Sequence[str]) -> list[float]:
        """A score for each text, in their order; higher is better. Raises a ModelError."""

    def close(self) -> None: ...
