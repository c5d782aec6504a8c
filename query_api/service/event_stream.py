"""An answer of `POST /ask` as server-sent events: what there is of it, when it is there."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final

import msgspec
from litestar.response import ServerSentEvent, ServerSentEventMessage

from pgfolio.query_api.answering.records import Answer
from pgfolio.query_api.auth.caller import caller_of
from pgfolio.query_api.service.disconnect import unless_client_leaves
from pgfolio.query_api.service.heartbeat import HEARTBEAT_SECONDS, with_heartbeats
from pgfolio.query_api.service.problems import TookTooLongError, problem, trace_id
from pgfolio.query_api.service.requests import AnyRequest, services

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine

    from pgfolio.query_api.answering.records import AnswerRequest
    from pgfolio.query_api.service.contracts import AskAnswer

    Done = Callable[[Answer, AnswerRequest], Awaitable[AskAnswer]]
    """The whole answer, as a request that is not streamed gets it."""

TIME_SHARE: Final = 0.95
"""Of the time that a request may take, what a stream may take before it says that it took too long: later the
connection is cut."""


async def event_stream(
    request: AnyRequest, retrieving: Coroutine[Any, Any, AnswerRequest], done: Done, began: float
) -> ServerSentEvent:
    """The stream, once something was retrieved: what goes wrong before that is no stream yet, and raised. Where that
    takes longer than a stream may be silent, it begins without. `began` is a reading of time.perf_counter()."""
    retrieved = asyncio.ensure_future(retrieving)
    try:
        await unless_client_leaves(request, _wait(retrieved))
    except BaseException:
        retrieved.cancel()
        await asyncio.gather(retrieved, return_exceptions=True)
        raise
    if retrieved.done():
        retrieved.result()
    return ServerSentEvent(_messages(request, retrieved, done, began))


async def _wait(retrieved: asyncio.Future[AnswerRequest]) -> None:
    await asyncio.wait({retrieved}, timeout=HEARTBEAT_SECONDS)


async def _messages(
    request: AnyRequest, retrieved: asyncio.Future[AnswerRequest], done: Done, began: float
) -> AsyncGenerator[ServerSentEventMessage]:
    """`sources`, then `token`s, then `citation`s, `done` with the whole answer; or `error`. Comments in silence."""
    timeout = services(request).retriever.settings.api.timeout
    if not retrieved.done():
        yield HEARTBEAT
    try:
        events = with_heartbeats(_events(request, retrieved, done), began + timeout * TIME_SHARE)
        async with aclosing(events):
            async for event in events:
                yield event or HEARTBEAT
    except TimeoutError:
        yield _message("error", problem(TookTooLongError(timeout), request.scope)[0])
    except Exception as error:  # noqa: BLE001 -- the status line is sent already
        yield _message("error", problem(error, request.scope)[0])


async def _events(
    request: AnyRequest, retrieved: asyncio.Future[AnswerRequest], done: Done
) -> AsyncGenerator[ServerSentEventMessage]:
    answer_request = await retrieved  # which is cancelled with this
    yield _message("sources", answer_request.sources)
    try:
        async with aclosing(services(request).answerer.stream(answer_request)) as events:
            async for event in events:
                if isinstance(event, str):
                    yield _message("token", {"text": event})
                elif isinstance(event, Answer):
                    yield _message("done", await done(event, answer_request))
                else:
                    yield _message("citation", event)
    finally:
        caller, trace = caller_of(request.scope), answer_request.retrieved.trace
        request.app.state.traces.add(trace_id(request.scope), "ask", caller, trace)


HEARTBEAT: Final = ServerSentEventMessage(data=None, comment="at work")


def _message(name: str, data: Any) -> ServerSentEventMessage:
    return ServerSentEventMessage(data=msgspec.json.encode(data).decode(), event=name)
