"""Ends the work for a request when its client leaves: litestar itself does so for streams only."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from pgfolio.query_api.service.requests import AnyRequest

Result = TypeVar("Result")


UNWATCHED_SECONDS = 0.05
"""Work that takes no longer is not watched: that would cost a search a tenth of a millisecond."""


class ClientLeftError(Exception):
    """Nobody waits for the answer any more."""


async def unless_client_leaves(request: AnyRequest, work: Coroutine[Any, Any, Result]) -> Result:
    """What the work returns or raises. Raises ClientLeftError, with the work cancelled, when the client is gone."""
    working = asyncio.ensure_future(work)
    try:
        await asyncio.wait({working}, timeout=UNWATCHED_SECONDS)
        if not working.done():
            await _watched(request, working)
        return working.result()
    finally:
        # Also where this is cancelled itself, by the timeout of requests: no task may outlive it.
        if not working.done():
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)


async def _watched(request: AnyRequest, working: asyncio.Future[Any]) -> None:
    watching = asyncio.ensure_future(_client_left(request))
    try:
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientLeftError
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


async def _client_left(request: AnyRequest) -> None:
    """The body is read by then: what comes next, at the latest with the answer, is that the client is gone."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
