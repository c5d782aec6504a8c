"""Who may use the database: as many requests at once as there are connections, the others in the order in which they
came. That a connection is missing then tells of the database, and that a turn is, of the load.

Who has begun goes on before others begin: an answer takes several turns, and what is half done takes memory.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from pgfolio.schema.database.errors import DatabaseError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

FIRST_ESTIMATE_SECONDS: Final = 0.05
SMOOTHING: Final = 0.05
"""How much the latest beginning counts in the time between two."""

MARGIN: Final = 1.5
"""What is promised shall be true also where it goes on slower than until now."""

Queue: TypeAlias = "OrderedDict[asyncio.Future[None], None]"


class BusyError(DatabaseError):
    """So many requests wait for their turn already, or this one has waited for so long, that it is turned away.
    `retry_after`: seconds after which those that wait now and those turned away before have had theirs."""

    def __init__(self, retry_after: float) -> None:
        super().__init__(
            "more requests wait for the database than it can answer soon: come again after the seconds in Retry-After"
        )
        self.retry_after = retry_after


@dataclass(slots=True)
class Visit:
    """One request, as far as turns are concerned."""

    has_begun: bool = False


_VISIT: ContextVar[Visit | None] = ContextVar("visit", default=None)


def begin_visit() -> None:
    """A request begins in this task; tasks that it starts belong to it."""
    _VISIT.set(Visit())


class Turns:
    """So many at once. At most `max_waiting` wait to begin (0: any number), each at most so many `seconds` (0: for
    ever)."""

    def __init__(self, size: int, max_waiting: int = 0, seconds: float = 0) -> None:
        self._free = size
        self._max_waiting = max_waiting
        self._seconds = seconds or None
        self._going_on: Queue = OrderedDict()
        self._beginning: Queue = OrderedDict()
        self._seconds_each = FIRST_ESTIMATE_SECONDS
        self._last_began: float | None = None
        self._promised = 0.0

    @property
    def waiting(self) -> int:
        return len(self._going_on) + len(self._beginning)

    @asynccontextmanager
    async def turn(self, *, urgent: bool = False) -> AsyncIterator[None]:
        """Inside it is one's turn; what is `urgent` is waited for by all others. Raises BusyError, and DatabaseError
        after `fail`."""
        visit = _VISIT.get() or Visit()
        await self._begin(self._going_on if urgent or visit.has_begun else self._beginning)
        visit.has_begun = True
        try:
            yield
        finally:
            self._end()

    def fail(self, message: str) -> None:
        """There is no use in waiting any longer."""
        for queue in (self._going_on, self._beginning):
            while queue:
                waiter, _ = queue.popitem()
                if not waiter.done():
                    waiter.set_exception(UnreachableError(message))

    async def _begin(self, queue: Queue) -> None:
        if self._free:
            self._free -= 1
            return
        if queue is self._beginning and 0 < self._max_waiting <= len(queue):
            raise BusyError(self._promise())
        waiter = asyncio.get_running_loop().create_future()
        queue[waiter] = None
        try:
            async with asyncio.timeout(self._seconds):
                await waiter
        except BaseException as error:
            queue.pop(waiter, None)
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._end()  # it came in the same moment
            if isinstance(error, TimeoutError):
                raise BusyError(self._promise()) from error
            raise

    def _end(self) -> None:
        """The turn is the next one's."""
        for queue in (self._going_on, self._beginning):
            while queue:
                waiter, _ = queue.popitem(last=False)
                if waiter.done():  # it is leaving
                    continue
                if queue is self._beginning:
                    self._measure()
                waiter.set_result(None)
                return
        self._free += 1
        self._last_began = None

    def _measure(self) -> None:
        now = time.monotonic()
        if self._last_began is not None:
            self._seconds_each += SMOOTHING * (now - self._last_began - self._seconds_each)
        self._last_began = now

    def _promise(self) -> float:
        """Each gets a moment of its own, and no more the same second than may wait: if all came again at once, most
        would be turned away again."""
        now, each = time.monotonic(), MARGIN * max(self._seconds_each, 1 / (self._max_waiting or 1000))
        self._promised = max(self._promised, now + len(self._beginning) * each) + each
        return self._promised - now
