"""`POST /search` and `POST /ask`: a question in, passages or an answer out; as a stream: ask_events.py."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from litestar import post
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Operation
from litestar.response import Response

from pgfolio.query_api.answering.conversation import Message
from pgfolio.query_api.auth.caller import caller_of
from pgfolio.query_api.auth.guard import READ
from pgfolio.query_api.observability.timings import took_ms
from pgfolio.query_api.retrieval.filter_parser import parse
from pgfolio.query_api.retrieval.query import Query
from pgfolio.query_api.service import contracts as c
from pgfolio.query_api.service import ui_message_stream as ui
from pgfolio.query_api.service.accept import EVENT_STREAM, wants_stream
from pgfolio.query_api.service.answers import ask_answer, explain, search_answer
from pgfolio.query_api.service.ask_events import ask_events, error_event
from pgfolio.query_api.service.disconnect import unless_client_leaves
from pgfolio.query_api.service.event_stream import answer_events, event_stream
from pgfolio.query_api.service.links import base_url
from pgfolio.query_api.service.problems import trace_id
from pgfolio.query_api.service.requests import ASKING, AnyRequest, permitted, services

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from litestar.params import JSONBody
    from litestar.response import ServerSentEventMessage

    from pgfolio.query_api.answering.records import Answer, AnswerRequest
    from pgfolio.query_api.retrieval.results import Retrieved
    from pgfolio.query_api.service.answers import Explained

ANSWER = ResponseSpec(
    c.AskAnswer,
    description="The answer; as server-sent events `sources`, `token`, `citation`, `done` and `error` when a stream "
    "is asked for",
)


class Streaming(Operation):
    """Its answer may come as a stream."""

    def to_schema(self) -> dict[str, Any]:
        operation = super().to_schema()
        operation["responses"]["200"]["content"][EVENT_STREAM] = {"schema": {}}
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
    data: JSONBody[c.SearchRequest],
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
    data: JSONBody[c.AskRequest],
) -> Response[Any]:
    began = time.perf_counter()
    answerer = services(request).answerer
    *earlier, question = data.messages or [c.ConversationMessage("user", data.question or "")]
    query = _query(question.content, data)
    said = [Message(each.role, each.content.replace("\x00", " ")) for each in earlier]
    retrieving = answerer.retrieve(query, permitted(request), data.prompt, said)
    base = base_url(request, services(request).retriever.settings.api.public_url)
    if request.headers.get(ui.HEADER) == "v1":

        def encode_ui(answer_request: AnswerRequest) -> AsyncGenerator[ServerSentEventMessage]:
            return ui.ui_messages(answer_events(request, answer_request), trace_id(request.scope), base)

        return await event_stream(request, retrieving, encode_ui, ui.error_part, began, {ui.HEADER: "v1"})
    if wants_stream(", ".join(request.headers.getall("accept", [])), requested=data.stream):

        async def done(answer: Answer, answer_request: AnswerRequest) -> c.AskAnswer:
            explained = await _explain(request, data, query, answer_request.retrieved, "ask")
            return _ask_answer(request, answer, answer_request, began, explained, base)

        def encode(
            answer_request: AnswerRequest,
        ) -> AsyncGenerator[ServerSentEventMessage]:
            return ask_events(request, answer_request, done, base)

        return await event_stream(request, retrieving, encode, error_event, began)
    answer_request = await unless_client_leaves(request, retrieving)
    answer = await unless_client_leaves(request, answerer.answer(answer_request))
    explained = await _trace_and_explain(request, data, query, answer_request.retrieved, "ask")
    return Response(_ask_answer(request, answer, answer_request, began, explained, base))


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
    request: AnyRequest,
    answer: Answer,
    answer_request: AnswerRequest,
    began: float,
    explained: Explained,
    base: str,
) -> c.AskAnswer:
    return ask_answer(
        answer,
        answer_request,
        took_ms=took_ms(began),
        trace_id=trace_id(request.scope),
        explained=explained,
        base=base,
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
        max_per_document=data.max_per_document,
        exact_words=data.exact_words,
    )
