"""Runs the API: binds the port, opens the database, serves until a signal stops it."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

import uvicorn

from pgfolio.config.environment import temporary_environment
from pgfolio.config.errors import UserError
from pgfolio.config.loading import load_settings
from pgfolio.query_api.service.app import create_app
from pgfolio.query_api.service.header_timeout import HeaderTimeoutProtocol
from pgfolio.query_api.services import open_services, replica_of
from pgfolio.schema.database.connect import connect_reading, database
from pgfolio.schema.operations.api_keys import require_key

if TYPE_CHECKING:
    from collections.abc import Callable

    from litestar import Litestar
    from litestar.types import Message, Receive, Scope, Send

    from pgfolio.config.settings import Settings

OPTIONS: Final[dict[str, Any]] = {
    "http": HeaderTimeoutProtocol,
    "ws": "none",
    "lifespan": "on",
    "log_level": "warning",
    "access_log": False,
    "server_header": False,
    # Longer than clients and proxies keep a connection that they do not use (httpx 5 s, load balancers 60): who sends
    # on one that the server closes in that moment gets an error.
    "timeout_keep_alive": 75,
    "proxy_headers": False,  # who a caller is, no header decides
    "timeout_graceful_shutdown": 10,  # seconds that requests under way get when the server is stopped
}


class ServeError(UserError):
    """The API cannot be served; the message says why and what to do."""


def serve(settings: Settings, host: str, port: int, workers: int, listening: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM; `listening` is told the URL. Raises ServeError, DatabaseError, ConfigError,
    NoKeyError, a ModelError before it listens."""
    settings = settings.model_copy(update={"api": settings.api.model_copy(update={"host": host})})
    with _bind(host, port) as listener, database(settings, pooled=True) as conninfo:
        with connect_reading(conninfo, replica_of(settings)) as connection:
            require_key(connection, host)
        asyncio.run(_check_startup(settings, conninfo))
        # uvicorn hands the signal that stopped it on to the handler before it: ours lets the database be left.
        for name in (signal.SIGINT, signal.SIGTERM):
            signal.signal(name, lambda *_: None)
        url = f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"
        if workers == 1:
            _run(create_app(settings, conninfo), listener, lambda: listening(url))
        else:
            listening(url)
            _run_workers(workers, listener, host)


class Worker:
    """One of several processes: the same application, with its own hold on the database."""

    def __init__(self) -> None:
        self._settings = load_settings()
        self._database = database(self._settings, pooled=True)
        self._app: Litestar | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._app is None:
            self._app = create_app(self._settings, self._database.__enter__())
        if str(scope["type"]) != "lifespan":
            await self._app(scope, receive, send)
            return

        async def send_after_startup(message: Message) -> None:
            if str(message["type"]) == "lifespan.startup.complete":
                _freeze_loaded()
            await send(message)

        try:
            await self._app(scope, receive, send_after_startup)
        finally:
            self._database.__exit__(None, None, None)


class _Server(uvicorn.Server):
    """Says when it listens."""

    def __init__(self, config: uvicorn.Config, listening: Callable[[], None]) -> None:
        super().__init__(config)
        self._listening = listening

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.started:
            _freeze_loaded()
            self._listening()


def _freeze_loaded() -> None:
    """Leave out of garbage collection what stays anyway: going through it held up all requests for 40 ms a time."""
    gc.collect()
    gc.freeze()


def _run(app: Litestar, listener: socket.socket, listening: Callable[[], None]) -> None:
    server = _Server(uvicorn.Config(app, **OPTIONS), listening)
    server.run(sockets=[listener])
    if not server.started:
        raise ServeError("the API did not start; its log above says why")


def _run_workers(workers: int, listener: socket.socket, host: str) -> None:
    """Each knows the address, which decides on who needs a key, and where all count together."""
    with (
        TemporaryDirectory(prefix="pgfolio-metrics-") as counts,
        temporary_environment(PGFOLIO_API__HOST=host, PROMETHEUS_MULTIPROC_DIR=counts),
    ):
        uvicorn.run(
            "pgfolio.query_api.service.server:Worker",
            factory=True,
            workers=workers,
            fd=listener.fileno(),
            **OPTIONS,
        )


def _bind(host: str, port: int) -> socket.socket:
    """Bound before anything slow begins, so that a port in use is reported at once."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise ServeError(
            f"cannot listen on {host}:{port}: {os.strerror(error.errno or 0)}; choose another with --port or "
            "PGFOLIO_API__PORT"
        ) from error
    # Connections inherit it. asyncio sets it only where a socket names its protocol, which create_server's do not:
    # each answer then waited 44 ms for the client's delayed acknowledgement.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


async def _check_startup(settings: Settings, conninfo: str) -> None:
    """Everything that the application opens, opened once, so that what is wrong is reported in a line."""
    async with open_services(settings, conninfo):
        pass
