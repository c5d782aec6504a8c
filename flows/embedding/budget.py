"""Keeps what a run pays for within what it may cost: set apart before a request, billed after it, or given back."""

from __future__ import annotations

import math
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Condition
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

DECAY_FRACTION: Final = 0.1
"""How fast a high bill for few tokens is forgotten; a higher one counts at once."""


class BudgetSpentError(Exception):
    """The cost allowed for this run does not cover the next batch."""


@dataclass
class Bill:
    """What a request cost: `tokens` as billed; `counted` is our own count of them, 0 where it says nothing."""

    tokens: int = 0
    counted: int = 0


class Budget:
    """Tokens and their price. Safe to use from several threads."""

    def __init__(self, price: float, max_cost: float | None = None, spent: float = 0.0) -> None:
        """`price` is in US dollars for one token; `spent`, in US dollars, is a part of `max_cost`."""
        self.tokens = 0
        self.billed_per_counted = 1.0
        """The server counts with its own tokenizer; what it bills for a token of ours is learned."""
        self._price = price
        self._max_cost = math.inf if max_cost is None else max_cost
        self._spent = spent
        self._reserved = 0
        self._learned = not (price and max_cost is not None)
        """Until a first bill says what the server makes of a token of ours, what is limited goes one by one."""
        self._lock = Condition()

    @property
    def cost(self) -> float:
        return self.tokens * self._price

    def estimate(self, counted: int) -> int:
        """What will be billed for so many tokens of ours."""
        return math.ceil(counted * self.billed_per_counted)

    @contextmanager
    def reserved(self, tokens: int) -> Iterator[Bill]:
        """Set apart what a request may cost while it is under way; at its end the bill that it filled in counts.

        Raises BudgetSpentError when it is not covered.
        """
        with self._lock:
            self._lock.wait_for(lambda: self._learned or not self._reserved)
            if self._spent + (self.tokens + self._reserved + tokens) * self._price > self._max_cost:
                raise BudgetSpentError(
                    f"the next batch would cost more than the ${self._max_cost:.2f} allowed"
                )
            self._reserved += tokens
        bill = Bill()
        try:
            yield bill
        finally:
            with self._lock:
                self._reserved -= tokens
                self.tokens += bill.tokens
                self._learn(bill)
                self._lock.notify_all()

    def _learn(self, bill: Bill) -> None:
        if bill.tokens and bill.counted:
            ratio = bill.tokens / bill.counted
            learned = self.billed_per_counted
            self.billed_per_counted = (
                ratio if ratio > learned else learned + (ratio - learned) * DECAY_FRACTION
            )
            self._learned = True
