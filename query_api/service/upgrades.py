"""Goes on in HTTP/1.1 where a client offers another protocol. httptools takes what follows such a request's head for
the other protocol's, so that its body was lost: of curl's `--http2`, and of Java's HttpClient, which offers HTTP/2
with every first request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

if TYPE_CHECKING:
    import asyncio

OFFERS: Final = {b"upgrade", b"http2-settings"}
"""Headers that offer another protocol."""


class UpgradeIgnoringParser:
    """httptools' parser, which reads a request that offers another protocol once more, without the offer."""

    def __init__(self, protocol: HttpToolsProtocol) -> None:
        self._protocol = protocol
        self._parser = httptools.HttpRequestParser(protocol)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._parser, name)

    def is_offered_another(self) -> bool:
        return bool(self._parser.should_upgrade()) and self._parser.get_method() != b"CONNECT"

    def feed_data(self, data: bytes) -> None:
        """Raises HttpParserError."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if not self.is_offered_another():
                raise
            head = self._head()
            self._parser = httptools.HttpRequestParser(self._protocol)
            self.feed_data(head + data[upgrade.args[0] :])

    def _head(self) -> bytes:
        version = self._parser.get_http_version().encode()
        lines = [b" ".join((self._parser.get_method(), self._protocol.url, b"HTTP/" + version))]
        lines += [name + b": " + value for name, value in self._protocol.headers if name not in OFFERS]
        return b"\r\n".join(lines) + b"\r\n\r\n"


class UpgradeIgnoringProtocol(HttpToolsProtocol):
    """uvicorn's, with that parser."""

    parser: UpgradeIgnoringParser  # type: ignore[assignment]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.parser = UpgradeIgnoringParser(self)
        super().connection_made(transport)

    def on_headers_complete(self) -> None:
        if not self.parser.is_offered_another():
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        if not self.parser.is_offered_another():
            super().on_message_complete()
