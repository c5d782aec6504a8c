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
from pgfolio.schema.search.pool import reading

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgfolio.query_api.explain.records import Explanation, TracedCandidate
    from pgfolio.query_api.retrieval.query import Query, Retrieved
    from pgfolio.query_api.retrieval.retriever import Retriever
    from pgfolio.schema.search.catalog import StoredDocument
    from pgfolio.schema.search.vector import Permitted


async def why(
    retriever: Retriever, query: Query, permitted: Permitted, retrieved: Retrieved, document: str
) -> Why:
    """`document` is a path, with its source or without, or an id. Raises what retrieving raises."""
    shown = [one.hit.document_id for one in retrieved.found]
    find = partial(
        find_document, wanted=document, permitted=permitted, meant=shown, collections=query.collections
    )
    stored = await reading(retriever.pool, find)
    if stored is None:
        return Why(
            document, "no such document is stored: `pgfolio status` lists files that could not be done"
        )
    explained = explanation(retrieved.trace, "search")
    only = Equal(BuiltIn("path"), (stored.path,)), Equal(BuiltIn("source"), (stored.source,))
    alone = replace(
        query, condition=Every(only), collections=None, min_similarity=-1.0, rerank=False, neighbors=0
    )
    of_it = explanation((await retriever.retrieve(alone, permitted)).trace, "search")
    best = next(iter(of_it.candidates), None)
    seen = {one.chunk_id: one for one in explained.candidates}
    candidates = [seen[one.chunk_id] for one in of_it.candidates if one.chunk_id in seen]
    among = min(candidates, key=_standing, default=None)
    if among is None and (outside := await _outside(retriever, query, permitted, stored, only)):
        return Why(stored.path, outside, stored.id)
    return _told(stored, explained, among, best)


def _standing(one: TracedCandidate) -> tuple[float, float]:
    """By its place, else by its rank: the document's chunks alone are ranked otherwise than among all."""
    return one.place or inf, one.fused.rank if one.fused else inf


async def _outside(
    retriever: Retriever,
    query: Query,
    permitted: Permitted,
    stored: StoredDocument,
    only: tuple[Equal, Equal],
) -> str:
    """What was asked for and does not hold for the document."""
    if query.collections is not None and stored.collection not in query.collections:
        return f"it is in the collection {stored.collection!r}, which was not asked for"
    if query.condition is None:
        return ""
    both = replace(
        query, condition=Every((query.condition, *only)), min_similarity=-1.0, rerank=False,
        mode="vector", exact=True,
    )  # fmt: skip
    matching = await retriever.retrieve(both, permitted)
    return "" if matching.found else "it does not match the filter"


def _told(
    stored: StoredDocument,
    explained: Explanation,
    among: TracedCandidate | None,
    best: TracedCandidate | None,
) -> Why:
    shown = among or best
    if shown is None:
        return Why(stored.path, "it has no chunk that could be compared with the question", stored.id)
    if among is not None and among.place is not None:
        reason = f"it is there, at place {among.place}"
    elif among is not None:
        rank = among.fused.rank if among.fused else 0
        reason = f"its best chunk is at rank {rank} of {explained.candidates_in_all}: {among.dropped}"
    else:
        reason = (
            "its best chunk is among the candidates of no arm: others are nearer, and have more of the words"
        )
    vector, words = shown.vector, shown.words
    return Why(
        stored.path,
        reason,
        stored.id,
        shown.chunk_id,
        vector.score if vector else None,
        _least([one.vector.score for one in explained.candidates if one.vector]),
        words.score if words else None,
        _least([one.words.score for one in explained.candidates if one.words]),
    )


def _least(scores: Sequence[float]) -> float | None:
    return min(scores, default=None)
