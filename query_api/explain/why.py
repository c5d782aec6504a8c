"""Why a document is not among the results: its best chunk, beside the last ones that came into question."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from math import inf
from typing import TYPE_CHECKING

from pgfolio.query_api.explain.explanation import explanation
from pgfolio.query_api.explain.records import Why
from pgfolio.schema.search.catalog import find_document
from pgfolio.schema.search.conditions import BuiltIn, Equal, Every
from pgfolio.schema.search.pool import in_snapshot

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgfolio.query_api.explain.records import Explanation, TracedCandidate
    from pgfolio.query_api.retrieval.query import Query
    from pgfolio.query_api.retrieval.results import Retrieved
    from pgfolio.query_api.retrieval.retriever import Retriever
    from pgfolio.schema.search.access import Permitted
    from pgfolio.schema.search.catalog import StoredDocument


async def why(
    retriever: Retriever, query: Query, permitted: Permitted, retrieved: Retrieved, document: str
) -> Why:
    """`document` is a path, with its source or without, or an id. Raises what retrieving raises."""
    document_ids = [one.hit.document_id for one in retrieved.results]
    find = partial(
        find_document,
        reference=document,
        permitted=permitted,
        meant=document_ids,
        collections=query.collections,
    )
    stored = await in_snapshot(retriever.pool, find)
    if stored is None:
        return Why(
            document, "no such document is stored: `pgfolio status` lists files that could not be done"
        )
    explained = explanation(retrieved.trace, "search")
    is_document = Equal(BuiltIn("path"), (stored.path,)), Equal(BuiltIn("source"), (stored.source,))
    document_query = replace(
        query, condition=Every(is_document), collections=None, min_similarity=-1.0, rerank=False, neighbors=0,
        max_per_document=None,
    )  # fmt: skip
    document_explanation = explanation((await retriever.retrieve(document_query, permitted)).trace, "search")
    best = next(iter(document_explanation.candidates), None)
    by_chunk = {one.chunk_id: one for one in explained.candidates}
    candidates = [
        by_chunk[one.chunk_id] for one in document_explanation.candidates if one.chunk_id in by_chunk
    ]
    listed = min(candidates, key=_position, default=None)
    if listed is None and (
        outside := await _unmet_condition(retriever, query, permitted, stored, is_document)
    ):
        return Why(stored.path, outside, stored.id)
    return _explain_why(stored, explained, listed, best)


def _position(one: TracedCandidate) -> tuple[float, float]:
    """By its place, else by its rank: the document's chunks alone are ranked otherwise than among all."""
    return one.place or inf, one.fused.rank if one.fused else inf


async def _unmet_condition(
    retriever: Retriever,
    query: Query,
    permitted: Permitted,
    stored: StoredDocument,
    is_document: tuple[Equal, Equal],
) -> str:
    """The collection or filter of the query that the document does not match; empty where it matches them all."""
    if query.collections is not None and stored.collection not in query.collections:
        return f"it is in the collection {stored.collection!r}, which was not asked for"
    if query.condition is None:
        return ""
    filter_query = replace(
        query, condition=Every((query.condition, *is_document)), min_similarity=-1.0, rerank=False,
        mode="vector", exact=True,
    )  # fmt: skip
    matching = await retriever.retrieve(filter_query, permitted)
    return "" if matching.results else "it does not match the filter"


def _explain_why(
    stored: StoredDocument,
    explained: Explanation,
    listed: TracedCandidate | None,
    best: TracedCandidate | None,
) -> Why:
    chunk = listed or best
    if chunk is None:
        return Why(stored.path, "it has no chunk that could be compared with the question", stored.id)
    if listed is not None and listed.place is not None:
        reason = f"it is there, at place {listed.place}"
    elif listed is not None:
        rank = listed.fused.rank if listed.fused else 0
        reason = f"its best chunk is at rank {rank} of {explained.candidates_in_all}: {listed.dropped}"
    else:
        reason = (
            "its best chunk is among the candidates of no arm: others are nearer, and have more of the words"
        )
    return Why(
        document=stored.path,
        reason=reason,
        document_id=stored.id,
        chunk_id=chunk.chunk_id,
        similarity=chunk.vector.score if chunk.vector else None,
        least_similarity=_minimum([one.vector.score for one in explained.candidates if one.vector]),
        words=chunk.words.score if chunk.words else None,
        least_words=_minimum([one.words.score for one in explained.candidates if one.words]),
    )


def _minimum(scores: Sequence[float]) -> float | None:
    return min(scores, default=None)
