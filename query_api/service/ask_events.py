"""An answer of `POST /ask` as server-sent events: what there is of it, when it is there."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import msgspec
from litestar.response import ServerSentEventMessage

from pgfolio.query_api.answering.records import Answer
from pgfolio.query_api.service.event_stream import answer_events
from pgfolio.query_api.service.links import linked

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from pgfolio.query_api.answering.records import AnswerRequest
    from pgfolio.query_api.service.contracts import AskAnswer, ProblemDetails
    from pgfolio.query_api.service.requests import AnyRequest

    Done = Callable[[Answer, AnswerRequest], Awaitable[AskAnswer]]
    """The whole answer, as a request that is not streamed gets it."""


async def ask_events(
    request: AnyRequest, answer_request: AnswerRequest, done: Done, base: str
) -> AsyncGenerator[ServerSentEventMessage]:
    """`sources`, then `token`s, then `citation`s, `done` with the whole answer. `base`: of links."""
    yield _message("sources", answer_request.sources)
    async with aclosing(answer_events(request, answer_request)) as events:
        async for event in events:
            if isinstance(event, str):
                yield _message("token", {"text": event})
            elif isinstance(event, Answer):
                yield _message("done", await done(event, answer_request))
            else:
                yield _message("citation", linked(event, base))


def error_event(details: ProblemDetails) -> ServerSentEventMessage:
    """`error`, the last one."""
    return _message("error", details)


def _message(name: str, data: Any) -> ServerSentEventMessage:
    return ServerSentEventMessage(data=msgspec.json.encode(data).decode(), event=name)
