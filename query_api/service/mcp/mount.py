"""`POST /mcp` in the API's process: streamable HTTP without sessions, so that any worker answers any request. The
guard lets in who comes, as everywhere; the SDK is loaded with the first request."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, cast

from litestar import Request, asgi
from litestar.exceptions import MethodNotAllowedException

from pgfolio.query_api.auth.caller import caller_of
from pgfolio.query_api.auth.guard import READ
from pgfolio.query_api.service.links import base_url
from pgfolio.query_api.service.mcp.tools import ToolContext
from pgfolio.query_api.service.problems import trace_id

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from litestar.types import Receive, Scope, Send
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

    from pgfolio.config.settings import Api
    from pgfolio.query_api.retrieval.trace import Trace

PATH: Final = "/mcp"
OWN_HOSTS: Final = ("127.0.0.1", "localhost", "[::1]")


class McpDoor:
    """The SDK's side of it, which lives in a task of its own from the first request until the API stops."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._starting = asyncio.Lock()
        self._stopping = asyncio.Event()
        self._manager: StreamableHTTPSessionManager | None = None
        self._running: asyncio.Task[None] | None = None

    async def manager(self) -> StreamableHTTPSessionManager:
        """Started when first asked for."""
        async with self._starting:
            if self._manager is None:
                manager = await asyncio.to_thread(_create_manager, self._api)
                started = asyncio.get_running_loop().create_future()
                self._running = asyncio.create_task(self._run(manager, started))
                await started
                self._manager = manager
            return self._manager

    async def stop(self) -> None:
        self._stopping.set()
        if self._running is not None:
            await asyncio.gather(self._running, return_exceptions=True)

    async def _run(self, manager: StreamableHTTPSessionManager, started: asyncio.Future[None]) -> None:
        async with manager.run():
            started.set_result(None)
            await self._stopping.wait()


@asynccontextmanager
async def open_mcp(api: Api) -> AsyncIterator[McpDoor]:
    """Closed with everything that it has under way."""
    door = McpDoor(api)
    try:
        yield door
    finally:
        await door.stop()


@asgi(PATH, opt=READ, copy_scope=True)
async def mcp(scope: Scope, receive: Receive, send: Send) -> None:
    """Without sessions there is nothing to GET or DELETE."""
    if scope.get("method") != "POST":
        raise MethodNotAllowedException(headers={"Allow": "POST"})
    door: McpDoor = scope["litestar_app"].state.mcp
    manager = await door.manager()
    await manager.handle_request(cast("Any", scope), cast("Any", receive), cast("Any", send))


def _create_manager(api: Api) -> StreamableHTTPSessionManager:
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager  # noqa: PLC0415 -- takes 0.6 s
    from mcp.server.transport_security import TransportSecuritySettings  # noqa: PLC0415

    from pgfolio.query_api.service.mcp.server import create_server  # noqa: PLC0415

    # Without names of its own the API answers to those that the guard lets through.
    hosts = [*api.allowed_hosts, *OWN_HOSTS] if api.allowed_hosts else []
    origins = [f"{scheme}://{host}" for scheme in ("http", "https") for host in hosts]
    return StreamableHTTPSessionManager(
        create_server(_context),
        stateless=True,
        security_settings=TransportSecuritySettings(
            enable_dns_rebinding_protection=bool(hosts) and "*" not in api.cors_origins,
            allowed_hosts=[*hosts, *(f"{host}:*" for host in hosts)],
            allowed_origins=[*api.cors_origins, *origins, *(f"{origin}:*" for origin in origins)],
        ),
        max_request_body_size=api.max_body_kb * 1024,
    )


def _context(starlette_request: Any) -> ToolContext:
    """For the caller whom the guard let in."""
    request: Request[Any, Any, Any] = Request(starlette_request.scope)
    state, caller = request.app.state, caller_of(request.scope)
    number = trace_id(request.scope)

    def record(kind: str, trace: Trace) -> None:
        state.traces.add(number, kind, caller, trace)

    base = base_url(request, state.services.retriever.settings.api.public_url)
    return ToolContext(state.services, caller.permitted, base, request.scope, record)
