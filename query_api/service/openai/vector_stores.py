"""`GET /v1/vector_stores` and their search: a collection is a vector store, and its documents are files."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, Final

from litestar import get, post

from pgfolio.query_api.auth.caller import caller_of
from pgfolio.query_api.auth.guard import READ
from pgfolio.query_api.observability.timings import took_ms
from pgfolio.query_api.retrieval.filter_parser import parse
from pgfolio.query_api.retrieval.query import Query
from pgfolio.query_api.service.answers import search_answer
from pgfolio.query_api.service.disconnect import unless_client_leaves
from pgfolio.query_api.service.links import base_url, document_url
from pgfolio.query_api.service.openai import contracts as c
from pgfolio.query_api.service.openai.attribute_filter import metadata_filter
from pgfolio.query_api.service.openai.documented import ASKING, ERRORS
from pgfolio.query_api.service.openai.models import stored_collections, unix_time
from pgfolio.query_api.service.problems import trace_id
from pgfolio.query_api.service.requests import AnyRequest, permitted, services

if TYPE_CHECKING:
    from litestar.params import FromPath, JSONBody

    from pgfolio.query_api.service.contracts import Result

DEFAULT_RESULTS: Final = 10


@get(
    "/v1/vector_stores",
    opt=READ,
    responses=ERRORS,
    summary="Collections, as vector stores of OpenAI's API",
)
async def list_vector_stores(request: AnyRequest) -> c.VectorStoreList:
    stores = [
        c.VectorStore(
            id=item.name,
            name=item.name,
            created_at=unix_time(item),
            last_active_at=unix_time(item) or None,
            file_counts=c.FileCounts(completed=item.documents, total=item.documents),
        )
        for item in await stored_collections(request)
    ]
    first, last = (stores[0].id, stores[-1].id) if stores else (None, None)
    return c.VectorStoreList(data=stores, first_id=first, last_id=last)


@post(
    "/v1/vector_stores/{collection:str}/search",
    opt=READ,
    status_code=200,
    responses=ASKING,
    summary="Find chunks, as OpenAI's vector stores do",
)
async def search_vector_store(
    request: AnyRequest, collection: FromPath[str], data: JSONBody[c.StoreSearchRequest]
) -> c.StoreSearchPage:
    queries = [data.query] if isinstance(data.query, str) else data.query
    limit = data.max_num_results or DEFAULT_RESULTS
    condition = None if data.filters is None else parse(metadata_filter(data.filters))
    best: dict[int, Result] = {}
    for text in queries:
        query = Query(
            text=text.replace("\x00", " "), limit=limit, collections=(collection,), condition=condition
        )
        for result in await _results(request, query):
            known = best.get(result.chunk_id)
            best[result.chunk_id] = result if known is None or known.score < result.score else known
    threshold = data.ranking_options.score_threshold if data.ranking_options else None
    ranked = sorted(best.values(), key=lambda result: -result.score)
    base = base_url(request, services(request).retriever.settings.api.public_url)
    return c.StoreSearchPage(
        search_query=queries,
        data=[_store_result(each, base) for each in ranked[:limit] if each.score >= (threshold or 0)],
    )


async def _results(request: AnyRequest, query: Query) -> list[Result]:
    began = time.perf_counter()
    retrieving = services(request).retriever.retrieve(query, permitted(request))
    retrieved = await unless_client_leaves(request, retrieving)
    trace = trace_id(request.scope)
    request.app.state.traces.add(trace, "search", caller_of(request.scope), retrieved.trace)
    return search_answer(retrieved, took_ms=took_ms(began), trace_id=trace).results


def _store_result(result: Result, base: str) -> c.StoreResult:
    url = document_url(base, result.document_id, result.start, result.end)
    attributes = {name: _attribute(value) for name, value in result.metadata.items()}
    return c.StoreResult(
        file_id=str(result.document_id),
        filename=result.path,
        score=min(max(result.score, 0.0), 1.0),
        attributes={**attributes, "title": result.title, "url": url},
        content=[c.TextContent(text=result.content)],
    )


def _attribute(value: Any) -> str | float | bool:
    """Attributes are single values: others are shown as JSON."""
    return value if isinstance(value, (str, int, float, bool)) else json.dumps(value, ensure_ascii=False)
