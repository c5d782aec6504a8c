"""A client that offers another protocol is served in this one, with its body."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import httpx

BODY = b'{"query": "how is a failed task retried"}'
OFFERS = {
    "curl": b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n",
    "TLS": b"Connection: keep-alive, Upgrade\r\nUpgrade: TLS/1.2\r\n",
    "WebSocket": b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
    "nothing": b"",
}
LENGTH = b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
LIVE = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize("pause", [0.0, 0.05])
@pytest.mark.parametrize("rest", [LENGTH, CHUNKED], ids=["length", "chunked"])
@pytest.mark.parametrize("offer", OFFERS.values(), ids=OFFERS)
def test_a_request_that_offers_another_protocol_is_answered(
    api: httpx.Client, offer: bytes, rest: bytes, pause: float
) -> None:
    """And so is the next one on the same connection."""
    head = b"POST /search HTTP/1.1\r\nHost: localhost\r\n" + offer
    with socket.create_connection((api.base_url.host, api.base_url.port or 0), timeout=10) as connection:
        for part in (head[:30], head[30:] + rest[:40], rest[40:]) if pause else (head + rest,):
            connection.sendall(part)
            time.sleep(pause)
        connection.sendall(LIVE)
        with connection.makefile("rb") as answers:
            received = answers.read()
    assert received.count(b"HTTP/1.1 200 OK\r\n") == 2
    assert received.count(b"HTTP/1.1 ") == 2
    assert b'"total_returned":' in received


def test_a_tunnel_is_no_service_of_ours(api: httpx.Client) -> None:
    with socket.create_connection((api.base_url.host, api.base_url.port or 0), timeout=10) as connection:
        connection.sendall(b"CONNECT localhost:5432 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b" 200 " not in connection.recv(10_000)[:20]
    assert api.get("/health/live").status_code == 200
