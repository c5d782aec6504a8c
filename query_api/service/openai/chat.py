"""`POST /v1/chat/completions`: a chat program's question, answered as by /ask."""

from __future__ import annotations

import time
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from litestar import post
from litestar.openapi.datastructures import ResponseSpec
from litestar.response import Response

from pgfolio.query_api.answering.records import Answer
from pgfolio.query_api.auth.caller import caller_of
from pgfolio.query_api.auth.guard import READ
from pgfolio.query_api.retrieval.query import Query
from pgfolio.query_api.service.disconnect import unless_client_leaves
from pgfolio.query_api.service.event_stream import answer_events, event_stream
from pgfolio.query_api.service.links import base_url
from pgfolio.query_api.service.openai import contracts as c
from pgfolio.query_api.service.openai.chat_encoding import CompletionEncoder, error_chunk
from pgfolio.query_api.service.openai.conversation import conversation
from pgfolio.query_api.service.openai.documented import ASKING
from pgfolio.query_api.service.openai.models import collections_of_model
from pgfolio.query_api.service.problems import trace_id
from pgfolio.query_api.service.requests import AnyRequest, permitted, services
from pgfolio.query_api.service.search import Streaming

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from litestar.params import JSONBody
    from litestar.response import ServerSentEventMessage

    from pgfolio.query_api.answering.answerer import Event
    from pgfolio.query_api.answering.records import AnswerRequest
    from pgfolio.query_api.service.openai.conversation import Conversation

COMPLETION = ResponseSpec(
    c.ChatCompletion, description="The answer; in chunks, as server-sent events, where `stream` is true"
)


@post(
    "/v1/chat/completions",
    opt=READ,
    status_code=200,
    responses={**ASKING, 200: COMPLETION},
    operation_class=Streaming,
    summary="Answer a chat program, as OpenAI's API does",
)
async def chat_completions(request: AnyRequest, data: JSONBody[c.ChatRequest]) -> Response[Any]:
    began = time.perf_counter()
    collections = await collections_of_model(request, data.model)
    opening = _opened(request, conversation(data.messages), collections)
    settings = services(request).retriever.settings
    encoder = CompletionEncoder(
        id=f"chatcmpl-{trace_id(request.scope)}",
        model=data.model,
        base=base_url(request, settings.api.public_url),
        include_usage=bool(data.stream_options and data.stream_options.include_usage),
    )
    if data.stream:

        async def encode(opened: Answer | AnswerRequest) -> AsyncGenerator[ServerSentEventMessage]:
            async with (
                aclosing(_events(request, opened)) as events,
                aclosing(encoder.chunks(events)) as chunks,
            ):
                async for chunk in chunks:
                    yield chunk

        return await event_stream(request, opening, encode, error_chunk, began)
    answer = await unless_client_leaves(request, _answer(request, opening))
    return Response(encoder.complete(answer))


async def _opened(
    request: AnyRequest, chat: Conversation, collections: tuple[str, ...] | None
) -> Answer | AnswerRequest:
    """What was retrieved for a question; the answer itself where nothing is to be retrieved."""
    answerer = services(request).answerer
    if chat.is_task:
        return await answerer.perform(chat.text, chat.instructions)
    query = Query(text=chat.text, collections=collections)
    return await answerer.retrieve(query, permitted(request), earlier=chat.earlier)


async def _answer(request: AnyRequest, opening: Any) -> Answer:
    opened: Answer | AnswerRequest = await opening
    if isinstance(opened, Answer):
        return opened
    answer = await services(request).answerer.answer(opened)
    caller = caller_of(request.scope)
    request.app.state.traces.add(trace_id(request.scope), "ask", caller, opened.retrieved.trace)
    return answer


async def _events(request: AnyRequest, opened: Answer | AnswerRequest) -> AsyncGenerator[Event]:
    if isinstance(opened, Answer):
        yield opened.text
        yield opened
        return
    async with aclosing(answer_events(request, opened)) as events:
        async for event in events:
            yield event
