"""Pushed documents: taken, waited for, told of, deleted. Nothing is parsed or embedded here: what comes is kept in
the database, and the flow is woken.

A push has its document's id and URL from the beginning. Pushing the same title or the same file again makes another
document: who means a new version deletes the old one.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
from litestar import Request, delete, post
from litestar.datastructures import State, UploadFile
from litestar.exceptions import ClientException
from litestar.exceptions.http_exceptions import RequestEntityTooLarge
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Operation
from litestar.params import FromPath, QueryParameter
from litestar.response import Response

from query_api import contracts as c
from query_api import labels
from query_api.errors import (
    FromFolderError,
    PushFailedError,
    UnknownDocumentError,
    WrongPushError,
    trace_id,
)
from query_api.guard import WRITE, caller_of
from query_api.labels import WrongMetadataError
from schema import catalog, inbox
from schema.search import BusyError, reading

if TYPE_CHECKING:
    from litestar.handlers import HTTPRouteHandler

    from config.settings import Api
    from query_api.services import Services
    from schema.inbox import Push, Waiting
    from schema.search import AsyncConnection, Permitted, Pool

Anyone = Request[Any, Any, State]
WRITERS: Final = 4
"""Connections of one process that write at once; others wait for their turn."""

LOOKS: Final = (0.05, 0.5)
"""Seconds between two looks of who waits: at first, and at most."""

LARGEST: Final = 2**63 - 1
PROBLEM = ResponseSpec(
    c.Problem, description="What is wrong, and what to do", media_type="application/problem+json"
)
PROBLEMS = dict.fromkeys((400, 401, 403, 404, 429, 500, 503), PROBLEM)
MADE = ResponseSpec(c.DocumentAnswer, description="It is searchable: the document")
KEPT = ResponseSpec(c.PushAnswer, description="It is kept, and will be searchable")


class Pushing(Operation):
    """Its body is JSON or a form with a file."""

    def to_schema(self) -> dict[str, Any]:
        shown = super().to_schema()
        form = _inline(c.PushForm)
        form["properties"]["file"] = {"type": "string", "format": "binary"}
        shown["requestBody"] = {
            "required": True,
            "content": {
                "application/json": {
                    "schema": _inline(c.PushRequest),
                    "examples": {
                        "note": {"value": {"title": "Tides", "content": "The moon makes the tides."}}
                    },
                },
                "multipart/form-data": {"schema": {**form, "required": ["file"]}},
            },
        }
        return shown


def push_routes(api: Api) -> list[HTTPRouteHandler]:
    """The routes that write, with the settings' bounds."""
    writers = asyncio.Semaphore(WRITERS)
    longest = min(api.max_wait, api.timeout * 0.9)

    @post(
        "/documents",
        opt=WRITE,
        status_code=202,
        request_max_body_size=int(api.max_push_mb * 1024 * 1024),
        responses={**PROBLEMS, 201: MADE, 202: KEPT, 413: PROBLEM, 422: PROBLEM},
        operation_class=Pushing,
        summary="Push a document",
    )
    async def push(request: Anyone, wait: Annotated[int, QueryParameter(ge=0, le=3600)] = 0) -> Response[Any]:
        """Answers when it is kept; with `wait` when it is searchable, at most so many seconds later."""
        seen, services = caller_of(request.scope).permitted, _services(request)
        pushed, collection = await read(request)
        async with writers, inbox.writing(services.conninfo, api.statement_timeout) as connection:
            push_id = await inbox.add(connection, pushed, collection, seen)
        url = f"/documents/{push_id}"
        pool, trace = services.retriever.pool, trace_id(request.scope)
        if await _is_made(pool, push_id, seen, min(wait, longest)):
            made = await shown_document(pool, push_id, seen, trace)
            return Response(made, status_code=201, headers={"Location": url})
        answer = c.PushAnswer(push_id, url, "pending", trace)
        return Response(answer, status_code=202, headers={"Location": url})

    @delete(
        "/documents/{document_id:int}",
        opt=WRITE,
        status_code=204,
        responses={**PROBLEMS, 409: PROBLEM},
        summary="Remove a pushed document",
    )
    async def remove(request: Anyone, document_id: FromPath[int]) -> None:
        """At once, whether it waits, failed or is searchable. What comes from a folder is deleted there."""
        seen, number = caller_of(request.scope).permitted, _number(document_id)
        conninfo = _services(request).conninfo
        async with writers, inbox.writing(conninfo, api.statement_timeout) as connection:
            if await inbox.remove(connection, number, seen):
                return
            found = await inbox.origin(connection, number, seen)
        if found is None:
            raise _unknown(document_id)
        raise FromFolderError(f"it comes from the folder {found[0]!r}: delete {found[1]!r} there, then sync")

    return [push, remove]


async def shown_document(pool: Pool, document_id: int, seen: Permitted, trace: str) -> c.DocumentAnswer:
    """A document with its chunks, or what is known of a push that is none yet. Raises UnknownDocumentError."""

    async def read(connection: AsyncConnection) -> Any:
        number = _number(document_id)
        found = await catalog.get_document(connection, number, seen)
        return found or await inbox.waiting(connection, number, seen)

    found = await reading(pool, read)
    if found is None:
        raise _unknown(document_id)
    if isinstance(found, inbox.Waiting):
        return _waiting(found, trace)
    stored, reason, text, chunks = found
    return c.DocumentAnswer(
        **c.document_fields(stored),
        reason=reason,
        text=text,
        chunks=[c.chunk_item(chunk) for chunk in chunks],
        trace_id=trace,
    )


async def read(request: Anyone) -> tuple[Push, str | None]:
    """The push and the collection that it is meant for. Raises WrongPushError."""
    kind = request.content_type[0]
    try:
        if kind == "multipart/form-data":
            return await _read_form(request)
        if kind in {"", "application/json"}:
            wanted = msgspec.json.decode(await request.body(), type=c.PushRequest)
            return _of_text(wanted), wanted.collection
    except (msgspec.DecodeError, UnicodeError, LookupError, RecursionError, WrongMetadataError) as error:
        raise WrongPushError(f"correct the request: {error}") from error
    raise WrongPushError("send JSON, or a form (multipart/form-data) with a `file`")


def _of_text(wanted: c.PushRequest) -> Push:
    shown = labels.title(wanted.title)
    if not shown:
        raise WrongPushError("correct the request: the title has nothing that can be seen")
    content = wanted.content.encode()
    return inbox.Push(content, ".md", shown, shown, labels.metadata(wanted.metadata))


async def _read_form(request: Anyone) -> tuple[Push, str | None]:
    try:
        fields = await request.form()
    except RequestEntityTooLarge:
        raise
    except ClientException as error:
        raise WrongPushError("the form cannot be read: send multipart/form-data with a `file`") from error
    given: dict[str, Any] = {}
    for name, value in fields.multi_items():
        if name in given:
            raise WrongPushError(f"correct the request: {name!r} is there twice")
        given[name] = value
    file = given.pop("file", None)
    if file is None:
        raise WrongPushError("correct the request: the form has no `file`")
    form = msgspec.convert(given, c.PushForm)
    said = None if form.metadata is None else msgspec.json.decode(form.metadata)
    name = file.filename if isinstance(file, UploadFile) else ""
    content = await file.read() if isinstance(file, UploadFile) else str(file).encode()
    kept = inbox.Push(
        content, labels.suffix(name), labels.title(form.title), labels.label(name), labels.metadata(said)
    )
    return kept, form.collection


async def _is_made(pool: Pool, push_id: int, seen: Permitted, seconds: float) -> bool:
    """Whether it is searchable within these seconds. No connection is held meanwhile. Raises PushFailedError,
    UnknownDocumentError when it was deleted."""
    end, pause = time.monotonic() + seconds, LOOKS[0]
    while (left := end - time.monotonic()) > 0:
        await asyncio.sleep(min(pause, left))
        pause = min(pause * 1.5, LOOKS[1])
        with suppress(BusyError):  # as good as not yet
            became = await reading(pool, partial(inbox.state, push_id=push_id, permitted=seen))
            if became is None:
                raise _unknown(push_id)
            if became[0] == "failed":
                raise PushFailedError(became[1], f"/documents/{push_id}")
            if became[0] == "ok":
                return True
    return False


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


def _inline(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """The schema of a struct that names no other."""
    _, found = msgspec.json.schema_components([kind])
    shown: dict[str, Any] = found[kind.__name__]
    return {key: value for key, value in shown.items() if key != "title"}


def _services(request: Anyone) -> Services:
    found: Services = request.app.state.services
    return found


def _number(document_id: int) -> int:
    return min(document_id, LARGEST)


def _unknown(document_id: int) -> UnknownDocumentError:
    return UnknownDocumentError(
        f"there is no document {document_id}: GET /documents lists those that there are"
    )
