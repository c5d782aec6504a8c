"""Ends the work for a request when its client leaves: litestar itself does so for streams only."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from pgfolio.query_api.service.requests import AnyRequest

Result = TypeVar("Result")


class ClientLeftError(Exception):
    """Nobody waits for the answer any more."""


async def unless_client_leaves(request: AnyRequest, work: Coroutine[Any, Any, Result]) -> Result:
    """What the work returns or raises. Raises ClientLeftError, with the work cancelled, when the client is gone."""
    working = asyncio.ensure_future(work)
    watching = asyncio.ensure_future(_client_left(request))
    try:
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise ClientLeftError
    finally:
        # Also where this is cancelled itself, by the timeout of requests: neither task may outlive it.
        working.cancel()
        watching.cancel()
        await asyncio.gather(working, watching, return_exceptions=True)


async def _client_left(request: AnyRequest) -> None:
    """The body is read by then: what comes next, at the latest with the answer, is that the client is gone."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
