"""The routes of documents: listed, shown, pushed, deleted. What comes is kept in the database, and the flow woken."""

from __future__ import annotations

import asyncio
import base64
import re
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Final

from litestar import Controller, Request, delete, get, post
from litestar.datastructures import State
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, FromQuery, QueryParameter
from litestar.response import Response

from pgfolio.query_api.auth.caller import caller_of
from pgfolio.query_api.auth.guard import READ, WRITE
from pgfolio.query_api.retrieval.filter_parser import parse_json
from pgfolio.query_api.service import contracts as c
from pgfolio.query_api.service import uploads
from pgfolio.query_api.service.problems import (
    FromFolderError,
    UnknownDocumentError,
    WrongCursorError,
    trace_id,
)
from pgfolio.schema.operations import push_inbox
from pgfolio.schema.search import catalog
from pgfolio.schema.search.pool import reading

if TYPE_CHECKING:
    from pgfolio.config.settings import Api
    from pgfolio.query_api.services import Services
    from pgfolio.schema.database.connect import AsyncConnection
    from pgfolio.schema.operations.push_inbox import Waiting
    from pgfolio.schema.search.access import Permitted
    from pgfolio.schema.search.pool import Pool

Anyone = Request[Any, Any, State]
WRITERS: Final = 4
"""Connections of one process that write at once; others wait for their turn."""

LARGEST: Final = 2**63 - 1
PROBLEM = ResponseSpec(
    c.Problem, description="What is wrong, and what to do", media_type="application/problem+json"
)
PROBLEMS = dict.fromkeys((400, 401, 403, 429, 500, 503), PROBLEM)
CHANGING = {**PROBLEMS, 404: PROBLEM}
MADE = ResponseSpec(c.DocumentAnswer, description="It is searchable: the document")
KEPT = ResponseSpec(c.PushAnswer, description="It is kept, and will be searchable")
Stored = Annotated[str | None, QueryParameter(pattern=r"^[^\x00]*$")]
"""PostgreSQL's texts have no NUL."""


class Documents(Controller):
    """With the bounds of the settings: see `document_routes`."""

    path = "/documents"
    writers: asyncio.Semaphore
    statement_timeout: float
    longest_wait: float

    @get(opt=READ, responses=PROBLEMS, summary="List documents")
    async def documents(
        self,
        request: Anyone,
        limit: Annotated[int, QueryParameter(ge=1, le=1000)] = 100,
        cursor: Stored = None,
        collection: Stored = None,
        source: Stored = None,
        path: Stored = None,
        filter: FromQuery[str | None] = None,  # noqa: A002 -- the parameter's name
    ) -> c.DocumentPage:
        read = partial(
            catalog.list_documents,
            limit=limit + 1,
            permitted=_seen(request),
            after=0 if cursor is None else _after(cursor),
            collection=collection,
            source=source,
            path=path,
            condition=None if filter is None else parse_json(filter),
        )
        found = await reading(_services(request).retriever.pool, read)
        following = _cursor(found[limit - 1].id) if len(found) > limit else None
        return c.DocumentPage([c.document_item(d) for d in found[:limit]], following, trace_id(request.scope))

    @get("/{document_id:int}", opt=READ, responses=CHANGING, summary="One document with its chunks")
    async def document(self, request: Anyone, document_id: FromPath[int]) -> c.DocumentAnswer:
        """What was pushed and is no document yet, says whether it waits or why it failed."""
        pool = _services(request).retriever.pool
        return await _shown(pool, document_id, _seen(request), trace_id(request.scope))

    @post(
        opt=WRITE,
        status_code=202,
        responses={**CHANGING, 201: MADE, 202: KEPT, 413: PROBLEM, 422: PROBLEM},
        operation_class=uploads.Pushing,
        summary="Push a document",
    )
    async def push(
        self, request: Anyone, wait: Annotated[int, QueryParameter(ge=0, le=3600)] = 0
    ) -> Response[Any]:
        """Answers when it is kept; with `wait` when it is searchable, at most so many seconds later."""
        seen, services, trace = _seen(request), _services(request), trace_id(request.scope)
        pushed, collection = await uploads.read(request)
        async with self.writers, push_inbox.writing(services.conninfo, self.statement_timeout) as connection:
            push_id = await push_inbox.add(connection, pushed, collection, seen)
        url, pool = f"/documents/{push_id}", services.retriever.pool
        if await uploads.is_made(pool, push_id, seen, min(wait, self.longest_wait)):
            made = await _shown(pool, push_id, seen, trace)
            return Response(made, status_code=201, headers={"Location": url})
        answer = c.PushAnswer(push_id, url, "pending", trace)
        return Response(answer, status_code=202, headers={"Location": url})

    @delete(
        "/{document_id:int}",
        opt=WRITE,
        status_code=204,
        responses={**CHANGING, 409: PROBLEM},
        summary="Remove a pushed document",
    )
    async def remove(self, request: Anyone, document_id: FromPath[int]) -> None:
        """At once, whether it waits, failed or is searchable. What comes from a folder is deleted there."""
        seen, number, conninfo = _seen(request), min(document_id, LARGEST), _services(request).conninfo
        async with self.writers, push_inbox.writing(conninfo, self.statement_timeout) as connection:
            if await push_inbox.remove(connection, number, seen):
                return
            found = await push_inbox.origin(connection, number, seen)
        if found is None:
            raise UnknownDocumentError(document_id)
        raise FromFolderError(f"it comes from the folder {found[0]!r}: delete {found[1]!r} there, then sync")


def document_routes(api: Api) -> type[Controller]:
    """The routes, with the settings' bounds."""
    bounds = {
        "request_max_body_size": int(api.max_push_mb * 1024 * 1024),
        "writers": asyncio.Semaphore(WRITERS),
        "statement_timeout": api.statement_timeout,
        "longest_wait": min(api.max_wait, api.timeout * 0.9),
    }
    return type("BoundedDocuments", (Documents,), bounds)


async def _shown(pool: Pool, document_id: int, seen: Permitted, trace: str) -> c.DocumentAnswer:
    """A document with its chunks, or what is known of a push that is none yet. Raises UnknownDocumentError."""

    async def read(connection: AsyncConnection) -> Any:
        number = min(document_id, LARGEST)
        found = await catalog.get_document(connection, number, seen)
        return found or await push_inbox.waiting(connection, number, seen)

    found = await reading(pool, read)
    if found is None:
        raise UnknownDocumentError(document_id)
    if isinstance(found, push_inbox.Waiting):
        return _waiting(found, trace)
    stored, chunks = found
    return c.DocumentAnswer(
        **c.document_fields(stored),
        reason=stored.reason,
        text=stored.text,
        chunks=[c.chunk_item(chunk) for chunk in chunks],
        trace_id=trace,
    )


def _waiting(push: Waiting, trace: str) -> c.DocumentAnswer:
    return c.DocumentAnswer(
        id=push.id,
        source=push.source,
        path=push.path,
        title=push.title,
        collection=push.collection,
        mime="",
        content_hash=push.content_hash,
        chunk_count=0,
        state=push.state,
        reason=push.reason,
        metadata=push.metadata,
        owner=None,
        language="",
        created_at=None,
        updated_at=push.pushed_at,
        synced_at=None,
        text="",
        chunks=[],
        trace_id=trace,
    )


def _cursor(last: int) -> str:
    return base64.urlsafe_b64encode(f"d{last}".encode()).decode().rstrip("=")


def _after(cursor: str) -> int:
    with suppress(ValueError):
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        if re.fullmatch(r"d[0-9]{1,18}", text):
            return int(text[1:])
    raise WrongCursorError("take the cursor from `next` of the page before, or leave it out")


def _services(request: Anyone) -> Services:
    found: Services = request.app.state.services
    return found


def _seen(request: Anyone) -> Permitted:
    return caller_of(request.scope).permitted
