"""Around every request, also those that no route answers: its end within a set time, room for its body, its line in
the log, its numbers in the metrics; HEAD, wherever there is GET."""

from __future__ import annotations

import asyncio
import re
import time
from math import ceil
from typing import TYPE_CHECKING, Any, Final

from litestar.enums import HttpMethod, ScopeType

from pgfolio.config import telemetry
from pgfolio.query_api.observability import metrics, timings
from pgfolio.query_api.service.body_budget import MAX_BODIES_MB, BodyBudget
from pgfolio.query_api.service.problems import TookTooLongError, encoded_problem, problem, trace_id
from pgfolio.schema.search.turns import begin_visit

if TYPE_CHECKING:
    from litestar.types import ASGIApp, HTTPScope, Message, Receive, ReceiveMessage, Scope, Send

    from pgfolio.config.settings import Api
    from pgfolio.query_api.observability.request_log import RequestLog

UPLOAD_PATH: Final = "/documents"
"""Where pushes are sent to, which are kept on disk while they come."""

UNLOGGED_ROUTES: Final = {"/health/live", "/health/ready", "/metrics"}
"""Requested every few seconds: logged only when they fail."""

END_SECONDS: Final = 0.2
"""What a request that took too long is given to end by itself."""

TRACEPARENT: Final = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
"""W3C traceparent. Its trace id is logged; ours stays ours, since a client could choose another's."""


class RequestObserver:
    """An ASGI application around another one."""

    def __init__(self, app: ASGIApp, log: RequestLog, api: Api) -> None:
        self._app = app
        self._log = log
        self._timeout = api.timeout
        self._ending: set[asyncio.Future[None]] = set()
        self._uploads = BodyBudget(max(api.max_uploads_mb, ceil(api.max_push_mb)))
        self._others = BodyBudget(MAX_BODIES_MB)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        if not telemetry.is_on():
            await self._observe(scope, receive, send)
            return
        with telemetry.span(scope["method"], kind="SERVER", carrier=_carrier(scope)) as span:
            route, status = await self._observe(scope, receive, send)
            attributes = {
                "http.route": route,
                "http.request.method": scope["method"],
                "pgfolio.trace_id": trace_id(scope),
            }
            telemetry.end_server_span(span, f"{scope['method']} {route}", status, attributes)

    async def _observe(self, scope: HTTPScope, receive: Receive, send: Send) -> tuple[str, int]:
        """The route that answered, and the status that was sent."""
        began, record, answer = time.perf_counter(), timings.begin(), _ResponseSender(send)
        begin_visit()
        method = scope["method"]
        if method == HttpMethod.HEAD:  # the server sends no body after the headers of the GET
            scope = {**scope, "method": HttpMethod.GET.value}
        budget, taken = self._uploads if scope["path"] == UPLOAD_PATH else self._others, 0

        async def receive_message() -> ReceiveMessage:
            nonlocal taken
            message = await receive()
            answer.client_left |= message["type"] == "http.disconnect"
            if message["type"] == "http.request" and (size := len(message["body"])):
                budget.take(size)
                taken += size
            return message

        work = asyncio.ensure_future(self._app(scope, receive_message, answer))
        try:
            await asyncio.wait({work}, timeout=self._timeout)
            if work.done():
                work.result()
            else:
                await self._end(work, answer, scope)
        finally:
            if not work.done():
                work.cancel()
            budget.give_back(taken)
            self._report(scope, method, answer.status, time.perf_counter() - began, record)
        return scope.get("path_template") or "unmatched", answer.status

    async def _end(self, work: asyncio.Future[None], answer: _ResponseSender, scope: Scope) -> None:
        """Answers that it took too long. What is cancelled may take its time: psycopg waits 5 s for a database that
        stands still."""
        work.cancel()
        self._ending.add(work)
        work.add_done_callback(self._ended)
        await asyncio.wait({work}, timeout=END_SECONDS)
        await answer.end(TookTooLongError(self._timeout), scope)
        answer.ended = True

    def _ended(self, work: asyncio.Future[None]) -> None:
        self._ending.discard(work)
        if not work.cancelled():
            work.exception()  # nobody waits for it any more

    def _report(
        self, scope: HTTPScope, method: str, status: int, seconds: float, record: timings.RequestRecord
    ) -> None:
        route = scope.get("path_template") or "unmatched"
        metrics.observe(method, route, status, seconds, record)
        if route in UNLOGGED_ROUTES and status == 200:
            return
        line: dict[str, Any] = {
            "trace_id": trace_id(scope),
            "method": method,
            "route": route,
            "status": status,
            "ms": round(seconds * 1000, 2),
        }
        line |= {f"{name}_ms": round(took * 1000, 2) for name, took in record.seconds.items()}
        caller = scope["state"].get("caller")
        if caller is not None and caller.key is not None:
            line["key"] = caller.key
        if parent := _parent(scope):
            line["parent"] = parent
        if record.fault and status != 499:
            line["fault"] = record.fault
        self._log.add(**line)


class _ResponseSender:
    """Passes on what is sent, and knows whether anything was."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.client_left = False
        self.ended = False
        self.status = 499
        """As long as nothing is sent: the client was gone before."""

    async def __call__(self, message: Message) -> None:
        if self.ended:
            return
        if message["type"] == "http.response.start" and not self.client_left:
            self.status = message["status"]
        await self._send(message)

    async def end(self, error: Exception, scope: Scope) -> None:
        """Answer with a problem. An answer that has begun is broken off by the server instead."""
        if self.status != 499:
            return
        details, headers = problem(error, scope)
        fields = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        body, media_type = encoded_problem(details, scope)
        fields += [(b"content-type", media_type.encode()), (b"content-length", str(len(body)).encode())]
        await self({"type": "http.response.start", "status": details.status, "headers": fields})
        await self({"type": "http.response.body", "body": body, "more_body": False})


def _carrier(scope: Scope) -> dict[str, str]:
    """Of its headers those that say to which trace a request belongs."""
    names = (b"traceparent", b"tracestate")
    return {name.decode(): value.decode("latin-1") for name, value in scope["headers"] if name in names}


def _parent(scope: Scope) -> str | None:
    for name, value in scope["headers"]:
        if name == b"traceparent" and (match := TRACEPARENT.fullmatch(value)):
            return match[1].decode()
    return None
