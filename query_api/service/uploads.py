"""Reads what is pushed from its request, and waits until the flow has made a document of it. Nothing is parsed or
embedded here.

A push has its document's id and URL from the beginning. Pushing the same title or the same file again makes another
document: who means a new version deletes the old one.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager, suppress
from functools import partial
from tempfile import SpooledTemporaryFile
from typing import TYPE_CHECKING, Any, Final

import msgspec
from litestar import Request
from litestar.datastructures import UploadFile
from litestar.exceptions import ClientException
from litestar.exceptions.http_exceptions import RequestEntityTooLarge
from litestar.openapi.spec import Operation

from pgfolio.query_api.service import contracts as c
from pgfolio.query_api.service import upload_metadata
from pgfolio.query_api.service.json_body import UnreadableBodyError, decode, decode_body
from pgfolio.query_api.service.problems import PushFailedError, UnknownDocumentError, WrongPushError
from pgfolio.query_api.service.strict_body import converted
from pgfolio.query_api.service.upload_metadata import WrongMetadataError
from pgfolio.schema.operations import push_inbox
from pgfolio.schema.search.pool import in_snapshot
from pgfolio.schema.search.turns import BusyError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from litestar.types import HTTPReceiveMessage

    from pgfolio.query_api.service.requests import AnyRequest
    from pgfolio.schema.operations.push_inbox import Push
    from pgfolio.schema.search.access import Permitted
    from pgfolio.schema.search.pool import Pool

MAX_MEMORY_BYTES: Final = 64 * 1024
"""Of a body that is being sent, what is held in memory."""

PART_BYTES: Final = 256 * 1024

FIRST_POLL_SECONDS: Final = 0.05
MAX_POLL_SECONDS: Final = 0.5
"""Between two looks of who waits."""


class PushOperation(Operation):
    """Its body is JSON or a form with a file."""

    def to_schema(self) -> dict[str, Any]:
        operation = super().to_schema()
        form = _inline(c.PushForm)
        form["properties"]["file"] = {"type": "string", "format": "binary"}
        operation["requestBody"] = {
            "required": True,
            "content": {
                "application/json": {"schema": _inline(c.PushRequest)},
                "multipart/form-data": {"schema": {**form, "required": ["file"]}},
            },
        }
        return operation


@asynccontextmanager
async def spooled(request: AnyRequest) -> AsyncIterator[tuple[AnyRequest, int]]:
    """The request once all of it has come, and its size. Until then what is large is on disk, in a file without a
    name: memory is taken by none that is still being sent."""
    with SpooledTemporaryFile(MAX_MEMORY_BYTES) as file:  # in TMPDIR
        async for part in request.stream():
            file.write(part)
        size = file.tell()
        file.seek(0)

        async def receive() -> HTTPReceiveMessage:
            part = file.read(PART_BYTES)
            return {"type": "http.request", "body": part, "more_body": len(part) == PART_BYTES}

        yield Request(request.scope, receive=receive), size


async def read(request: AnyRequest) -> tuple[Push, str | None]:
    """The push and the collection that it is meant for. Raises WrongPushError."""
    content_type = request.content_type[0]
    try:
        if content_type == "multipart/form-data":
            return await _read_form(request)
        try:
            value = decode_body(await request.body(), content_type)
        except UnreadableBodyError as error:
            if content_type in {"", "application/json"}:
                raise
            raise WrongPushError(f"{error}, or a form (multipart/form-data) with a `file`") from error
        body = converted(value, c.PushRequest)
        return _text_push(body), body.collection
    except (msgspec.ValidationError, UnicodeError, LookupError, WrongMetadataError, OverflowError) as error:
        raise WrongPushError(f"correct the request: {error}") from error


def _text_push(body: c.PushRequest) -> Push:
    title = upload_metadata.title(body.title)
    if not title:
        raise WrongPushError("correct the request: the title has nothing that can be seen")
    content = body.content.encode()
    return push_inbox.Push(content, ".md", title, title, upload_metadata.metadata(body.metadata))


async def _read_form(request: AnyRequest) -> tuple[Push, str | None]:
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
    try:
        metadata = None if form.metadata is None else decode(form.metadata, "the metadata")
    except UnreadableBodyError as error:
        raise WrongPushError(f"correct the request: {error}") from error
    name = file.filename if isinstance(file, UploadFile) else ""
    content = await file.read() if isinstance(file, UploadFile) else str(file).encode()
    push = push_inbox.Push(
        content,
        upload_metadata.suffix(name),
        upload_metadata.title(form.title),
        upload_metadata.display_name(name),
        upload_metadata.metadata(metadata),
    )
    return push, form.collection


async def is_made(pool: Pool, push_id: int, seen: Permitted, seconds: float) -> bool:
    """Whether it is searchable within these seconds. No connection is held meanwhile. Raises PushFailedError,
    UnknownDocumentError when it was deleted."""
    end, pause = time.monotonic() + seconds, FIRST_POLL_SECONDS
    while (remaining := end - time.monotonic()) > 0:
        await asyncio.sleep(min(pause, remaining))
        pause = min(pause * 1.5, MAX_POLL_SECONDS)
        with suppress(BusyError):  # as good as not yet
            read = partial(push_inbox.state, push_id=push_id, permitted=seen)
            state = await in_snapshot(pool, read, newest=True)
            if state is None:
                raise UnknownDocumentError(push_id)
            if state[0] == "failed":
                raise PushFailedError(state[1], f"/documents/{push_id}")
            if state[0] == "ok":
                return True
    return False


def _inline(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """The schema of a struct that names no other."""
    _, components = msgspec.json.schema_components([kind])
    schema: dict[str, Any] = components[kind.__name__]
    return {key: value for key, value in schema.items() if key != "title"}
