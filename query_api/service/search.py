"""`POST /search` and `POST /ask`: a question in, passages or an answer out, as JSON or as a stream."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from litestar import post
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Example, Operation
from litestar.params import Body
from litestar.response import Response, ServerSentEvent, ServerSentEventMessage

from pgfolio.query_api.answering.answerer import Answer
from pgfolio.query_api.auth.caller import caller_of
from pgfolio.query_api.auth.guard import READ
from pgfolio.query_api.observability.timings import took_ms
from pgfolio.query_api.retrieval.filter_parser import parse
from pgfolio.query_api.retrieval.query import Query
from pgfolio.query_api.service import contracts as c
from pgfolio.query_api.service.answers import ask_answer, explain, search_answer
from pgfolio.query_api.service.disconnect import unless_client_leaves
from pgfolio.query_api.service.problems import (
    TookTooLongError,
    problem,
    trace_id,
)
from pgfolio.query_api.service.requests import ASKING, AnyRequest, permitted, services

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from pgfolio.query_api.answering.answerer import AnswerRequest, Event
    from pgfolio.query_api.explain.trace_log import TraceLog
    from pgfolio.query_api.retrieval.results import Retrieved
    from pgfolio.query_api.service.answers import Explained

ANSWER = ResponseSpec(
    c.AskAnswer,
    description="The answer; as server-sent events `sources`, `token`, `citation`, `done` and `error` when a stream "
    "is asked for",
)

STREAM = "text/event-stream"

STREAM_TIME_SHARE = 0.95
"""Of the time that a request may take, what a stream may take before it says that it took too long."""


class Streaming(Operation):
    """Its answer may come as a stream."""

    def to_schema(self) -> dict[str, Any]:
        operation = super().to_schema()
        operation["responses"]["200"]["content"][STREAM] = {"schema": {}}
        return operation


@post(
    "/search",
    opt=READ,
    status_code=200,
    responses=ASKING,
    summary="Find chunks",
)
async def search(
    request: AnyRequest,
    data: Annotated[
        c.SearchRequest,
        Body(examples=[Example(value={"query": "how do I retry a failed task", "limit": 5})]),
    ],
) -> c.SearchAnswer:
    began = time.perf_counter()
    query = _query(data.query, data)
    retrieving = services(request).retriever.retrieve(query, permitted(request))
    retrieved = await unless_client_leaves(request, retrieving)
    explained = await _trace_and_explain(request, data, query, retrieved, "search")
    return search_answer(
        retrieved, took_ms=took_ms(began), trace_id=trace_id(request.scope), explained=explained
    )


@post(
    "/ask",
    opt=READ,
    status_code=200,
    responses={**ASKING, 200: ANSWER},
    operation_class=Streaming,
    summary="Answer a question with citations",
)
async def ask(
    request: AnyRequest,
    data: Annotated[
        c.AskRequest, Body(examples=[Example(value={"question": "how do I retry a failed task"})])
    ],
) -> Response[Any]:
    began = time.perf_counter()
    answerer = services(request).answerer
    query = _query(data.question, data)
    retrieving = answerer.retrieve(query, permitted(request), data.prompt)
    answer_request = await unless_client_leaves(request, retrieving)
    if data.stream or STREAM in request.headers.get("accept", ""):
        return ServerSentEvent(_events(request, data, query, answer_request, began))
    answer = await unless_client_leaves(request, answerer.answer(answer_request))
    explained = await _trace_and_explain(request, data, query, answer_request.retrieved, "ask")
    return Response(_ask_answer(request, answer, answer_request, began, explained))


async def _trace_and_explain(
    request: AnyRequest, data: c.Retrieval, query: Query, retrieved: Retrieved, kind: str
) -> Explained:
    """Adds to the trace log for GET /traces; with `explain` and `why`, what the answer says of it."""
    request.app.state.traces.add(trace_id(request.scope), kind, caller_of(request.scope), retrieved.trace)
    return await _explain(request, data, query, retrieved, kind)


async def _explain(
    request: AnyRequest, data: c.Retrieval, query: Query, retrieved: Retrieved, kind: str
) -> Explained:
    return await explain(
        services(request).retriever,
        query,
        permitted(request),
        retrieved,
        kind=kind,
        with_explanation=data.explain or data.why is not None,
        document=data.why,
    )


def _ask_answer(
    request: AnyRequest, answer: Answer, answer_request: AnswerRequest, began: float, explained: Explained
) -> c.AskAnswer:
    return ask_answer(
        answer,
        answer_request,
        took_ms=took_ms(began),
        trace_id=trace_id(request.scope),
        explained=explained,
    )


def _query(text: str, data: c.Retrieval) -> Query:
    return Query(
        text=text.replace("\x00", " "),
        limit=data.limit,
        mode=data.mode,
        collections=tuple(data.collections) if data.collections else None,
        condition=None if data.filter is None else parse(data.filter),
        min_similarity=data.min_similarity,
        exact=data.exact,
        ef_search=data.ef_search,
        rerank=data.rerank,
        neighbors=data.neighbors,
    )


async def _events(
    request: AnyRequest, data: c.Retrieval, query: Query, answer_request: AnswerRequest, began: float
) -> AsyncIterator[ServerSentEventMessage]:
    """What comes when: `sources`, then `token`s, then `citation`s, `done` with the whole answer; or `error`."""
    scope, retrieved = request.scope, answer_request.retrieved
    yield _event("sources", answer_request.sources)
    try:
        async for event in _in_time(services(request).answerer.stream(answer_request), request, began):
            if isinstance(event, str):
                yield _event("token", {"text": event})
            elif isinstance(event, Answer):
                explained = await _explain(request, data, query, retrieved, "ask")
                yield _event("done", _ask_answer(request, event, answer_request, began, explained))
            else:
                yield _event("citation", event)
    except Exception as error:  # noqa: BLE001 -- the status line is sent already
        yield _event("error", problem(error, scope)[0])
    finally:
        traces: TraceLog = request.app.state.traces
        traces.add(trace_id(scope), "ask", caller_of(scope), retrieved.trace)


async def _in_time(events: AsyncGenerator[Event], request: AnyRequest, began: float) -> AsyncIterator[Event]:
    """The same, as long as there is time left to say that there is none: later the connection is cut. Raises
    TookTooLongError."""
    timeout = services(request).retriever.settings.api.timeout
    async with aclosing(events):  # which ends the model's request
        while True:
            try:
                async with asyncio.timeout(began + timeout * STREAM_TIME_SHARE - time.perf_counter()):
                    event = await anext(events)
            except StopAsyncIteration:
                return
            except TimeoutError as error:
                raise TookTooLongError(timeout) from error
            yield event


def _event(name: str, data: Any) -> ServerSentEventMessage:
    return ServerSentEventMessage(data=msgspec.json.encode(data).decode(), event=name)
