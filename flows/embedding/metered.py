"""One request to the model within what the run may cost and what its key may send, and its bill."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from pgfolio.config.models.protocols import (
    BadAnswerError,
    FatalModelError,
    ModelError,
    RateLimitedError,
    TransientError,
)
from pgfolio.flows.embedding.retry import MAX_RETRY_AFTER_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager
    from threading import Event

    from pgfolio.config.models.protocols import EmbeddingModel, Embeddings
    from pgfolio.flows.embedding.budget import Bill, Budget
    from pgfolio.flows.embedding.rate_limit import RateLimiter
    from pgfolio.flows.embedding.retry import RetryPolicy
    from pgfolio.flows.embedding.traffic import Traffic


class MeteredModel:
    """A model whose every request is paid for and waits for its turn. Safe to use from several threads."""

    def __init__(
        self,
        model: EmbeddingModel,
        budget: Budget,
        rate_limiter: RateLimiter | None,
        traffic: Traffic,
        stopped: Event,
        deadline: float,
        turn: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._model = model
        self._budget = budget
        self._rate_limiter = rate_limiter
        self._traffic = traffic
        self._stopped = stopped
        self._deadline = deadline
        self._turn = turn
        self.is_billed = True
        """Else its own count of tokens is compared with nothing."""

    def request(self, texts: Sequence[str], counted: int, policy: RetryPolicy | None = None) -> Embeddings:
        """One request within the cost and the limits; what was billed is counted, of a bad answer as well."""
        estimate = self._budget.estimate(counted)
        # First the budget, then a turn: what is not paid for must use up nothing of the rate limit.
        with self._budget.reserved(estimate) as bill:
            if self._stopped.is_set():  # maybe while the budget was waited for
                raise TransientError("the run was stopped")
            charged = self._rate_limiter.acquire(estimate) if self._rate_limiter else 0.0
            if policy:
                policy.sent()
            self._traffic.sent()
            try:
                with self._turn():
                    answer = self._model.embed(texts)
                self._bill(bill, counted, answer.tokens)
                if self._rate_limiter and answer.limits:
                    self._rate_limiter.learn(answer.limits)
            except ModelError as error:
                self._traffic.failed(error)
                if isinstance(error, BadAnswerError):
                    bill.tokens = estimate if error.tokens is None else error.tokens
                elif isinstance(error, RateLimitedError):
                    self._apply_retry_after(error)
                raise
            finally:  # what failed may be counted by the server too: it stays charged
                if self._rate_limiter and bill.tokens:
                    self._rate_limiter.refund(charged, bill.tokens)
        if self._rate_limiter and answer.limits and answer.limits.wait:
            self._rate_limiter.pause(answer.limits.wait)
        return answer

    def _bill(self, bill: Bill, counted: int, billed: int | None) -> None:
        """Where the server does not say what it bills, our own count stands for it and teaches nothing."""
        self._traffic.answered(counted, billed if self.is_billed else counted)
        bill.tokens = self._budget.estimate(counted) if billed is None else billed
        bill.counted = 0 if billed is None else counted

    def _apply_retry_after(self, error: RateLimitedError) -> None:
        retry_after = error.retry_after or 0.0
        if retry_after > max(self._deadline, MAX_RETRY_AFTER_SECONDS):
            raise FatalModelError(
                f"{error}: the server asks to wait {timedelta(seconds=round(retry_after))} before the next request; "
                "run it again after that, what was done until then is stored"
            ) from error
        if self._rate_limiter and error.limits:
            self._rate_limiter.learn(error.limits)


def refuses_everything(reason: str) -> FatalModelError:
    return FatalModelError(f"the model server answers but refuses everything: {reason}")
