"""Keeps background tasks going: one that fails takes nothing else with it, is tried again with growing pauses, logged
once and not once a round, and shown by /health/ready."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pgfolio.query_api.observability.request_log import fault_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

LOG = logging.getLogger("query_api")

MAX_PAUSE_SECONDS: Final = 4.0
"""The longest pause of a task that fails, unless its rounds are farther apart: the first is as long as one between
two rounds, and each is twice as long as the one before."""

STOP_SECONDS: Final = 1.0

REPEAT_SECONDS: Final = 600.0
"""Seconds after which the same fault of the same task is logged once more."""

Opened = TypeVar("Opened")


class Supervisor:
    """The background tasks of one event loop. `report` logs a task's name and its fault."""

    def __init__(self, report: Callable[[str, str], None] | None = None) -> None:
        self._report = report or _log
        self._failing: dict[str, str] = {}
        self._reported: dict[tuple[str, str], float] = {}

    @property
    def degraded(self) -> list[str]:
        """A sentence for each task that fails, with what does not happen meanwhile."""
        return [f"{name}: {effect}" for name, effect in sorted(self._failing.items())]

    @asynccontextmanager
    async def running(
        self,
        name: str,
        effect: str,
        opened: Callable[[], AbstractAsyncContextManager[Opened]],
        work: Callable[[Opened], Awaitable[Any]],
        seconds: float,
    ) -> AsyncIterator[None]:
        """Inside, `work` is done again and again, `seconds` apart, with what `opened` opens, which after a failure is
        opened anew. `effect`: what does not happen while that fails."""
        task = asyncio.create_task(self._keep(name, effect, opened, work, seconds), name=name)
        try:
            yield
        finally:
            while not task.done():  # what it waits for may turn a cancellation into an error of its own
                task.cancel()
                await asyncio.wait([task], timeout=STOP_SECONDS)

    async def _keep(
        self,
        name: str,
        effect: str,
        opened: Callable[[], AbstractAsyncContextManager[Opened]],
        work: Callable[[Opened], Awaitable[Any]],
        seconds: float,
    ) -> None:
        pause = seconds
        while True:
            try:
                async with opened() as resource:
                    while True:
                        await work(resource)
                        self._failing.pop(name, None)
                        pause = seconds
                        await asyncio.sleep(seconds)
            except Exception as error:  # noqa: BLE001 -- what nobody foresaw must not end it for good
                self._failed(name, effect, error)
            await asyncio.sleep(pause)
            pause = min(2 * pause, max(seconds, MAX_PAUSE_SECONDS))

    def _failed(self, name: str, effect: str, error: Exception) -> None:
        self._failing[name] = effect
        kind, now = (name, type(error.__cause__ or error).__qualname__), time.monotonic()
        if now - self._reported.get(kind, float("-inf")) > REPEAT_SECONDS:
            self._reported[kind] = now
            self._report(name, fault_of(error.__cause__ or error))


def _log(name: str, fault: str) -> None:
    LOG.error("%s: %s", name, fault)
