"""Keeps a stream of events alive while it has nothing to say: proxies cut connections that are silent for long."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

Event = TypeVar("Event")

HEARTBEAT_SECONDS: Final = 10.0
"""Of silence. Proxies wait for 30 to 60, some for 15."""


_CLOSING: Final[set[asyncio.Task[None]]] = set()


async def with_heartbeats(
    events: AsyncGenerator[Event], deadline: float, seconds: float = HEARTBEAT_SECONDS
) -> AsyncGenerator[Event | None]:
    """The events, and None whenever none came for so many seconds. Raises TimeoutError when time.perf_counter()
    reaches the deadline, and what the events raise. However it ends, they are closed."""
    coming: asyncio.Future[Event] | None = None
    try:
        while True:
            coming = asyncio.ensure_future(anext(events))
            while not coming.done():
                remaining = deadline - time.perf_counter()
                if remaining <= 0:
                    raise TimeoutError
                await asyncio.wait({coming}, timeout=min(seconds, remaining))
                if not coming.done() and remaining > seconds:
                    yield None
            try:
                event = coming.result()
            except StopAsyncIteration:
                return
            yield event
    finally:
        # In a task of its own: psycopg may take seconds to end a statement, and litestar's task group would cancel
        # whoever waits for that again and again.
        closing = asyncio.create_task(_close(events, coming))
        _CLOSING.add(closing)
        closing.add_done_callback(_CLOSING.discard)


async def _close(events: AsyncGenerator[Event], coming: asyncio.Future[Event] | None) -> None:
    if coming is not None:
        coming.cancel()
        await asyncio.gather(coming, return_exceptions=True)
    await events.aclose()
