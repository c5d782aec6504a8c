"""Shapes answers, for HTTP and for the terminal: the contracts made from what was retrieved and stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from pgfolio.query_api.explain.explanation import explanation, locate_candidates
from pgfolio.query_api.explain.why import why as why_not
from pgfolio.query_api.retrieval.results import display_title
from pgfolio.query_api.service import contracts as c
from pgfolio.query_api.service.answer_size import bounded_results, size_notes
from pgfolio.query_api.service.links import linked

if TYPE_CHECKING:
    from pgfolio.query_api.answering.records import Answer, AnswerRequest
    from pgfolio.query_api.explain.records import Explanation, Why
    from pgfolio.query_api.retrieval.query import Query
    from pgfolio.query_api.retrieval.results import Retrieved, SearchResult
    from pgfolio.query_api.retrieval.retriever import Retriever
    from pgfolio.schema.search.access import Permitted
    from pgfolio.schema.search.catalog import StoredChunk, StoredCollection, StoredDocument


class Explained(NamedTuple):
    """What an answer says of how it was found, as far as the request asks for that."""

    explanation: Explanation | None = None
    why: Why | None = None


NOT_EXPLAINED = Explained()


def search_answer(
    retrieved: Retrieved,
    *,
    took_ms: float,
    trace_id: str,
    explained: Explained = NOT_EXPLAINED,
) -> c.SearchAnswer:
    found = [result(ranked) for ranked in retrieved.results]
    results = bounded_results(found)
    without_metadata = sum(ranked.hit.metadata is None for ranked in retrieved.results[: len(results)])
    return c.SearchAnswer(
        results=results,
        total_returned=len(results),
        complete=retrieved.complete and len(results) == len(found),
        space=retrieved.space,
        took_ms=took_ms,
        trace_id=trace_id,
        notes=[*retrieved.trace.notes, *size_notes(found, results, without_metadata)],
        explain=explained.explanation,
        why=explained.why,
    )


def ask_answer(
    answer: Answer,
    request: AnswerRequest,
    *,
    took_ms: float,
    trace_id: str,
    explained: Explained = NOT_EXPLAINED,
    base: str | None = None,
) -> c.AskAnswer:
    """`base`: what links to citations begin with; None: they have none."""
    return c.AskAnswer(
        answer=answer.text,
        answered=answer.answered,
        mode=answer.mode,
        citations=[each if base is None else linked(each, base) for each in answer.citations],
        sources=list(answer.sources),
        model=answer.model,
        usage=answer.usage,
        took_ms=took_ms,
        trace_id=trace_id,
        notes=[*request.retrieved.trace.notes, *answer.notes],
        explain=explained.explanation,
        why=explained.why,
        finish_reason=answer.finish_reason,
        question=request.question,
    )


async def explain(
    retriever: Retriever,
    query: Query,
    permitted: Permitted,
    retrieved: Retrieved,
    *,
    kind: str,
    with_explanation: bool,
    document: str | None,
) -> Explained:
    """How results were found, and why `document` is not among them. Raises what retrieving raises."""
    explained = explanation(retrieved.trace, kind) if with_explanation else None
    why = await why_not(retriever, query, permitted, retrieved, document) if document else None
    if explained is not None:
        explained = await locate_candidates(retriever.pool, explained, permitted)
    return Explained(explained, why)


def result(ranked: SearchResult) -> c.Result:
    hit = ranked.hit
    return c.Result(
        chunk_id=hit.chunk_id,
        document_id=hit.document_id,
        collection=hit.collection,
        source=hit.source,
        path=hit.path,
        title=display_title(hit.title, hit.path),
        content=hit.content,
        heading=hit.heading,
        page=hit.page,
        start=hit.start,
        end=hit.end,
        metadata=hit.metadata or {},
        similarity=round(hit.similarity, 6),
        score=round(ranked.score, 6),
        repeats=ranked.near_duplicate_of,
        file_start=hit.file_start,
        file_end=hit.file_end,
        created_at=hit.created_at,
        updated_at=hit.updated_at,
    )


def document_item(document: StoredDocument) -> c.DocumentItem:
    return c.DocumentItem(**document_fields(document))


def document_fields(document: StoredDocument) -> dict[str, Any]:
    values = {name: getattr(document, name) for name in c.DocumentItem.__struct_fields__}
    title = display_title(document.title, document.path)
    return {**values, "title": title, "metadata": document.metadata or {}}


def chunk_item(chunk: StoredChunk) -> c.ChunkItem:
    return c.ChunkItem(**{name: getattr(chunk, name) for name in c.ChunkItem.__struct_fields__})


def collection_item(collection: StoredCollection) -> c.CollectionItem:
    return c.CollectionItem(
        **{name: getattr(collection, name) for name in c.CollectionItem.__struct_fields__}
    )
