"""What is remembered of how an answer was found, from the candidates of each arm to what was dropped and why."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from msgspec.structs import replace

from pgfolio.query_api.explain.records import NONE, Explanation, Ranked, StoredCandidate, TracedCandidate
from pgfolio.schema.search.hits import locate
from pgfolio.schema.search.pool import in_snapshot
from pgfolio.schema.search.question import Scored

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping, Sequence

    from pgfolio.query_api.retrieval.trace import Trace
    from pgfolio.schema.search.access import Permitted
    from pgfolio.schema.search.hits import Place
    from pgfolio.schema.search.pool import Pool
    from pgfolio.schema.search.vector import Candidate

MAX_STORED_CANDIDATES = 50
"""Candidates of a stored trace; `explain` has all of them."""


def explanation(
    trace: Trace, kind: str, *, max_candidates: int | None = None, with_query: bool = True
) -> Explanation:
    """The trace as it is reported and stored, with at most `max_candidates`, the results among them. Pure."""
    query, generation = trace.query, trace.generation
    return Explanation(
        kind=kind,
        asked_at=trace.began,
        query=query.text if with_query else None,
        mode=query.mode,
        limit=query.limit,
        collections=list(query.collections) if query.collections else None,
        space=generation.space.name if generation else None,
        generation=generation.id if generation else None,
        settings=trace.settings,
        searched=trace.searched,
        milliseconds={name: round(seconds * 1000, 3) for name, seconds in trace.seconds.items()},
        candidates=_candidates(trace, max_candidates),
        candidates_in_all=len(trace.ranking),
        notes=list(trace.notes),
        answer=trace.answer,
    )


async def locate_candidates(pool: Pool, explained: Explanation, permitted: Permitted) -> Explanation:
    """With where its candidates stand: those that whoever asks may see."""
    ids = [one.chunk_id for one in explained.candidates]
    places = await in_snapshot(pool, partial(locate, ids=ids, permitted=permitted))
    return replace(explained, candidates=_with_places(explained, places))


def _with_places(explained: Explanation, places: Mapping[int, Place]) -> list[TracedCandidate]:
    """One that is not there any more, or not for whoever asks, is left out."""
    return [
        TracedCandidate(
            chunk_id=one.chunk_id,
            document_id=place.document_id,
            source=place.source,
            path=place.path,
            heading=place.heading,
            vector=one.vector,
            words=one.words,
            exact=one.exact,
            fused=one.fused,
            reranked=one.reranked,
            place=one.place,
            dropped=one.dropped,
        )
        for one in explained.candidates
        if (place := places.get(one.chunk_id)) is not None
    ]


def _candidates(trace: Trace, max_candidates: int | None) -> list[TracedCandidate]:
    places = {chunk: place for place, chunk in enumerate(trace.results, 1)}
    ranks = {
        candidate.chunk_id: rank
        for rank, candidate in enumerate(trace.ranking, 1)
        if max_candidates is None or rank <= max_candidates or candidate.chunk_id in places
    }
    vector, words, exact = _arms(trace.candidates, ranks)
    reranked = _ranked(trace.reranked.items(), ranks)
    candidate_type = TracedCandidate if max_candidates is None else StoredCandidate
    return [
        candidate_type(
            chunk_id=chunk,
            vector=vector.get(chunk),
            words=words.get(chunk),
            exact=exact.get(chunk, NONE),
            fused=Ranked(ranks[chunk], round(candidate.score, 6)),
            reranked=reranked.get(chunk),
            place=places.get(chunk),
            dropped=None if chunk in places else trace.dropped.get(chunk, "beyond the limit"),
        )
        for candidate in trace.ranking
        if (chunk := candidate.chunk_id) in ranks
    ]


def _arms(
    candidates: Sequence[Scored] | Sequence[Candidate], reported: Container[int]
) -> tuple[dict[int, Ranked], dict[int, Ranked], dict[int, float]]:
    scored = [c for c in candidates if isinstance(c, Scored)]
    if not scored:
        unscored = ((c.chunk_id, c.score) for c in candidates if not isinstance(c, Scored))
        return _ranked(unscored, reported), {}, {}
    vector = _ranked(((c.chunk_id, c.similarity) for c in scored if c.in_vector_arm), reported)
    bm25 = _ranked(((c.chunk_id, c.bm25) for c in scored if c.bm25 > 0), reported)
    return vector, bm25, {c.chunk_id: round(c.exact_match, 6) for c in scored if c.exact_match}


def _ranked(scores: Iterable[tuple[int, float]], reported: Container[int]) -> dict[int, Ranked]:
    """Each one's rank among all of them, of those that are reported."""
    ordered = sorted((-score, chunk) for chunk, score in scores)
    return {
        chunk: Ranked(rank, round(-negative, 6))
        for rank, (negative, chunk) in enumerate(ordered, 1)
        if chunk in reported
    }
