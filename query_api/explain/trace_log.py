"""Keeps traces: gathered in memory, written a few times a second beside the requests, forgotten after a set time.

A request never waits for it. Where the database cannot be reached, or more comes than can be written, the oldest are
lost, and all where it takes no writes: an answer is worth more than its trace.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

import msgspec

from pgfolio.query_api.explain.explanation import MAX_STORED_CANDIDATES, explanation
from pgfolio.schema.database.errors import DatabaseError, NotPermittedError
from pgfolio.schema.operations import traces as stored

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pgfolio.config.settings import Traces
    from pgfolio.query_api.auth.caller import Caller
    from pgfolio.query_api.background import Supervisor
    from pgfolio.query_api.retrieval.trace import Trace
    from pgfolio.schema.database.connect import AsyncConnection

WRITE_SECONDS: Final = 0.25
TIMEOUT_SECONDS: Final = 5.0
MAX_WAITING_TRACES: Final = 2000
"""Traces that wait to be written."""

BATCH_SIZE: Final = 10
"""Traces that are made ready at once, 0.1 ms each, in which no request is answered."""

EXPIRY_SECONDS: Final = 600.0
"""Between two looks for expired traces."""


class TraceLog:
    """Used by one event loop."""

    def __init__(self, conninfo: str, settings: Traces) -> None:
        self._conninfo = conninfo
        self._settings = settings
        self._waiting: deque[tuple[str, str, Caller, Trace]] = deque(maxlen=MAX_WAITING_TRACES)
        self._writing: list[tuple[str, str, Caller, Trace]] = []
        self._written = asyncio.Condition()
        self._expired_at = float("-inf")

    def add(self, trace_id: str, kind: str, caller: Caller, trace: Trace) -> None:
        if self._settings.keep_days:
            self._waiting.append((trace_id, kind, caller, trace))

    async def wait_until_written(self) -> None:
        """Return when what was added until now is written, or after a second."""
        with suppress(TimeoutError):
            async with asyncio.timeout(1.0), self._written:
                await self._written.wait_for(lambda: not (self._waiting or self._writing))

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[AsyncConnection]:
        """One to write with. Raises DatabaseError."""
        self._expired_at = float("-inf")  # expiring shows whether anything can be written at all
        try:
            async with stored.traces_connection(self._conninfo, TIMEOUT_SECONDS) as connection:
                yield connection
        except NotPermittedError:
            self._waiting.clear()
            raise

    async def write(self, connection: AsyncConnection) -> None:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while self._waiting:
                await self._write_some(connection)
            is_due = time.monotonic() - self._expired_at > EXPIRY_SECONDS
            limits = self._settings.keep_days, self._settings.keep_most
            if is_due and await stored.expire(connection, *limits):
                self._expired_at = time.monotonic()
        async with self._written:
            self._written.notify_all()

    async def _write_some(self, connection: AsyncConnection) -> None:
        """The oldest. They wait on where this is ended in the middle; to write one twice does no harm."""
        self._writing = [self._waiting.popleft() for _ in range(min(BATCH_SIZE, len(self._waiting)))]
        try:
            rows = [self._row(*trace_args) for trace_args in self._writing]
            await stored.add(connection, [trace_args for trace_args in rows if trace_args is not None])
        except asyncio.CancelledError:
            self._waiting.extendleft(reversed(self._writing))
            raise
        finally:
            self._writing = []

    def _row(self, trace_id: str, kind: str, caller: Caller, trace: Trace) -> stored.StoredTrace | None:
        """None: a model server sent what is no text, such as half of a surrogate pair, and it stands in the trace."""
        explained = explanation(
            trace, kind, max_candidates=MAX_STORED_CANDIDATES, with_query=self._settings.keep_queries
        )
        try:
            record = msgspec.json.encode(explained).decode()
        except UnicodeEncodeError:
            return None
        return stored.StoredTrace(trace_id, trace.began, kind, caller.key, caller.permitted, record)


@asynccontextmanager
async def open_traces(
    conninfo: str, settings: Traces, supervisor: Supervisor, *, read_only: bool = False
) -> AsyncIterator[TraceLog]:
    """Traces that are written until the end; what waits then is written last. `read_only`: none is written."""
    log = TraceLog(conninfo, settings.model_copy(update={"keep_days": 0}) if read_only else settings)
    if read_only:
        yield log
        return
    effect = "how answers are found is not written, and cannot be asked for later"
    try:
        async with supervisor.running("traces", effect, log.connection, log.write, WRITE_SECONDS):
            yield log
    finally:
        with suppress(DatabaseError, TimeoutError):
            async with log.connection() as connection:
                await log.write(connection)
