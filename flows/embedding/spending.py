"""What embedding took and cost: of one embedder, or of those of several processes together."""

from __future__ import annotations

from dataclasses import dataclass, field

from pgfolio.flows.embedding.traffic import TrafficCounts


@dataclass(frozen=True, slots=True)
class Spending:
    """`tokens` as billed, and their price. `working`: seconds with a call under way; of these `rate_limited`: the
    rate limit held back what was ready to be sent; `retrying`: a failed request waited for its next attempt."""

    tokens: int = 0
    cost_usd: float = 0.0
    working: float = 0.0
    rate_limited: float = 0.0
    retrying: float = 0.0
    traffic: TrafficCounts = field(default_factory=TrafficCounts)

    def __add__(self, other: Spending) -> Spending:
        """Of processes that work at the same time: their seconds are the same ones."""
        return Spending(
            tokens=self.tokens + other.tokens,
            cost_usd=self.cost_usd + other.cost_usd,
            working=max(self.working, other.working),
            rate_limited=max(self.rate_limited, other.rate_limited),
            retrying=max(self.retrying, other.retrying),
            traffic=self.traffic + other.traffic,
        )
