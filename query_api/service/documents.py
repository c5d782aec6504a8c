"""The routes of documents: listed, read, pushed, deleted. A push is stored in the database, and the flow woken."""

from __future__ import annotations

import asyncio
import base64
import re
from contextlib import nullcontext, suppress
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Final

from litestar import Controller, delete, get, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, FromQuery, QueryParameter
from litestar.response import Response

from pgfolio.query_api.auth.guard import READ, WRITE
from pgfolio.query_api.retrieval.filter_parser import WrongFilterError, parse
from pgfolio.query_api.service import answers, uploads
from pgfolio.query_api.service import contracts as c
from pgfolio.query_api.service.json_body import UnreadableBodyError, decode
from pgfolio.query_api.service.problems import (
    FromFolderError,
    UnknownDocumentError,
    WrongCursorError,
    trace_id,
)
from pgfolio.query_api.service.requests import PROBLEM, PROBLEMS, AnyRequest, permitted, services
from pgfolio.schema.operations import push_inbox
from pgfolio.schema.search import catalog
from pgfolio.schema.search.pool import in_snapshot

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from pgfolio.config.settings import Api
    from pgfolio.schema.database.connect import AsyncConnection
    from pgfolio.schema.operations.push_inbox import WaitingPush
    from pgfolio.schema.search.access import Permitted
    from pgfolio.schema.search.conditions import Condition
    from pgfolio.schema.search.pool import Pool

MAX_WRITERS: Final = 4
"""Connections of one process that write at once; others wait for their turn."""

LARGE_PUSH_BYTES: Final = 4 * 1024 * 1024
"""A push is in memory some five times while it is stored: larger ones are stored one after the other."""

MAX_BIGINT: Final = 2**63 - 1
CHANGING = {**PROBLEMS, 404: PROBLEM}
CREATED = ResponseSpec(c.DocumentAnswer, description="It is searchable: the document")
ACCEPTED = ResponseSpec(c.PushAnswer, description="It is kept, and will be searchable")
StoredText = Annotated[str | None, QueryParameter(pattern=r"^[^\x00]*$")]
"""PostgreSQL's texts have no NUL."""


class DocumentRoutes(Controller):
    """With the bounds of the settings: see `document_routes`."""

    path = "/documents"
    writers: asyncio.Semaphore
    large_writers: asyncio.Semaphore
    statement_timeout: float
    longest_wait: float

    def _alone_if_large(self, size: int) -> AbstractAsyncContextManager[None]:
        return self.large_writers if size > LARGE_PUSH_BYTES else nullcontext()

    @get(opt=READ, responses=PROBLEMS, summary="List documents")
    async def documents(
        self,
        request: AnyRequest,
        limit: Annotated[int, QueryParameter(ge=1, le=1000)] = 100,
        cursor: StoredText = None,
        collection: StoredText = None,
        source: StoredText = None,
        path: StoredText = None,
        filter: FromQuery[str | None] = None,  # noqa: A002 -- the parameter's name
    ) -> c.DocumentPage:
        read = partial(
            catalog.list_documents,
            limit=limit,
            permitted=permitted(request),
            after=0 if cursor is None else _after(cursor),
            collection=collection,
            source=source,
            path=path,
            condition=None if filter is None else _condition(filter),
        )
        stored, more = await in_snapshot(services(request).retriever.pool, read)
        return c.DocumentPage(
            items=[answers.document_item(document) for document in stored],
            next=_cursor(stored[-1].id) if more else None,
            trace_id=trace_id(request.scope),
        )

    @get("/{document_id:int}", opt=READ, responses=CHANGING, summary="One document with its chunks")
    async def document(self, request: AnyRequest, document_id: FromPath[int]) -> c.DocumentAnswer:
        """What was pushed and is no document yet, says whether it waits or why it failed."""
        pool = services(request).retriever.pool
        return await _document_answer(pool, document_id, permitted(request), trace_id(request.scope))

    @post(
        opt=WRITE,
        status_code=202,
        responses={**CHANGING, 201: CREATED, 202: ACCEPTED, 413: PROBLEM, 415: PROBLEM, 422: PROBLEM},
        operation_class=uploads.PushOperation,
        summary="Push a document",
    )
    async def push(
        self, request: AnyRequest, wait: Annotated[int, QueryParameter(ge=0, le=3600)] = 0
    ) -> Response[Any]:
        """Answers when it is kept; with `wait` when it is searchable, at most so many seconds later."""
        allowed, conninfo, trace = permitted(request), services(request).conninfo, trace_id(request.scope)
        async with uploads.spooled(request) as (received, size), self.writers, self._alone_if_large(size):
            body, collection = await uploads.read(received)
            async with push_inbox.writing(conninfo, self.statement_timeout) as connection:
                push_id = await push_inbox.add(connection, body, collection, allowed)
            del body
        url, pool = f"/documents/{push_id}", services(request).retriever.pool
        if await uploads.is_made(pool, push_id, allowed, min(wait, self.longest_wait)):
            made = await _document_answer(pool, push_id, allowed, trace)
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
    async def remove(self, request: AnyRequest, document_id: FromPath[int]) -> None:
        """At once, whether it waits, failed or is searchable. What comes from a folder is deleted there."""
        allowed, number, conninfo = (
            permitted(request),
            min(document_id, MAX_BIGINT),
            services(request).conninfo,
        )
        async with self.writers, push_inbox.writing(conninfo, self.statement_timeout) as connection:
            if await push_inbox.remove(connection, number, allowed):
                return
            origin = await push_inbox.origin(connection, number, allowed)
        if origin is None:
            raise UnknownDocumentError(document_id)
        raise FromFolderError(
            f"it comes from the folder {origin[0]!r}: delete {origin[1]!r} there, then sync"
        )


def document_routes(api: Api) -> type[Controller]:
    """The routes, with the settings' bounds."""
    bounds = {
        "request_max_body_size": int(api.max_push_mb * 1024 * 1024),
        "writers": asyncio.Semaphore(MAX_WRITERS),
        "large_writers": asyncio.Semaphore(1),
        "statement_timeout": api.statement_timeout,
        "longest_wait": min(api.max_wait, api.timeout * 0.9),
    }
    return type("BoundedDocuments", (DocumentRoutes,), bounds)


async def _document_answer(pool: Pool, document_id: int, allowed: Permitted, trace: str) -> c.DocumentAnswer:
    """A document with its chunks, or what is known of a push that is none yet. Raises UnknownDocumentError."""

    async def read(connection: AsyncConnection) -> Any:
        number = min(document_id, MAX_BIGINT)
        document = await catalog.get_document(connection, number, allowed)
        return document or await push_inbox.waiting(connection, number, allowed)

    document = await in_snapshot(pool, read, newest=True)
    if document is None:
        raise UnknownDocumentError(document_id)
    if isinstance(document, push_inbox.WaitingPush):
        return _waiting(document, trace)
    stored, chunks = document
    return c.DocumentAnswer(
        **answers.document_fields(stored),
        reason=stored.reason,
        incomplete=stored.incomplete,
        text=stored.text,
        chunks=[answers.chunk_item(chunk) for chunk in chunks],
        trace_id=trace,
    )


def _waiting(push: WaitingPush, trace: str) -> c.DocumentAnswer:
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
        incomplete="",
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


def _condition(filter_json: str) -> Condition | None:
    """Raises WrongFilterError."""
    try:
        return parse(decode(filter_json, "the filter"))
    except UnreadableBodyError as error:
        raise WrongFilterError(str(error)) from error


def _cursor(last: int) -> str:
    return base64.urlsafe_b64encode(f"d{last}".encode()).decode().rstrip("=")


def _after(cursor: str) -> int:
    with suppress(ValueError):
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        if re.fullmatch(r"d[0-9]{1,18}", text):
            return int(text[1:])
    raise WrongCursorError("take the cursor from `next` of the page before, or leave it out")
