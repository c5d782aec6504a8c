"""Embeds: texts into vectors, in batches bounded by count and by tokens, with retries.

tenacity is the one owner of retries; the clients in config/models make one request each.
"""

from __future__ import annotations

from dataclasses import dataclass
from threading import Event, Lock
from typing import TYPE_CHECKING

import numpy as np
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    sleep_using_event,
    stop_after_delay,
    stop_when_event_set,
    wait_random_exponential,
)

from config.models.base import FatalModelError, RefusedError, TransientError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from config.models.base import EmbeddingModel, Embeddings

BACKOFF = wait_random_exponential(multiplier=0.5, max=60)


class BudgetSpentError(Exception):
    """The cost allowed for this run is spent; what was done until then is kept."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one request may hold, and how long it may be tried."""

    inputs: int
    tokens: int
    deadline: float


@dataclass(frozen=True, slots=True)
class Refusal:
    """What stands in a vector's place when the model will not have the text."""

    reason: str


class Embedder:
    """Embeds for one run; counts what was spent. Safe to use from several threads."""

    def __init__(
        self,
        model: EmbeddingModel,
        bounds: Bounds,
        *,
        usd_per_million_tokens: float = 0.0,
        max_cost: float | None = None,
    ) -> None:
        self.tokens = 0
        self.in_flight = model.in_flight
        self._model = model
        self._bounds = bounds
        self._price = usd_per_million_tokens / 1_000_000
        self._max_cost = max_cost
        self._promised = 0
        self._lock = Lock()
        self._stopped = Event()

    @property
    def cost(self) -> float:
        """US dollars spent so far, by the price table."""
        return self.tokens * self._price

    def stop(self) -> None:
        """End every wait for a retry now."""
        self._stopped.set()

    def embed(self, texts: Sequence[str], tokens: Sequence[int]) -> list[np.ndarray | Refusal]:
        """A vector of shape (dimensions,), float32, or a Refusal for each text, in order.

        Raises FatalModelError when no request can succeed, TransientError when the deadline passed,
        BudgetSpentError before a request that would cost more than is allowed.
        """
        results: list[np.ndarray | Refusal] = []
        for start, end in batches(tokens, self._bounds.inputs, self._bounds.tokens):
            results += self._halving(texts[start:end], tokens[start:end])
        return results

    def _halving(self, texts: Sequence[str], tokens: Sequence[int]) -> list[np.ndarray | Refusal]:
        """A refused batch is halved until the guilty text stands alone."""
        self._afford(sum(tokens))
        try:
            answer = self._request(texts)
        except RefusedError as error:
            if len(texts) == 1:
                return [Refusal(str(error))]
            middle = len(texts) // 2
            return [
                *self._halving(texts[:middle], tokens[:middle]),
                *self._halving(texts[middle:], tokens[middle:]),
            ]
        with self._lock:
            self.tokens += answer.tokens
        return [_checked(vector) for vector in answer.vectors]

    def _request(self, texts: Sequence[str]) -> Embeddings:
        retrying = Retrying(
            retry=retry_if_exception_type(TransientError),
            wait=_wait,
            stop=stop_after_delay(self._bounds.deadline) | stop_when_event_set(self._stopped),
            sleep=sleep_using_event(self._stopped),
            reraise=True,
        )
        return retrying(self._model.embed, texts)

    def _afford(self, tokens: int) -> None:
        if self._max_cost is None:
            return
        with self._lock:
            self._promised += tokens
            if self._promised * self._price > self._max_cost:
                raise BudgetSpentError(
                    f"the next batch would cost more than the ${self._max_cost:.2f} allowed"
                )


def batches(tokens: Sequence[int], max_inputs: int, max_tokens: int) -> Iterator[tuple[int, int]]:
    """Slices (start, end) over texts of these lengths, each within both bounds. A text that is over the bound
    for tokens stands alone."""
    start = total = 0
    for end, count in enumerate(tokens):
        if end > start and (end - start >= max_inputs or total + count > max_tokens):
            yield start, end
            start, total = end, 0
        total += count
    if start < len(tokens):
        yield start, len(tokens)


def _wait(state: RetryCallState) -> float:
    """What the server asked for, else exponential with full jitter."""
    error = state.outcome.exception() if state.outcome else None
    asked = error.retry_after if isinstance(error, TransientError) else None
    return max(asked, 0.0) if asked is not None else BACKOFF(state)


def _checked(vector: np.ndarray) -> np.ndarray | Refusal:
    """Of length 1. A zero vector has no direction: no index holds it and no search finds it."""
    length = float(np.linalg.norm(vector))
    if length == 0.0:
        return Refusal("the model gives it a zero vector")
    return vector / np.float32(length)


__all__ = [
    "Bounds",
    "BudgetSpentError",
    "Embedder",
    "FatalModelError",
    "Refusal",
    "TransientError",
    "batches",
]
