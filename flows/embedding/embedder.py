"""Embeds: texts into vectors, in batches bounded by count and by tokens, with retries.

tenacity is the one owner of retries; the clients in config/models make one request each. What a batch may cost is
set apart before it is sent, and when it may be sent is for flows/embedding/rate_limit.py to say.
"""

from __future__ import annotations

import math
import time
from collections import deque
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from threading import Event, Lock
from typing import TYPE_CHECKING, Final, TypeVar

import numpy as np
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    sleep_using_event,
    stop_after_delay,
    wait_random,
    wait_random_exponential,
)

from pgfolio.config.models.protocols import (
    BadAnswerError,
    FatalModelError,
    RateLimitedError,
    RefusedError,
    TransientError,
)
from pgfolio.flows.embedding.budget import Budget, BudgetSpentError
from pgfolio.flows.embedding.stopwatch import Stopwatch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import TypeAlias

    from pgfolio.config.models.protocols import EmbeddingModel, Embeddings
    from pgfolio.flows.embedding.rate_limit import Pace

BACKOFF = wait_random_exponential(multiplier=0.5, max=20)
"""At most 20 s: so soon after a server came back it is noticed."""
BACKOFF_BAD_ANSWER = wait_random_exponential(multiplier=0.05, max=2)
BAD_ANSWERS: Final = 3
"""So often a batch, and a text alone, may be answered badly."""

HALF_DEADLINE: Final = 0.1
"""Of the deadline: that the server works is known by then, and a guilty text of 256 is found in nine steps."""

ASKED_AT_MOST: Final = 60.0
"""Seconds that a server may always ask to wait, however short the deadline."""

OVERSIZE: Final = 1.5
"""A batch that is over a limit learned since it was made is divided from here on, not for a few tokens."""

SUSPICIOUS: Final = 32
"""So many texts refused with no vector in between raise the question whether the server accepts any."""

PROBE: Final = "hello"
PROBE_TOKENS: Final = 2
_UP = (type(None), RateLimitedError)
"""What becomes of the probe at a server that is up."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one request may hold, and how many seconds of failing it may be tried."""

    inputs: int
    tokens: int
    deadline: float


@dataclass(frozen=True, slots=True)
class Refusal:
    """What stands in a vector's place when there is none. `transient`: another run may get one."""

    reason: str
    transient: bool = False


@dataclass(frozen=True, slots=True)
class Postponed:
    """What stands in a vector's place when the allowed cost did not cover it."""


POSTPONED: Final = Postponed()

Result = TypeVar("Result")

if TYPE_CHECKING:
    Answer: TypeAlias = np.ndarray | Refusal | Postponed
    Paid: TypeAlias = Callable[[Sequence[int], list[np.ndarray]], None]


@dataclass
class _Call:
    """The texts of one call of `embed`, and what came of them so far."""

    texts: Sequence[str]
    tokens: Sequence[int]
    paid: Paid | None
    results: list[Answer]


@dataclass
class _Batch:
    """Positions of texts that are sent together; answered ones leave it."""

    positions: list[int]
    half: bool = False


class Embedder:
    """Embeds for one run; counts what was spent. Safe to use from several threads."""

    def __init__(
        self,
        model: EmbeddingModel,
        bounds: Bounds,
        *,
        usd_per_million_tokens: float = 0.0,
        max_cost: float | None = None,
        spent_usd: float = 0.0,
        pace: Pace | None = None,
    ) -> None:
        """`spent_usd`: what the run spent before, of `max_cost`."""
        self.in_flight = model.in_flight
        self._model = model
        self._bounds = bounds
        self._pace = pace
        self._budget = Budget(usd_per_million_tokens / 1_000_000, max_cost, spent_usd)
        self._health = _Health()
        self._stopped = Event()
        self._fatal: FatalModelError | None = None
        self._working = Stopwatch()
        self._retrying = Stopwatch()

    @property
    def tokens(self) -> int:
        """As billed until now."""
        return self._budget.tokens

    @property
    def cost(self) -> float:
        """US dollars spent so far, by the price table."""
        return self._budget.cost

    @property
    def working(self) -> float:
        """Seconds with at least one call of `embed` under way."""
        return self._working.seconds

    @property
    def limited(self) -> float:
        """Of these, seconds in which the rate limit held back what was ready to be sent."""
        return self._pace.limited.seconds if self._pace else 0.0

    @property
    def waited_for_retries(self) -> float:
        """Of these, seconds in which a failed request waited for its next attempt."""
        return self._retrying.seconds

    def stop(self) -> None:
        """End every wait now; nothing more is sent."""
        self._stopped.set()
        if self._pace:
            self._pace.stop()

    def embed(self, texts: Sequence[str], tokens: Sequence[int], paid: Paid | None = None) -> list[Answer]:
        """A vector of shape (dimensions,), float32, of length 1, or a Refusal, or POSTPONED for each text, in order.

        `paid` is told of vectors as they come: their positions in `texts`, and the vectors.
        Raises FatalModelError when no request can succeed, TransientError when the server is down for longer
        than the deadline.
        """
        call = _Call(texts, tokens, paid, [POSTPONED] * len(texts))
        todo = deque(self._batches(call, range(len(texts))))
        with self._working:
            try:
                while todo:
                    todo.extendleft(reversed(self._next(call, todo.popleft())))
            except BudgetSpentError:  # this batch and the later ones stay postponed
                pass
            except FatalModelError as error:
                self._fatal = self._fatal or error
                self.stop()  # the other workers' waits would hold up the run's end
                raise
            except TransientError as error:
                if self._fatal:
                    raise self._fatal from error
                raise
        return call.results

    def _next(self, call: _Call, batch: _Batch) -> list[_Batch]:
        """Do a batch. Returns the smaller ones that are to be done in its place."""
        if smaller := self._oversize(call, batch):
            return smaller
        began = time.monotonic()
        try:
            self._tried(call, batch)
        except RefusedError as error:
            return self._guilty(call, batch, Refusal(str(error)))
        except BadAnswerError as error:
            refusal = Refusal(str(error), transient=True)
            if error.answer is None:
                return self._guilty(call, batch, refusal)
            self._refuse(call, batch.positions, refusal)
        except RateLimitedError as error:
            if smaller := self._oversize(call, batch):  # than a limit that came with the refusal
                return smaller
            if self._stopped.is_set() or self._probe() is not None:
                raise
            return self._guilty(call, batch, Refusal(str(error), transient=True))  # too large, then
        except TransientError as error:
            if self._stopped.is_set() or not self._is_up(began):
                raise
            return self._guilty(call, batch, Refusal(str(error), transient=True))
        return []

    def _guilty(self, call: _Call, batch: _Batch, refusal: Refusal) -> list[_Batch]:
        """Something in the batch is at fault: its halves, until the guilty text stands alone."""
        if len(batch.positions) > 1:
            middle = len(batch.positions) // 2
            halves = batch.positions[:middle], batch.positions[middle:]
            return [_Batch(positions, half=True) for positions in halves]
        self._refuse(call, batch.positions, refusal)
        return []

    def _refuse(self, call: _Call, positions: Sequence[int], refusal: Refusal) -> None:
        for position in positions:
            call.results[position] = refusal
        if self._health.refused(len(positions)) and not isinstance(self._probe(), _UP):
            raise FatalModelError(f"the model server answers but refuses everything: {refusal.reason}")

    def _tried(self, call: _Call, batch: _Batch) -> None:
        patience = _Patience(
            batch,
            self._bounds.deadline,
            self._health,
            self._stopped,
            lambda: bool(self._oversize(call, batch)),
        )
        retrying = Retrying(
            retry=retry_if_exception_type(TransientError),
            wait=patience.wait,
            stop=patience.is_over,
            sleep=partial(self._sleep, patience),
            reraise=True,
        )
        retrying(self._attempt, call, batch, patience)

    def _sleep(self, patience: _Patience, seconds: float) -> None:
        """Before the next attempt. What the server asks of one worker is meant for all of them."""
        limited = isinstance(patience.error, RateLimitedError)
        asked = isinstance(patience.error, TransientError) and patience.error.retry_after is not None
        if self._pace and (limited or asked):
            self._pace.hold(seconds)
        with self._pace.limited if self._pace and limited else self._retrying:
            sleep_using_event(self._stopped)(seconds)

    def _attempt(self, call: _Call, batch: _Batch, patience: _Patience) -> None:
        """One request; texts that it gives vectors to leave the batch. Raises a ModelError, BudgetSpentError."""
        try:
            answer = self._request(
                [call.texts[position] for position in batch.positions],
                sum(call.tokens[position] for position in batch.positions),
                patience,
            )
        except BadAnswerError as error:
            if error.answer is not None:
                self._take(call, batch, error.answer)
            raise
        self._take(call, batch, answer)
        if batch.positions:
            raise BadAnswerError("the model answered a vector with NaN or infinity", answer=answer)

    def _request(self, texts: Sequence[str], counted: int, patience: _Patience | None = None) -> Embeddings:
        """One request within the cost and the limits; what was billed is counted, of a bad answer as well."""
        estimate = self._budget.estimate(counted)
        with self._budget.reserved(estimate) as bill:
            if self._stopped.is_set():  # maybe while the budget was waited for
                raise TransientError("the run was stopped")
            charged = self._pace.turn(estimate) if self._pace else 0.0
            if patience:
                patience.sent()
            try:
                answer = self._model.embed(texts)
                bill.counted, bill.tokens = counted, answer.tokens
                if self._pace and answer.limits:
                    self._pace.told(answer.limits)
            except BadAnswerError as error:
                bill.tokens = error.tokens
                raise
            except RateLimitedError as error:
                self._heed(error)
                raise
            finally:  # what failed may be counted by the server too: it stays charged
                if self._pace and bill.tokens:
                    self._pace.settle(charged, bill.tokens)
        if self._pace and answer.limits and answer.limits.wait:
            self._pace.hold(answer.limits.wait)
        return answer

    def _heed(self, error: RateLimitedError) -> None:
        asked = error.retry_after or 0.0
        if asked > max(self._bounds.deadline, ASKED_AT_MOST):
            raise FatalModelError(
                f"{error}: the server asks to wait {timedelta(seconds=round(asked))} before the next request; "
                "run it again after that, what was done until then is stored"
            ) from error
        if self._pace and error.limits:
            self._pace.told(error.limits)

    def _take(self, call: _Call, batch: _Batch, answer: Embeddings) -> None:
        """Keep the usable vectors, at length 1. A zero vector has no direction: no index holds it and no search
        finds it."""
        lengths = np.linalg.norm(answer.vectors, axis=1)
        usable = np.isfinite(lengths) & (lengths > 0)
        places = np.array(batch.positions)
        batch.positions = places[~np.isfinite(lengths)].tolist()
        if usable.any():
            self._health.succeeded()
            positions = places[usable].tolist()
            vectors = list(answer.vectors[usable] / lengths[usable, np.newaxis].astype(np.float32))
            for position, vector in zip(positions, vectors, strict=True):
                call.results[position] = vector
            if call.paid:
                call.paid(positions, vectors)
        if zero := places[lengths == 0].tolist():
            self._refuse(call, zero, Refusal("the model gives it a zero vector"))

    def _batches(self, call: _Call, positions: Sequence[int], *, half: bool = False) -> list[_Batch]:
        tokens = [call.tokens[position] for position in positions]
        most = min(self._bounds.tokens, self._most_tokens())
        return [
            _Batch(list(positions[start:end]), half)
            for start, end in batches(tokens, self._bounds.inputs, int(most))
        ]

    def _oversize(self, call: _Call, batch: _Batch) -> list[_Batch]:
        """The batch in parts, when it is well over what may be sent at once."""
        total = sum(call.tokens[position] for position in batch.positions)
        if len(batch.positions) == 1 or total <= OVERSIZE * self._most_tokens():
            return []
        return self._batches(call, batch.positions, half=batch.half)

    def _most_tokens(self) -> float:
        """What the rate limit lets one request hold, by our own count of tokens."""
        return self._pace.most_tokens / self._budget.billed_per_counted if self._pace else math.inf

    def _is_up(self, since: float) -> bool:
        """Something else succeeded meanwhile, or does so now."""
        return self._health.succeeded_at > since or isinstance(self._probe(), _UP)

    def _probe(self) -> Exception | None:
        """What becomes of a plain word: None when it is given a vector. Raises FatalModelError."""
        try:
            answer = self._request([PROBE], PROBE_TOKENS)
        except (RefusedError, TransientError, BudgetSpentError) as error:
            return error
        if not np.linalg.norm(answer.vectors) > 0:
            return BadAnswerError("a vector of zeros or with NaN")
        self._health.succeeded()
        return None


def patiently(work: Callable[[], Result], deadline: float) -> Result:
    """What `work` returns, which makes one request before there is an Embedder; tried again while that may help,
    for a minute at most: more often than down, a server that was never reached is misspelt."""
    retrying = Retrying(
        retry=retry_if_exception_type(TransientError),
        wait=BACKOFF,
        stop=stop_after_delay(min(deadline, ASKED_AT_MOST)),
        reraise=True,
    )
    return retrying(work)


class _Patience:
    """How long one batch is tried: tenacity asks after each failure whether it is over, and how long to wait."""

    def __init__(
        self, batch: _Batch, deadline: float, health: _Health, stopped: Event, oversize: Callable[[], bool]
    ) -> None:
        self.error: BaseException | None = None
        self._allowed = deadline * (HALF_DEADLINE if batch.half else 1)
        self._limited_allowed = max(self._allowed, min(deadline, ASKED_AT_MOST))
        self._bad_answers = 1 if batch.half and len(batch.positions) > 1 else BAD_ANSWERS
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
        """What the server asked for, else exponential with full jitter."""
        self.error = state.outcome.exception() if state.outcome else None
        if isinstance(self.error, BadAnswerError):
            return BACKOFF_BAD_ANSWER(state)
        asked = self.error.retry_after if isinstance(self.error, TransientError) else None
        if asked is not None:
            return max(asked, 0.0) + wait_random(0, max(asked, 0.0) / 10)(state)
        if isinstance(self.error, RateLimitedError):
            return BACKOFF(state)
        return min(BACKOFF(state), max(self._allowed - self._spent, 0.01))

    def is_over(self, state: RetryCallState) -> bool:
        """Asked after `wait`."""
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


class _Health:
    """What the run's last answers say of the server. Safe to use from several threads."""

    def __init__(self) -> None:
        self.succeeded_at = -math.inf
        self._refused_in_a_row = 0
        self._lock = Lock()

    def succeeded(self) -> None:
        with self._lock:
            self.succeeded_at = time.monotonic()
            self._refused_in_a_row = 0

    def refused(self, texts: int) -> bool:
        """Whether so many were refused in a row that it may be the server and not the texts; asked once for each
        such row."""
        with self._lock:
            self._refused_in_a_row += texts
            suspicious = self._refused_in_a_row >= SUSPICIOUS
            if suspicious:
                self._refused_in_a_row = 0
            return suspicious


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


__all__ = [
    "POSTPONED",
    "Bounds",
    "BudgetSpentError",
    "Embedder",
    "FatalModelError",
    "Postponed",
    "Refusal",
    "TransientError",
    "batches",
]
