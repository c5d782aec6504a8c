"""How long a request is tried again, and how long is waited before that. The policies given to tenacity."""

from __future__ import annotations

import math
import time
from threading import Event, Lock
from typing import TYPE_CHECKING, Final, TypeVar

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_after_delay,
    wait_random,
    wait_random_exponential,
)

from pgfolio.config.models.protocols import (
    BadAnswerError,
    RateLimitedError,
    TransientError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgfolio.flows.embedding.batching import RequestBatch

BACKOFF = wait_random_exponential(multiplier=0.5, max=20)
"""At most 20 s: so soon after a server came back it is noticed."""

BACKOFF_BAD_ANSWER = wait_random_exponential(multiplier=0.05, max=2)

MAX_BAD_ANSWERS: Final = 3
"""So often a batch, and a text alone, may be answered badly."""

HALF_DEADLINE_FRACTION: Final = 0.1
"""Of the deadline: that the server works is known by then, and a rejected text among 256 is found in nine steps."""

MAX_RETRY_AFTER_SECONDS: Final = 60.0
"""Seconds that a server may always ask to wait, however short the deadline."""

SUSPICIOUS_REJECTIONS: Final = 32
"""So many texts rejected with no vector in between raise the question whether the server accepts any."""

Result = TypeVar("Result")


def with_retries(work: Callable[[], Result], deadline: float) -> Result:
    """What `work` returns, which makes one request before there is an Embedder; tried again while that may help,
    for a minute at most: more often than down, a server that was never reached is misspelt. One that answers what is
    no answer is tried three times."""
    slow = stop_after_delay(min(deadline, MAX_RETRY_AFTER_SECONDS))
    retrying = Retrying(
        retry=retry_if_exception_type(TransientError),
        wait=BACKOFF,
        stop=lambda state: slow(state) or _bad_answers(state) >= MAX_BAD_ANSWERS,
        reraise=True,
    )
    return retrying(work)


def _bad_answers(state: RetryCallState) -> int:
    error = state.outcome.exception() if state.outcome else None
    return state.attempt_number if isinstance(error, BadAnswerError) else 0


class RetryPolicy:
    """How long one batch is tried: tenacity asks after each failure whether it is over, and how long to wait."""

    def __init__(
        self,
        batch: RequestBatch,
        deadline: float,
        health: ServerHealth,
        stopped: Event,
        oversize: Callable[[], bool],
    ) -> None:
        self.error: BaseException | None = None
        self._allowed = deadline * (HALF_DEADLINE_FRACTION if batch.half else 1)
        self._limited_allowed = max(self._allowed, min(deadline, MAX_RETRY_AFTER_SECONDS))
        self._bad_answers = 1 if batch.half and len(batch.positions) > 1 else MAX_BAD_ANSWERS
        self._health = health
        self._stopped = stopped
        self._oversize = oversize
        self._sent_at = time.monotonic()
        self._spent = 0.0
        """Seconds in failing requests and in waits after them; the rate limit's waits are not among them."""
        self._limited_since: float | None = None

    def sent(self) -> None:
        self._sent_at = time.monotonic()

    def wait(self, state: RetryCallState) -> float:
        """`Retry-After` where the server sent it, else exponential with full jitter."""
        self.error = state.outcome.exception() if state.outcome else None
        if isinstance(self.error, BadAnswerError):
            return BACKOFF_BAD_ANSWER(state)
        retry_after = self.error.retry_after if isinstance(self.error, TransientError) else None
        if retry_after is not None:
            return max(retry_after, 0.0) + wait_random(0, max(retry_after, 0.0) / 10)(state)
        if isinstance(self.error, RateLimitedError):
            return BACKOFF(state)
        return min(BACKOFF(state), max(self._allowed - self._spent, 0.01))

    def is_over(self, state: RetryCallState) -> bool:
        """Called after `wait`."""
        if self._stopped.is_set():
            return True
        if isinstance(self.error, BadAnswerError):
            self._bad_answers -= 1
            return self._bad_answers <= 0
        now = time.monotonic()
        if isinstance(self.error, RateLimitedError):
            self._limited_since = self._limited_since or now
            waited = now - max(self._limited_since, self._health.succeeded_at)
            return waited >= self._limited_allowed or self._oversize()
        self._spent += now - self._sent_at
        over = self._spent >= self._allowed
        self._spent += state.upcoming_sleep
        return over


class ServerHealth:
    """What the run's last answers say of the server. Safe to use from several threads."""

    def __init__(self) -> None:
        self.succeeded_at = -math.inf
        self._rejected_in_a_row = 0
        self._lock = Lock()

    def succeeded(self) -> None:
        with self._lock:
            self.succeeded_at = time.monotonic()
            self._rejected_in_a_row = 0

    def rejected(self, texts: int) -> bool:
        """Whether so many were rejected in a row that it may be the server and not the texts; true once for each
        such row."""
        with self._lock:
            self._rejected_in_a_row += texts
            suspicious = self._rejected_in_a_row >= SUSPICIOUS_REJECTIONS
            if suspicious:
                self._rejected_in_a_row = 0
            return suspicious
