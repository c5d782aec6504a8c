"""Embeds: texts into vectors, in batches bounded by count and by tokens, with retries.

tenacity is the one owner of retries; the clients in config/models make one request each. What a batch may cost is
set apart before it is sent, and when it may be sent is for flows/embedding/rate_limit.py to say.
"""

from __future__ import annotations

import math
import time
from collections import deque
from contextlib import nullcontext
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
    RejectedInputError,
    TransientError,
)
from pgfolio.flows.embedding.batching import (
    POSTPONED,
    Bounds,
    EmbedCall,
    Halved,
    RejectedInput,
    RequestBatch,
    RequestBounds,
    batch_slices,
)
from pgfolio.flows.embedding.budget import Budget, BudgetSpentError
from pgfolio.flows.embedding.metered import MeteredModel, refuses_everything
from pgfolio.flows.embedding.retry import RetryPolicy, ServerHealth
from pgfolio.flows.embedding.spending import Spending
from pgfolio.flows.embedding.stopwatch import Stopwatch
from pgfolio.flows.embedding.traffic import Traffic

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from pgfolio.config.models.protocols import EmbeddingModel, Embeddings
    from pgfolio.flows.embedding.batching import EmbeddingOutcome, OnEmbedded
    from pgfolio.flows.embedding.rate_limit import RateLimiter

OVERSIZE_FACTOR: Final = 1.5
"""A batch that is over a limit learned since it was made is divided from here on, not for a few tokens."""

PROBE: Final = "hello"
PROBE_TOKENS: Final = 2
_SERVER_IS_UP = (type(None), RateLimitedError)
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
        rate_limiter: RateLimiter | None = None,
        budget: Budget | None = None,
        turn: Callable[[], AbstractContextManager[None]] = nullcontext,
        is_billed: bool = True,
    ) -> None:
        """`spent_usd`: what the run spent before, of `max_cost`; or a `budget` that others share. `turn`: inside it a
        request is under way. `is_billed`: whether the model's own count of tokens is a bill."""
        self._deadline = bounds.deadline
        self._bounds = RequestBounds(bounds)
        self._rate_limiter = rate_limiter
        self._budget = budget or Budget(usd_per_million_tokens / 1_000_000, max_cost, spent_usd)
        self._health = ServerHealth()
        self._traffic = Traffic()
        self._stopped = Event()
        self._server = MeteredModel(
            model, self._budget, rate_limiter, self._traffic, self._stopped, bounds.deadline, turn
        )
        self._server.is_billed = is_billed
        self._fatal: FatalModelError | None = None
        self._working = Stopwatch()
        self._retrying = Stopwatch()

    @property
    def spending(self) -> Spending:
        """Until now."""
        return Spending(
            tokens=self._budget.tokens,
            cost_usd=self._budget.cost,
            working=self._working.seconds,
            rate_limited=self._rate_limiter.limited.seconds if self._rate_limiter else 0.0,
            retrying=self._retrying.seconds,
            traffic=self._traffic.counts,
        )

    def stop(self) -> None:
        """End every wait now; nothing more is sent."""
        self._stopped.set()
        if self._rate_limiter:
            self._rate_limiter.stop()

    def embed(
        self, texts: Sequence[str], tokens: Sequence[int], on_embedded: OnEmbedded | None = None
    ) -> list[EmbeddingOutcome]:
        """A vector of shape (dimensions,), float32, of length 1, or a RejectedInput, or POSTPONED for each text, in
        order. `on_embedded` is called with vectors as they come: their positions in `texts`, and the vectors.
        Raises FatalModelError when no request can succeed, TransientError when the server is down for longer
        than the deadline.
        """
        call = EmbedCall(texts, tokens, on_embedded, [POSTPONED] * len(texts))
        # Parts of a batch go before what is still to come: a rejected text is found before more is paid for.
        pending = deque(self._batches(call, range(len(texts))))
        self._traffic.planned(len(pending))
        with self._working:
            try:
                while pending:
                    pending.extendleft(reversed(self._next(call, pending.popleft())))
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

    def _next(self, call: EmbedCall, batch: RequestBatch) -> list[RequestBatch]:
        """Do a batch. Returns the smaller ones that are to be done in its place."""
        if smaller := self._oversize(call, batch):
            return smaller
        began = time.monotonic()
        try:
            self._with_retries(call, batch)
        except RejectedInputError as error:
            if error.max_inputs:
                self._bounds.refused_inputs(error.max_inputs)
                return self._batches(call, batch.positions, half=True)
            tokens = sum(call.tokens[position] for position in batch.positions) if error.by_size else None
            return self._bisect(call, batch, RejectedInput(str(error)), tokens)
        except BadAnswerError as error:
            rejected = RejectedInput(str(error), transient=True)
            if error.answer is None:
                if not batch.half and isinstance(self._probe(), BadAnswerError):
                    raise refuses_everything(str(error)) from error
                return self._bisect(call, batch, rejected)
            self._reject(call, batch.positions, rejected)
        except RateLimitedError as error:
            if smaller := self._oversize(call, batch):  # than a limit that came with the 429
                return smaller
            if self._stopped.is_set() or self._probe() is not None:
                raise
            return self._bisect(call, batch, RejectedInput(str(error), transient=True))  # too large, then
        except TransientError as error:
            if self._stopped.is_set() or not self._is_up(began):
                raise
            return self._bisect(call, batch, RejectedInput(str(error), transient=True))
        return []

    def _bisect(
        self,
        call: EmbedCall,
        batch: RequestBatch,
        rejected: RejectedInput,
        too_many_tokens: int | None = None,
    ) -> list[RequestBatch]:
        """Something in the batch is rejected, or all of it is too much: its halves, until that text stands alone."""
        if len(batch.positions) > 1:
            middle = len(batch.positions) // 2
            halves = batch.positions[:middle], batch.positions[middle:]
            parent = Halved(too_many_tokens) if too_many_tokens else None
            return [RequestBatch(positions, half=True, of=parent) for positions in halves]
        self._reject(call, batch.positions, rejected)
        return []

    def _reject(self, call: EmbedCall, positions: Sequence[int], rejected: RejectedInput) -> None:
        for position in positions:
            call.results[position] = rejected
        if self._health.rejected(len(positions)) and not isinstance(self._probe(), _SERVER_IS_UP):
            raise refuses_everything(rejected.reason)

    def _with_retries(self, call: EmbedCall, batch: RequestBatch) -> None:
        policy = RetryPolicy(
            batch,
            self._deadline,
            self._health,
            self._stopped,
            lambda: bool(self._oversize(call, batch)),
        )
        retrying = Retrying(
            retry=retry_if_exception_type(TransientError),
            wait=policy.wait,
            stop=policy.is_over,
            sleep=partial(self._sleep, policy),
            reraise=True,
        )
        retrying(self._attempt, call, batch, policy)

    def _sleep(self, policy: RetryPolicy, seconds: float) -> None:
        """Before the next attempt. What the server asks of one worker is meant for all of them."""
        limited = isinstance(policy.error, RateLimitedError)
        server_gave_delay = isinstance(policy.error, TransientError) and policy.error.retry_after is not None
        if self._rate_limiter and (limited or server_gave_delay):
            self._rate_limiter.pause(seconds)
        with self._rate_limiter.limited if self._rate_limiter and limited else self._retrying:
            sleep_using_event(self._stopped)(seconds)

    def _attempt(self, call: EmbedCall, batch: RequestBatch, policy: RetryPolicy) -> None:
        """One request; texts that it gives vectors to leave the batch. Raises a ModelError, BudgetSpentError."""
        try:
            answer = self._server.request(
                [call.texts[position] for position in batch.positions],
                sum(call.tokens[position] for position in batch.positions),
                policy,
            )
        except BadAnswerError as error:
            if error.answer is not None:
                self._accept(call, batch, error.answer)
            raise
        self._accept(call, batch, answer)
        self._bounds.answered(batch)
        if batch.positions:
            raise BadAnswerError("the model answered a vector with NaN or infinity", answer=answer)

    def _accept(self, call: EmbedCall, batch: RequestBatch, answer: Embeddings) -> None:
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
            if call.on_embedded:
                call.on_embedded(positions, vectors)
        if zero := places[lengths == 0].tolist():
            self._reject(call, zero, RejectedInput("the model gives it a zero vector"))

    def _batches(
        self, call: EmbedCall, positions: Sequence[int], *, half: bool = False
    ) -> list[RequestBatch]:
        tokens = [call.tokens[position] for position in positions]
        max_tokens = min(self._bounds.tokens, self._max_request_tokens())
        return [
            RequestBatch(list(positions[start:end]), half)
            for start, end in batch_slices(tokens, self._bounds.inputs, int(max_tokens))
        ]

    def _oversize(self, call: EmbedCall, batch: RequestBatch) -> list[RequestBatch]:
        """The batch in parts, when it is well over what may be sent at once."""
        total = sum(call.tokens[position] for position in batch.positions)
        over = len(batch.positions) > self._bounds.inputs or total > self._bounds.tokens
        if len(batch.positions) == 1 or not (over or total > OVERSIZE_FACTOR * self._max_request_tokens()):
            return []
        return self._batches(call, batch.positions, half=batch.half)

    def _max_request_tokens(self) -> float:
        """What the rate limit lets one request hold, by our own count of tokens."""
        return (
            self._rate_limiter.max_request_tokens / self._budget.billed_per_counted
            if self._rate_limiter
            else math.inf
        )

    def _is_up(self, since: float) -> bool:
        """Something else succeeded meanwhile, or does so now."""
        return self._health.succeeded_at > since or isinstance(self._probe(), _SERVER_IS_UP)

    def _probe(self) -> Exception | None:
        """What becomes of a plain word: None when it is given a vector. Raises FatalModelError."""
        try:
            answer = self._server.request([PROBE], PROBE_TOKENS)
        except (RejectedInputError, TransientError, BudgetSpentError) as error:
            return error
        if not np.linalg.norm(answer.vectors) > 0:
            return BadAnswerError("a vector of zeros or with NaN")
        self._health.succeeded()
        return None
