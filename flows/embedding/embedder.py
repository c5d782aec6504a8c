"""Embeds: texts into vectors, in batches bounded by count and by tokens, with retries.

tenacity is the one owner of retries; the clients in config/models make one request each. What a batch may cost is
set apart before it is sent, and when it may be sent is for flows/embedding/rate_limit.py to say.
"""

from __future__ import annotations

import math
import time
from collections import deque
from datetime import timedelta
from functools import partial
from threading import Event
from typing import TYPE_CHECKING, Final

import numpy as np
from tenacity import (
    Retrying,
    retry_if_exception_type,
    sleep_using_event,
)

from pgfolio.config.models.protocols import (
    BadAnswerError,
    FatalModelError,
    RateLimitedError,
    RefusedError,
    TransientError,
)
from pgfolio.flows.embedding.batching import POSTPONED, Batch, Bounds, Call, RejectedInput, batches
from pgfolio.flows.embedding.budget import Budget, BudgetSpentError
from pgfolio.flows.embedding.retry import ASKED_AT_MOST, Health, RetryPolicy
from pgfolio.flows.embedding.stopwatch import Stopwatch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgfolio.config.models.protocols import EmbeddingModel, Embeddings
    from pgfolio.flows.embedding.batching import Answer, Paid
    from pgfolio.flows.embedding.rate_limit import Pace

OVERSIZE: Final = 1.5
"""A batch that is over a limit learned since it was made is divided from here on, not for a few tokens."""

PROBE: Final = "hello"
PROBE_TOKENS: Final = 2
_UP = (type(None), RateLimitedError)
"""What becomes of the probe at a server that is up."""


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
        self._health = Health()
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
        """A vector of shape (dimensions,), float32, of length 1, or a RejectedInput, or POSTPONED for each text,
        in order.

        `paid` is told of vectors as they come: their positions in `texts`, and the vectors.
        Raises FatalModelError when no request can succeed, TransientError when the server is down for longer
        than the deadline.
        """
        call = Call(texts, tokens, paid, [POSTPONED] * len(texts))
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

    def _next(self, call: Call, batch: Batch) -> list[Batch]:
        """Do a batch. Returns the smaller ones that are to be done in its place."""
        if smaller := self._oversize(call, batch):
            return smaller
        began = time.monotonic()
        try:
            self._tried(call, batch)
        except RefusedError as error:
            return self._guilty(call, batch, RejectedInput(str(error)))
        except BadAnswerError as error:
            refusal = RejectedInput(str(error), transient=True)
            if error.answer is None:
                return self._guilty(call, batch, refusal)
            self._refuse(call, batch.positions, refusal)
        except RateLimitedError as error:
            if smaller := self._oversize(call, batch):  # than a limit that came with the refusal
                return smaller
            if self._stopped.is_set() or self._probe() is not None:
                raise
            return self._guilty(call, batch, RejectedInput(str(error), transient=True))  # too large, then
        except TransientError as error:
            if self._stopped.is_set() or not self._is_up(began):
                raise
            return self._guilty(call, batch, RejectedInput(str(error), transient=True))
        return []

    def _guilty(self, call: Call, batch: Batch, refusal: RejectedInput) -> list[Batch]:
        """Something in the batch is at fault: its halves, until the guilty text stands alone."""
        if len(batch.positions) > 1:
            middle = len(batch.positions) // 2
            halves = batch.positions[:middle], batch.positions[middle:]
            return [Batch(positions, half=True) for positions in halves]
        self._refuse(call, batch.positions, refusal)
        return []

    def _refuse(self, call: Call, positions: Sequence[int], refusal: RejectedInput) -> None:
        for position in positions:
            call.results[position] = refusal
        if self._health.refused(len(positions)) and not isinstance(self._probe(), _UP):
            raise FatalModelError(f"the model server answers but refuses everything: {refusal.reason}")

    def _tried(self, call: Call, batch: Batch) -> None:
        patience = RetryPolicy(
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

    def _sleep(self, patience: RetryPolicy, seconds: float) -> None:
        """Before the next attempt. What the server asks of one worker is meant for all of them."""
        limited = isinstance(patience.error, RateLimitedError)
        asked = isinstance(patience.error, TransientError) and patience.error.retry_after is not None
        if self._pace and (limited or asked):
            self._pace.hold(seconds)
        with self._pace.limited if self._pace and limited else self._retrying:
            sleep_using_event(self._stopped)(seconds)

    def _attempt(self, call: Call, batch: Batch, patience: RetryPolicy) -> None:
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

    def _request(self, texts: Sequence[str], counted: int, patience: RetryPolicy | None = None) -> Embeddings:
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

    def _take(self, call: Call, batch: Batch, answer: Embeddings) -> None:
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
            self._refuse(call, zero, RejectedInput("the model gives it a zero vector"))

    def _batches(self, call: Call, positions: Sequence[int], *, half: bool = False) -> list[Batch]:
        tokens = [call.tokens[position] for position in positions]
        most = min(self._bounds.tokens, self._most_tokens())
        return [
            Batch(list(positions[start:end]), half)
            for start, end in batches(tokens, self._bounds.inputs, int(most))
        ]

    def _oversize(self, call: Call, batch: Batch) -> list[Batch]:
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
