"""Keeps what a run pays for within what it may cost: set apart before a request, billed after it, or given back. In
one process, or over all workers of a run."""

from __future__ import annotations

import math
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from threading import Condition, Lock
from typing import TYPE_CHECKING, Final

from pgfolio.schema.database.connect import connect
from pgfolio.schema.operations import budgets

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgfolio.schema.database.connect import Connection

DECAY_FRACTION: Final = 0.1
"""How fast a high bill for few tokens is forgotten; a higher one counts at once."""

POLL_SECONDS: Final = 0.02
"""Between two looks whether the first bill of a run is there."""


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
            self._admit(self.tokens + self._reserved + tokens)
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

    def _admit(self, tokens: int) -> None:
        """Raises BudgetSpentError when the run may not pay for so many."""
        if self._spent + tokens * self._price > self._max_cost:
            raise BudgetSpentError(f"the next batch would cost more than the ${self._max_cost:.2f} allowed")

    def _learn(self, bill: Bill) -> None:
        if bill.tokens and bill.counted:
            ratio = bill.tokens / bill.counted
            learned = self.billed_per_counted
            self.billed_per_counted = (
                ratio if ratio > learned else learned + (ratio - learned) * DECAY_FRACTION
            )
            self._learned = True


class SharedBudget(Budget):
    """Of all workers of a run: what each may still spend is decided in PostgreSQL. `tokens` and `cost` are this
    worker's. Opens its connection at the first request."""

    def __init__(self, price: float, max_cost: float, conninfo: str, run_id: int) -> None:
        super().__init__(price, max_cost)
        self._conninfo = conninfo
        self._run_id = run_id
        self._turn = Lock()
        self._opened = ExitStack()
        self._connection: Connection | None = None

    @contextmanager
    def reserved(self, tokens: int) -> Iterator[Bill]:
        while (reservation := self._reserve(tokens)) is None:
            time.sleep(POLL_SECONDS)
        bill = Bill()
        try:
            yield bill
        finally:
            self._bill(reservation, bill)

    def close(self) -> None:
        with self._turn:
            self._opened.close()
            self._connection = None

    def _reserve(self, tokens: int) -> int | None:
        """None: somebody's first bill is waited for."""
        with self._turn, self._open().transaction():
            spent = budgets.lock(self._open(), self._run_id)
            self.billed_per_counted = spent.billed_per_counted
            if not (spent.learned or self._learned) and spent.awaited:
                return None
            self._admit(spent.tokens + spent.reserved + tokens)
            return budgets.reserve(self._open(), self._run_id, tokens)

    def _bill(self, reservation: int, bill: Bill) -> None:
        with self._turn, self._open().transaction():
            spent = budgets.lock(self._open(), self._run_id)
            self.tokens += bill.tokens
            self.billed_per_counted = spent.billed_per_counted
            self._learn(bill)
            budgets.bill(
                self._open(),
                self._run_id,
                reservation,
                bill.tokens,
                billed_per_counted=self.billed_per_counted,
                learned=bool(bill.tokens and bill.counted),
            )

    def _open(self) -> Connection:
        if self._connection is None:
            self._connection = self._opened.enter_context(connect(self._conninfo, autocommit=True))
            budgets.make(self._connection, self._run_id)
        return self._connection
