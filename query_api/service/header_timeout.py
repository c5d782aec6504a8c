"""How long a client may take to send a request's head: uvicorn waits for one for ever, and some hundred clients that
send a byte now and then would hold all its connections."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pgfolio.query_api.service.upgrades import UpgradeIgnoringProtocol

if TYPE_CHECKING:
    import asyncio

HEADER_SECONDS: Final = 5.0
"""Seconds from the connection, or from a request's first byte, to the end of its head."""


class HeaderTimeoutProtocol(UpgradeIgnoringProtocol):
    """uvicorn's, with that bound. What follows the head, body and answer, has `api.timeout`."""

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._begin()

    def on_message_begin(self) -> None:
        self._begin()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._end()
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        """Who was refused in the middle of a body may end it, but not send a byte now and then for ever."""
        super().on_response_complete()
        if self.cycle is not None and self.cycle.response_complete and self.cycle.more_body:
            self._begin()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end()
        super().connection_lost(exc)

    def _begin(self) -> None:
        self._end()
        self._timer = self.loop.call_later(HEADER_SECONDS, self._expire)

    def _expire(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()
        else:  # a head that came too early: the answer under way is not cut
            self._begin()

    def _end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
