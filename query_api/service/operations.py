"""What is stored and how it goes: collections, status, health, metrics."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from litestar import get

from pgfolio.query_api.auth.caller import caller_of
from pgfolio.query_api.auth.guard import PUBLIC, READ
from pgfolio.query_api.observability import metrics
from pgfolio.query_api.service import answers
from pgfolio.query_api.service import contracts as c
from pgfolio.query_api.service.problems import (
    NotReadyError,
    trace_id,
)
from pgfolio.query_api.service.requests import PROBLEM, PROBLEMS, AnyRequest, permitted, services
from pgfolio.query_api.services import replica_of
from pgfolio.schema.database.connect import connect_reading
from pgfolio.schema.operations import gauges, heartbeats
from pgfolio.schema.operations.overview import overview
from pgfolio.schema.operations.replicas import replica_gauge
from pgfolio.schema.search import catalog
from pgfolio.schema.search.pool import in_snapshot

if TYPE_CHECKING:
    from pgfolio.query_api.auth.keyring import KeyRing
    from pgfolio.query_api.background import Supervisor
    from pgfolio.schema.database.connect import AsyncConnection

HINT = "sync a folder first: `pgfolio sync FOLDER`"


@get("/collections", opt=READ, responses=PROBLEMS, summary="Collections with their counts")
async def collections(request: AnyRequest) -> c.CollectionList:
    retriever = services(request).retriever
    stored = await in_snapshot(
        retriever.pool, partial(catalog.list_collections, permitted=permitted(request))
    )
    active = await retriever.spaces.current()
    space = active.generation.space.name if active else None
    return c.CollectionList(
        [answers.collection_item(item) for item in stored], space, trace_id(request.scope)
    )


@get("/status", opt=READ, responses=PROBLEMS, summary="Sources, spaces and their indexes, runs, problems")
async def status(request: AnyRequest) -> c.Status:
    def read() -> dict[str, Any]:
        settings = services(request).retriever.settings
        with connect_reading(
            services(request).conninfo, replica_of(settings), timeout=settings.api.statement_timeout
        ) as connection:
            return overview(
                connection,
                permitted(request),
                keep_generations_days=settings.index.keep_generations_days,
                ef_search=settings.index.ef_search,
                prefixes=(settings.embedding.query_prefix, settings.embedding.document_prefix),
                roots=caller_of(request.scope).scope == "admin",
            )

    tables = await asyncio.to_thread(read)
    prompts = services(request).answerer.prompts
    prompts.current()
    if prompts.problem and permitted(request) is None:  # it names a file of this machine
        tables["problems"].append({"source": "", "path": "", "stage": "prompts", "reason": prompts.problem})
    return c.Status(**tables, trace_id=trace_id(request.scope))


@get("/health/live", opt=PUBLIC, security=[{}], summary="The process is up")
async def live(request: AnyRequest) -> c.HealthAnswer:
    return c.HealthAnswer("ok", None, trace_id(request.scope))


@get(
    "/health/ready",
    opt=PUBLIC,
    security=[{}],
    responses={500: PROBLEM, 502: PROBLEM, 503: PROBLEM},
    summary="Database, keys, space and model are usable",
)
async def ready(request: AnyRequest) -> c.HealthAnswer:
    spaces = services(request).retriever.spaces
    active = await spaces.refresh(await spaces.current())
    if active is None:
        raise NotReadyError(f"nothing was synced yet: {HINT}")
    await active.check_ready()
    keys: KeyRing = request.app.state.key_ring
    keys.check_current()
    supervisor: Supervisor = request.app.state.supervisor
    return c.HealthAnswer(
        "ok", active.generation.space.name, trace_id(request.scope), degraded=supervisor.degraded
    )


@get("/metrics", opt=READ, responses=PROBLEMS, media_type=metrics.CONTENT_TYPE, summary="For Prometheus")
async def prometheus(request: AnyRequest) -> bytes:
    """Of collections and sources those that the key may see; what the API did only for who may see all."""
    allowed, index = permitted(request), services(request).retriever.settings.index

    pool = services(request).retriever.pool
    replica = None if allowed is not None else await replica_gauge(pool)

    async def read(connection: AsyncConnection) -> metrics.StoredGauges:
        return metrics.StoredGauges(
            await catalog.list_collections(connection, allowed),
            await gauges.source_gauges(connection, allowed),
            await gauges.index_gauge(connection, allowed, index.ef_search),
            await gauges.runs_overview(connection, allowed),
            [] if allowed is not None else await heartbeats.read_ages(connection),
            await gauges.waiting_requests(connection, allowed),
            replica,
        )

    stored = await in_snapshot(pool, read)
    metrics.sample(pool)
    return metrics.render(stored, with_requests=allowed is None)
