"""`GET /facets`: by what a search can be filtered, for a page that offers it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from litestar import get
from litestar.params import QueryParameter

from pgfolio.query_api.auth.guard import READ
from pgfolio.query_api.retrieval.query import UnknownCollectionError
from pgfolio.query_api.service import facet_contracts as c
from pgfolio.query_api.service.problems import trace_id
from pgfolio.query_api.service.requests import PROBLEM, PROBLEMS, AnyRequest, permitted, services
from pgfolio.schema.search import facets as stored
from pgfolio.schema.search import vector
from pgfolio.schema.search.pool import in_snapshot

if TYPE_CHECKING:
    from pgfolio.schema.database.connect import AsyncConnection


@get("/facets", opt=READ, responses={**PROBLEMS, 404: PROBLEM}, summary="By what documents can be filtered")
async def facets(
    request: AnyRequest,
    collection: Annotated[str | None, QueryParameter(pattern=r"^[^\x00]*$")] = None,
) -> c.Facets:
    """Of what may be seen, or of one collection. Where `sampled` is true the counts are estimates."""
    allowed = permitted(request)

    async def read(connection: AsyncConnection) -> dict[str, Any]:
        if collection is None:
            return await stored.get_facets(connection, allowed)
        ids = await vector.collection_ids(connection, [collection], allowed)
        if collection not in ids:
            raise UnknownCollectionError(f"there is no collection {collection[:200]!r}")
        return await stored.get_facets(connection, allowed, ids[collection])

    values = await in_snapshot(services(request).retriever.pool, read)
    return msgspec.convert({**values, "trace_id": trace_id(request.scope)}, c.Facets)
