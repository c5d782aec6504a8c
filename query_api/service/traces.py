"""`GET /traces/{id}`: how an answer was found."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

import msgspec
from litestar import get

from pgfolio.query_api.auth.guard import READ
from pgfolio.query_api.explain.explanation import locate_candidates
from pgfolio.query_api.explain.records import Explanation
from pgfolio.query_api.explain.trace_log import WRITE_SECONDS
from pgfolio.query_api.service import contracts as c
from pgfolio.query_api.service.problems import (
    UnknownTraceError,
    trace_id,
)
from pgfolio.query_api.service.requests import PROBLEM, PROBLEMS, AnyRequest, permitted, services
from pgfolio.schema.operations import traces
from pgfolio.schema.search.pool import in_snapshot

if TYPE_CHECKING:
    from litestar.params import FromPath

    from pgfolio.query_api.explain.trace_log import TraceLog

RETRIES = 2
"""How often a trace that is not there is looked for again, while another process may be about to write it."""


@get(
    "/traces/{id:str}",
    opt=READ,
    responses={**PROBLEMS, 404: PROBLEM},
    summary="How an answer was found",
)
async def trace(request: AnyRequest, id: FromPath[str]) -> c.TraceAnswer:  # noqa: A002 -- the parameter's name
    """For whoever may see all that the one who asked could see, for as long as traces are kept."""
    log: TraceLog = request.app.state.traces
    await log.wait_until_written()
    read = partial(traces.get, trace_id=id.replace("\x00", ""), permitted=permitted(request))
    record = await in_snapshot(services(request).retriever.pool, read, newest=True)
    for _ in range(RETRIES):
        if record is None:  # another process may just be writing it
            await asyncio.sleep(WRITE_SECONDS)
            record = await in_snapshot(services(request).retriever.pool, read, newest=True)
    if record is None:
        raise UnknownTraceError("there is no trace with this id: it may have been kept long enough")
    explained = await locate_candidates(
        services(request).retriever.pool, msgspec.convert(record, Explanation), permitted(request)
    )
    return c.TraceAnswer(id, explained, trace_id(request.scope))
