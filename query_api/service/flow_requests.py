"""What a person asks of the flows: a row for each, taken up by `python -m pgfolio.flows.listen` or by the next run.
Nothing is synced here. Scope admin."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

from litestar import get, post

from pgfolio.query_api.auth.caller import caller_of
from pgfolio.query_api.auth.guard import ADMIN
from pgfolio.query_api.service import flow_contracts as c
from pgfolio.query_api.service.problems import (
    PushedSourceError,
    UnknownRequestError,
    UnknownSourceError,
    trace_id,
)
from pgfolio.query_api.service.requests import (
    PROBLEM,
    PROBLEMS,
    AnyRequest,
    permitted,
    services,
    stored_id,
    written,
)
from pgfolio.schema.operations import requests
from pgfolio.schema.search.pool import in_snapshot

if TYPE_CHECKING:
    from litestar.params import FromPath, JSONBody

    from pgfolio.schema.database.connect import Connection
    from pgfolio.schema.operations.requests import Kind, Request

ASKING = {**PROBLEMS, 404: PROBLEM, 409: PROBLEM}


@post(
    "/sources/{name:str}/sync",
    opt=ADMIN,
    status_code=202,
    responses=ASKING,
    summary="Ask for a sync of a source",
)
async def ask_sync(request: AnyRequest, name: FromPath[str]) -> c.FlowRequestAnswer:
    """The same again, while one waits, is the same request."""
    return await _ask(request, "sync", name)


@post(
    "/sources/{name:str}/approve",
    opt=ADMIN,
    status_code=202,
    responses={**ASKING, 413: PROBLEM, 415: PROBLEM},
    summary="Approve removals that are held back",
)
async def approve(
    request: AnyRequest, name: FromPath[str], data: JSONBody[c.Approval]
) -> c.FlowRequestAnswer:
    """So many of this source at most: where more are gone by then, none is removed, and it is refused."""
    return await _ask(request, "approve", name, data.count)


@post(
    "/sources/{name:str}/forget",
    opt=ADMIN,
    status_code=202,
    responses=ASKING,
    summary="Ask to forget a source with its documents",
)
async def forget(request: AnyRequest, name: FromPath[str]) -> c.FlowRequestAnswer:
    """Its folder stays as it is. Pushed documents are deleted one by one."""
    return await _ask(request, "forget", name)


@get("/requests", opt=ADMIN, responses=PROBLEMS, summary="What was asked of the flows, the newest first")
async def list_requests(request: AnyRequest) -> c.FlowRequestList:
    read = partial(requests.read, permitted=permitted(request))
    stored = await in_snapshot(services(request).retriever.pool, read, newest=True)
    return c.FlowRequestList([_item(each) for each in stored], trace_id(request.scope))


@get(
    "/requests/{request_id:int}",
    opt=ADMIN,
    responses={**PROBLEMS, 404: PROBLEM},
    summary="What became of a request",
)
async def get_request(request: AnyRequest, request_id: FromPath[int]) -> c.FlowRequestAnswer:
    return await _answer(request, request_id)


async def _ask(request: AnyRequest, kind: Kind, name: str, count: int | None = None) -> c.FlowRequestAnswer:
    source, allowed, requested_by = name.replace("\x00", ""), permitted(request), caller_of(request.scope).key

    def write(connection: Connection) -> int:
        source_kind = requests.kind_of_source(connection, source, allowed)
        if source_kind == "pushed" and kind == "forget":
            raise PushedSourceError(
                f"{source!r} holds what was pushed: DELETE /documents/{{id}} removes each"
            )
        request_id = requests.add(connection, kind, source, count, requested_by, allowed)
        if request_id is None:
            raise UnknownSourceError(
                f"there is no source {name[:200]!r}: GET /status lists those that there are"
            )
        return request_id

    return await _answer(request, await written(request, write))


async def _answer(request: AnyRequest, request_id: int) -> c.FlowRequestAnswer:
    read = partial(requests.read, permitted=permitted(request), request_id=stored_id(request_id))
    stored = await in_snapshot(services(request).retriever.pool, read, newest=True)
    if not stored:
        raise UnknownRequestError(
            f"there is no request {request_id}: GET /requests lists those that there are"
        )
    return c.FlowRequestAnswer(**_fields(stored[0]), trace_id=trace_id(request.scope))


def _item(stored: Request) -> c.FlowRequest:
    return c.FlowRequest(**_fields(stored))


def _fields(stored: Request) -> dict[str, Any]:
    return {**asdict(stored), "url": f"/requests/{stored.id}"}
