"""The routes: read the request, call what does the work, shape the answer. Nothing is decided here."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from litestar import Request, get, post
from litestar.datastructures import State
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Example, Operation
from litestar.params import Body, FromPath
from litestar.response import Response, ServerSentEvent, ServerSentEventMessage

from pgfolio.query_api.answering.answerer import Answer
from pgfolio.query_api.auth.guard import PUBLIC, READ, caller_of
from pgfolio.query_api.explain.explanation import explanation
from pgfolio.query_api.explain.records import Explanation
from pgfolio.query_api.explain.trace_log import PERIOD
from pgfolio.query_api.explain.why import why
from pgfolio.query_api.observability import metrics
from pgfolio.query_api.retrieval.filter_parser import parse
from pgfolio.query_api.retrieval.query import Query
from pgfolio.query_api.service import contracts as c
from pgfolio.query_api.service.problems import (
    NotReadyError,
    TookTooLongError,
    UnknownTraceError,
    problem,
    trace_id,
)
from pgfolio.schema.database.connect import connect
from pgfolio.schema.operations import gauges, traces
from pgfolio.schema.operations.overview import overview
from pgfolio.schema.search import catalog
from pgfolio.schema.search.pool import reading

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from litestar.types import Scope

    from pgfolio.query_api.answering.answerer import Asked, Event
    from pgfolio.query_api.explain.records import Why
    from pgfolio.query_api.explain.trace_log import TraceLog
    from pgfolio.query_api.retrieval.query import Retrieved
    from pgfolio.query_api.services import Services
    from pgfolio.schema.search.pool import AsyncConnection
    from pgfolio.schema.search.vector import Permitted

Anyone = Request[Any, Any, State]
PROBLEM = ResponseSpec(
    c.Problem, description="What is wrong, and what to do", media_type="application/problem+json"
)
PROBLEMS = dict.fromkeys((400, 401, 403, 429, 500, 503), PROBLEM)
ASKING = {**PROBLEMS, **dict.fromkeys((404, 413, 502), PROBLEM)}
ANSWER = ResponseSpec(
    c.AskAnswer,
    description="The answer; as server-sent events `sources`, `token`, `citation`, `done` and `error` when a stream "
    "is asked for",
)
STREAM = "text/event-stream"
PART = 0.95
"""Of the time that a request may take, what a stream may take before it says that it took too long."""

LOOKS = 2
"""How often a trace that is not there is looked for again, while another process may be about to write it."""


class Streaming(Operation):
    """Its answer may come as a stream."""

    def to_schema(self) -> dict[str, Any]:
        shown = super().to_schema()
        shown["responses"]["200"]["content"][STREAM] = {"schema": {}}
        return shown


HINT = "sync a folder first: `pgfolio sync FOLDER`"


@post(
    "/search",
    opt=READ,
    status_code=200,
    responses=ASKING,
    summary="Find chunks",
)
async def search(
    request: Anyone,
    data: Annotated[
        c.SearchRequest,
        Body(examples=[Example(value={"query": "how do I retry a failed task", "limit": 5})]),
    ],
) -> c.SearchAnswer:
    began = time.perf_counter()
    query = _query(data.query, data)
    retrieved = await services(request).retriever.retrieve(query, permitted(request))
    results = [c.result(found) for found in retrieved.found]
    explained, why = await _explained(request, data, query, retrieved, "search")
    return c.SearchAnswer(
        results,
        len(results),
        retrieved.complete,
        retrieved.space,
        _took(began),
        trace_id(request.scope),
        retrieved.trace.notes,
        explained,
        why,
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
    request: Anyone,
    data: Annotated[
        c.AskRequest, Body(examples=[Example(value={"question": "how do I retry a failed task"})])
    ],
) -> Response[Any]:
    began = time.perf_counter()
    answerer = services(request).answerer
    query = _query(data.question, data)
    asked = await answerer.ask(query, permitted(request), data.prompt)
    if data.stream or STREAM in request.headers.get("accept", ""):
        return ServerSentEvent(_events(request, data, query, asked, began))
    answer = await answerer.answer(asked)
    explained, why = await _explained(request, data, query, asked.retrieved, "ask")
    return Response(_answer(answer, asked, began, request.scope, explained, why))


@get("/collections", opt=READ, responses=PROBLEMS, summary="Collections with their counts")
async def collections(request: Anyone) -> c.CollectionList:
    retriever = services(request).retriever
    found = await reading(retriever.pool, partial(catalog.list_collections, permitted=permitted(request)))
    active = await retriever.spaces.current()
    space = active.generation.space.name if active else None
    return c.CollectionList([c.collection_item(item) for item in found], space, trace_id(request.scope))


@get("/status", opt=READ, responses=PROBLEMS, summary="Sources, spaces and their indexes, runs, problems")
async def status(request: Anyone) -> c.Status:
    def read() -> dict[str, Any]:
        settings = services(request).retriever.settings
        with connect(services(request).conninfo, timeout=settings.api.statement_timeout) as connection:
            return overview(
                connection,
                permitted(request),
                keep_generations_days=settings.index.keep_generations_days,
                ef_search=settings.index.ef_search,
            )

    found = await asyncio.to_thread(read)
    prompts = services(request).answerer.prompts
    prompts.current()
    if prompts.problem and permitted(request) is None:  # it names a file of this machine
        found["problems"].append({"source": "", "path": "", "stage": "prompts", "reason": prompts.problem})
    return c.Status(**found, trace_id=trace_id(request.scope))


@get("/health/live", opt=PUBLIC, security=[{}], summary="The process is up")
async def live(request: Anyone) -> c.Health:
    return c.Health("ok", None, trace_id(request.scope))


@get(
    "/health/ready",
    opt=PUBLIC,
    security=[{}],
    responses={500: PROBLEM, 502: PROBLEM, 503: PROBLEM},
    summary="Database, space and model are usable",
)
async def ready(request: Anyone) -> c.Health:
    spaces = services(request).retriever.spaces
    active = await spaces.refresh(await spaces.current())
    if active is None:
        raise NotReadyError(f"nothing was synced yet: {HINT}")
    await active.answers()
    return c.Health("ok", active.generation.space.name, trace_id(request.scope))


@get("/metrics", opt=READ, responses=PROBLEMS, media_type=metrics.CONTENT_TYPE, summary="For Prometheus")
async def prometheus(request: Anyone) -> bytes:
    """Of collections and sources those that the key may see."""
    seen, index = permitted(request), services(request).retriever.settings.index

    async def read(connection: AsyncConnection) -> metrics.Stored:
        return metrics.Stored(
            await catalog.list_collections(connection, seen),
            await gauges.source_gauges(connection, seen),
            await gauges.index_gauge(connection, seen, index.ef_search),
        )

    pool = services(request).retriever.pool
    stored = await reading(pool, read)
    metrics.sample(pool)
    return metrics.rendered(stored)


@get(
    "/traces/{wanted:str}",
    opt=READ,
    responses={**PROBLEMS, 404: PROBLEM},
    summary="How an answer was found",
)
async def trace(request: Anyone, wanted: FromPath[str]) -> c.TraceAnswer:
    """For whoever may see all that the one who asked could see, for as long as traces are kept."""
    log: TraceLog = request.app.state.traces
    await log.settled()
    read = partial(traces.get, trace_id=wanted.replace("\x00", ""), permitted=permitted(request))
    record = await reading(services(request).retriever.pool, read)
    for _ in range(LOOKS):
        if record is None:  # another process may just be writing it
            await asyncio.sleep(PERIOD)
            record = await reading(services(request).retriever.pool, read)
    if record is None:
        raise UnknownTraceError("there is no trace with this id: it may have been kept long enough")
    explained = await services(request).retriever.located(
        msgspec.convert(record, Explanation), permitted(request)
    )
    return c.TraceAnswer(wanted, explained, trace_id(request.scope))


ROUTES = [search, ask, trace, collections, status, live, ready, prometheus]


def services(request: Anyone) -> Services:
    found: Services = request.app.state.services
    return found


def permitted(request: Anyone) -> Permitted:
    """What whoever asks may see."""
    return caller_of(request.scope).permitted


async def _explained(
    request: Anyone, data: c.Retrieval, query: Query, retrieved: Retrieved, kind: str
) -> tuple[Explanation | None, Why | None]:
    """How it was found, kept for GET /traces, and told at once where that is asked for."""
    request.app.state.traces.add(trace_id(request.scope), kind, caller_of(request.scope), retrieved.trace)
    return await _told(request, data, query, retrieved, kind)


async def _told(
    request: Anyone, data: c.Retrieval, query: Query, retrieved: Retrieved, kind: str
) -> tuple[Explanation | None, Why | None]:
    caller, retriever = caller_of(request.scope), services(request).retriever
    if not data.explain and data.why is None:
        return None, None
    explained = explanation(retrieved.trace, kind)
    reason = None
    if data.why is not None:
        reason = await why(retriever, query, caller.permitted, retrieved, data.why)
    return await retriever.located(explained, caller.permitted), reason


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


def _answer(
    answer: Answer,
    asked: Asked,
    began: float,
    scope: Scope,
    explained: Explanation | None = None,
    reason: Why | None = None,
) -> c.AskAnswer:
    return c.AskAnswer(
        answer.text,
        answer.answered,
        answer.mode,
        list(answer.citations),
        list(answer.sources),
        answer.model,
        answer.usage,
        _took(began),
        trace_id(scope),
        asked.retrieved.trace.notes,
        explained,
        reason,
    )


async def _events(
    request: Anyone, data: c.Retrieval, query: Query, asked: Asked, began: float
) -> AsyncIterator[ServerSentEventMessage]:
    """What comes when: `sources`, then `token`s, then `citation`s, `done` with the whole answer; or `error`."""
    scope, retrieved = request.scope, asked.retrieved
    yield _event("sources", asked.sources)
    try:
        async for event in _in_time(services(request).answerer.stream(asked), request, began):
            if isinstance(event, str):
                yield _event("token", {"text": event})
            elif isinstance(event, Answer):
                told = await _told(request, data, query, retrieved, "ask")
                yield _event("done", _answer(event, asked, began, scope, *told))
            else:
                yield _event("citation", event)
    except Exception as error:  # noqa: BLE001 -- the status line is sent already
        yield _event("error", problem(error, scope)[0])
    finally:
        traces: TraceLog = request.app.state.traces
        traces.add(trace_id(scope), "ask", caller_of(scope), retrieved.trace)


async def _in_time(events: AsyncGenerator[Event], request: Anyone, began: float) -> AsyncIterator[Event]:
    """The same, as long as there is time left to say that there is none: later the connection is cut. Raises
    TookTooLongError."""
    longest = services(request).retriever.settings.api.timeout
    async with aclosing(events):  # which ends the model's request
        while True:
            try:
                async with asyncio.timeout(began + longest * PART - time.perf_counter()):
                    event = await anext(events)
            except StopAsyncIteration:
                return
            except TimeoutError as error:
                raise TookTooLongError(longest) from error
            yield event


def _event(name: str, data: Any) -> ServerSentEventMessage:
    return ServerSentEventMessage(data=msgspec.json.encode(data).decode(), event=name)


def _took(began: float) -> float:
    return round((time.perf_counter() - began) * 1000, 3)
