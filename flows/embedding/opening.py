"""Makes the embedder of a space: in the run's own process, or in each of its workers'."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from threading import Semaphore
from typing import TYPE_CHECKING, cast

from pgfolio.config import models
from pgfolio.flows.embedding.batching import Bounds
from pgfolio.flows.embedding.budget import Budget, SharedBudget
from pgfolio.flows.embedding.embedder import Embedder
from pgfolio.flows.embedding.turns import SharedTurns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from pgfolio.config.settings import Settings
    from pgfolio.flows.embedding.rate_limit import RateLimiter
    from pgfolio.schema.records import Space


@dataclass(frozen=True, slots=True)
class EmbedderPlan:
    """All that makes an embedder, in any process. `requests`: how many this process may have under way; 0: as many as
    its processes and others may together, who take turns."""

    settings: Settings
    conninfo: str
    space: Space
    run_id: int | None
    max_cost: float | None = None
    requests: int | None = None

    @property
    def is_metered(self) -> bool:
        """Whether it is a server that is asked, and maybe paid."""
        return self.space.asks_server

    @property
    def usd_per_million_tokens(self) -> float:
        return self.settings.prices.get(self.space.model, 0.0)

    @contextmanager
    def open(self) -> Iterator[Embedder]:
        """Raises ConfigError when something that it needs is not set."""
        from pgfolio.config.models.wordllama import bundled_tokenizer  # noqa: PLC0415 -- a no-op needs no model

        embedding = self.settings.embedding
        with ExitStack() as opened:
            embedder = Embedder(
                models.embedding_model(
                    self.settings,
                    self.space.provider,
                    self.space.model,
                    self.space.dimensions,
                    shorten=self.space.shortened,
                    tokenizer=bundled_tokenizer(),
                ),
                Bounds(embedding.batch_inputs, embedding.batch_tokens, embedding.deadline),
                rate_limiter=self._rate_limiter(opened),
                budget=self._budget(opened),
                turn=self._turn(opened),
                is_billed=self.is_metered,
            )
            try:
                yield embedder
            finally:
                embedder.stop()

    def _budget(self, opened: ExitStack) -> Budget:
        price = self.usd_per_million_tokens / 1_000_000
        if self.max_cost is None or not price or self.run_id is None:
            return Budget(price, self.max_cost)
        budget = SharedBudget(price, self.max_cost, self.conninfo, self.run_id)
        opened.callback(budget.close)
        return budget

    def _rate_limiter(self, opened: ExitStack) -> RateLimiter | None:
        """What keeps the run within the limits of its key; the local model has none."""
        if not self.is_metered:
            return None
        from pgfolio.flows.embedding.rate_limit import RateLimiter, SharedState, WindowLimits  # noqa: PLC0415 -- its library takes 14 ms to import

        embedding = self.settings.embedding
        limits = WindowLimits(
            embedding.requests_per_minute, embedding.tokens_per_minute, embedding.query_reserve
        )
        state = SharedState(self.conninfo, models.limits_name(self.settings, self.space.model))
        opened.callback(state.close)
        return RateLimiter(limits, state)

    def _turn(self, opened: ExitStack) -> Callable[[], AbstractContextManager[None]]:
        if not self.is_metered or self.requests is None:
            return nullcontext
        if self.requests:
            semaphore = Semaphore(self.requests)
            return lambda: cast("AbstractContextManager[None]", semaphore)
        turns = SharedTurns(self.conninfo, self.run_id or 0, self.settings.embedding.in_flight)
        opened.callback(turns.close)
        return turns.turn
