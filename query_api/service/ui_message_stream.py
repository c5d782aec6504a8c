"""An answer as the AI SDK's UI message stream, version 1: the text, then its sources as links."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final

import msgspec
from litestar.response import ServerSentEventMessage

from pgfolio.query_api.answering.records import Citation
from pgfolio.query_api.service.links import document_url, passage_label

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from pgfolio.query_api.answering.answerer import Event
    from pgfolio.query_api.service.contracts import ProblemDetails

HEADER: Final = "x-vercel-ai-ui-message-stream"
"""Sent with `v1` by who wants such a stream of POST /ask, and with it."""

TEXT_ID: Final = "answer"


async def ui_messages(
    events: AsyncGenerator[Event], message_id: str, base: str
) -> AsyncGenerator[ServerSentEventMessage]:
    """`start`, the text in its three kinds of parts, a `source-url` for each citation, `finish`, `[DONE]`."""
    yield _part("start", messageId=message_id)
    yield _part("text-start", id=TEXT_ID)
    urls: dict[str, str] = {}
    async with aclosing(events):
        async for event in events:
            if isinstance(event, str):
                yield _part("text-delta", id=TEXT_ID, delta=event)
            elif isinstance(event, Citation):
                url = document_url(base, event.document_id, event.start, event.end)
                urls.setdefault(url, passage_label(event.path, event.page, event.quote))
    yield _part("text-end", id=TEXT_ID)
    for number, (url, title) in enumerate(urls.items(), 1):
        yield _part("source-url", sourceId=str(number), url=url, title=title)
    yield _part("finish")
    yield ServerSentEventMessage(data="[DONE]")


def error_part(details: ProblemDetails) -> ServerSentEventMessage:
    """The last one of a stream in which something went wrong."""
    return _part("error", errorText=details.detail)


def _part(kind: str, **fields: Any) -> ServerSentEventMessage:
    return ServerSentEventMessage(data=msgspec.json.encode({"type": kind, **fields}).decode())
