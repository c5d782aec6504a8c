"""Which item is next, and whether there is room for it among those that are worked on."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Generic

from pgfolio.flows.execution.job import MAX_WEIGHT, ItemT

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pgfolio.flows.execution.job import Job, ResultT

MAX_DEATHS = 2
"""So many workers may end over an item before its parts are tried apart, and a smallest one is tried alone: until
then it may be another's doing, that the same worker had."""


class Ticket(Generic[ItemT]):
    """An item, how heavy it is, and how many workers have ended over it."""

    __slots__ = ("deaths", "item", "weight")

    def __init__(self, item: ItemT, weight: int, deaths: int = 0) -> None:
        self.item = item
        self.weight = weight
        self.deaths = deaths


class Items(Generic[ItemT]):
    """Hands out items; those of a worker that ended come again, before others."""

    def __init__(self, job: Job[ItemT, ResultT], items: Iterable[ItemT]) -> None:
        self._job = job
        self._items = iter(items)
        self._again: deque[Ticket[ItemT]] = deque()
        self._to_try_alone: deque[Ticket[ItemT]] = deque()
        self._is_alone = False
        self._next: Ticket[ItemT] | None = None
        self._weight = 0
        self._out = 0

    def take(self) -> Ticket[ItemT] | None:
        """None: there is none, or it is too heavy now."""
        if self._is_alone or (self._to_try_alone and self._out):
            return None
        if self._to_try_alone:
            self._is_alone = True
            return self._given(self._to_try_alone.popleft())
        if self._next is None:
            self._next = self._again.popleft() if self._again else self._fresh()
        ticket = self._next
        if ticket is None or (self._out and self._weight + ticket.weight > MAX_WEIGHT):
            return None
        self._next = None
        return self._given(ticket)

    def _given(self, ticket: Ticket[ItemT]) -> Ticket[ItemT]:
        self._out += 1
        self._weight += ticket.weight
        return ticket

    def done(self, ticket: Ticket[ItemT]) -> None:
        self._is_alone = False
        self._out -= 1
        self._weight -= ticket.weight

    def lost(self, ticket: Ticket[ItemT], deaths: int = 1) -> ItemT | None:
        """So many workers ended over it. Returns an item that is to be given up."""
        was_alone = self._is_alone
        self.done(ticket)
        ticket.deaths += deaths
        if was_alone:
            return ticket.item
        if ticket.deaths < MAX_DEATHS:
            self._again.append(ticket)
        elif parts := self._job.parts(ticket.item):
            self._again.extend(Ticket(part, self._job.weight(part)) for part in parts)
        else:
            self._to_try_alone.append(ticket)
        return None

    @property
    def outstanding(self) -> int:
        return self._out

    def _fresh(self) -> Ticket[ItemT] | None:
        for item in self._items:
            return Ticket(item, self._job.weight(item))
        return None
