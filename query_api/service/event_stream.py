"""A stream of server-sent events: what every door that streams has in common. It begins once what it is made of is
there or takes long, has comments in silence, an end in time, and its own event for what goes wrong."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final, TypeVar

from litestar.response import ServerSentEvent, ServerSentEventMessage

from pgfolio.query_api.auth.caller import caller_of
from pgfolio.query_api.service.disconnect import unless_client_leaves
from pgfolio.query_api.service.heartbeat import HEARTBEAT_SECONDS, with_heartbeats
from pgfolio.query_api.service.problems import TookTooLongError, problem, trace_id
from pgfolio.query_api.service.requests import AnyRequest, services

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine

    from pgfolio.query_api.answering.answerer import Event
    from pgfolio.query_api.answering.records import AnswerRequest
    from pgfolio.query_api.service.contracts import ProblemDetails

Opened = TypeVar("Opened")
"""What a stream is made of, such as a question with what was retrieved for it."""

TIME_SHARE: Final = 0.95
"""Of the time that a request may take, what a stream may take before it says that it took too long: later the
connection is cut."""

HEARTBEAT: Final = ServerSentEventMessage(data=None, comment="at work")


async def event_stream(
    request: AnyRequest,
    opening: Coroutine[Any, Any, Opened],
    encode: Callable[[Opened], AsyncGenerator[ServerSentEventMessage]],
    failed: Callable[[ProblemDetails], ServerSentEventMessage],
    began: float,
    headers: dict[str, str] | None = None,
) -> ServerSentEvent:
    """The stream, once it is opened: what goes wrong before that is no stream yet, and raised. Where that takes
    longer than a stream may be silent, it begins without. `began` is a reading of time.perf_counter()."""
    opened = asyncio.ensure_future(opening)
    try:
        await unless_client_leaves(request, _wait(opened))
    except BaseException:
        opened.cancel()
        await asyncio.gather(opened, return_exceptions=True)
        raise
    if opened.done():
        opened.result()
    return ServerSentEvent(_messages(request, opened, encode, failed, began), headers=headers)


async def answer_events(request: AnyRequest, answer_request: AnswerRequest) -> AsyncGenerator[Event]:
    """An answer in pieces. However it ends, the trace log knows how it was found."""
    try:
        async with aclosing(services(request).answerer.stream(answer_request)) as events:
            async for event in events:
                yield event
    finally:
        caller, trace = caller_of(request.scope), answer_request.retrieved.trace
        request.app.state.traces.add(trace_id(request.scope), "ask", caller, trace)


async def _wait(opened: asyncio.Future[Any]) -> None:
    await asyncio.wait({opened}, timeout=HEARTBEAT_SECONDS)


async def _messages(
    request: AnyRequest,
    opened: asyncio.Future[Opened],
    encode: Callable[[Opened], AsyncGenerator[ServerSentEventMessage]],
    failed: Callable[[ProblemDetails], ServerSentEventMessage],
    began: float,
) -> AsyncGenerator[ServerSentEventMessage]:
    timeout = services(request).retriever.settings.api.timeout
    if not opened.done():
        yield HEARTBEAT
    try:
        events = with_heartbeats(_encoded(opened, encode), began + timeout * TIME_SHARE)
        async with aclosing(events):
            async for event in events:
                yield event or HEARTBEAT
    except TimeoutError:
        yield failed(problem(TookTooLongError(timeout), request.scope)[0])
    except Exception as error:  # noqa: BLE001 -- the status line is sent already
        yield failed(problem(error, request.scope)[0])


async def _encoded(
    opened: asyncio.Future[Opened], encode: Callable[[Opened], AsyncGenerator[ServerSentEventMessage]]
) -> AsyncGenerator[ServerSentEventMessage]:
    async with aclosing(encode(await opened)) as messages:  # which is cancelled with this
        async for message in messages:
            yield message
