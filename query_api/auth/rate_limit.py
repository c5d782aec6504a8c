"""How many requests a minute each caller may make: pyrate_limiter's GCRA, which keeps one number for each.

Per process: with several workers a caller whose connections are spread over all of them gets as many times more.
"""

from __future__ import annotations

import time
from typing import Final, cast

from cachetools import LRUCache
from pyrate_limiter import GCRA, Decision, Duration, InMemoryStateStore, Rate

MAX_CALLERS: Final = 10_000
"""Callers that are remembered; the one that came least recently is forgotten first."""


class CallerRateLimiter:
    """So many requests a minute, all of which may come at once. 0: no limit."""

    def __init__(self, per_minute: int) -> None:
        self._rates = [Rate(per_minute, Duration.MINUTE)] if per_minute else []
        self._states: LRUCache[str, InMemoryStateStore] = LRUCache(MAX_CALLERS)

    def retry_after(self, caller: str) -> float:
        """Counts a request and returns 0.0, or the seconds after which the caller may come again."""
        if not self._rates:
            return 0.0
        state = self._states.setdefault(caller, InMemoryStateStore())
        now = time.monotonic_ns() // 1_000_000
        decision = cast("Decision", state.check(GCRA(), self._rates, now, 1))  # type: ignore[no-untyped-call]
        return 0.0 if decision.allowed else max(decision.retry_after_ms or 1, 1) / 1000
