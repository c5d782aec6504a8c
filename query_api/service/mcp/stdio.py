"""The protocol over standard input and output, for an assistant that starts `pgfolio mcp` itself."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from mcp.server.stdio import stdio_server

from pgfolio.query_api.retrieval.candidates import collections as collection_ids_of
from pgfolio.query_api.retrieval.query import Query
from pgfolio.query_api.service.mcp.server import create_server
from pgfolio.query_api.service.mcp.tools import ToolContext
from pgfolio.query_api.services import open_services
from pgfolio.schema.database.connect import database
from pgfolio.schema.search.pool import in_snapshot

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgfolio.config.settings import Settings


def serve_stdio(settings: Settings, collections: Sequence[str]) -> None:
    """Until standard input ends. Only these collections; none: all. Raises UnknownCollectionError, DatabaseError,
    ConfigError, a ModelError."""
    with database(settings, pooled=True) as conninfo:
        asyncio.run(_serve(settings, conninfo, collections))


async def _serve(settings: Settings, conninfo: str, collections: Sequence[str]) -> None:
    base = settings.api.public_url.rstrip("/") or f"http://{settings.api.host}:{settings.api.port}"
    async with open_services(settings, conninfo) as services:
        query = Query("", collections=tuple(collections) or None)
        permitted = await in_snapshot(
            services.retriever.pool, partial(collection_ids_of, query=query, permitted=None)
        )

        def context(_: Any) -> ToolContext:
            return ToolContext(services, permitted, base, {"state": {}})

        server = create_server(context)
        async with stdio_server() as (reading, writing):
            await server.run(reading, writing, server.create_initialization_options())
