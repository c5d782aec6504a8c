"""The candidates for a question, the best first: by vectors, by words or by both, in one snapshot."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from pgfolio.query_api.retrieval.arms import NOT_AT_ALL, Arms
from pgfolio.query_api.retrieval.crowding import full_documents, limit_per_document
from pgfolio.query_api.retrieval.fusion import fuse_ranks, fuse_scores, rank_by_bm25, vector_share
from pgfolio.query_api.retrieval.parameters import SearchParameters
from pgfolio.query_api.retrieval.query import UnknownCollectionError
from pgfolio.query_api.retrieval.results import SearchResult
from pgfolio.query_api.retrieval.vector_search import EXACT
from pgfolio.schema.search import vector as stored
from pgfolio.schema.search.access import EVERYTHING, Scope
from pgfolio.schema.search.hits import read_hits
from pgfolio.schema.search.vector import Candidate

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from pgfolio.query_api.retrieval.crowding import OfDocument
    from pgfolio.query_api.retrieval.query import Query
    from pgfolio.schema.database.connect import AsyncConnection
    from pgfolio.schema.search.access import Permitted
    from pgfolio.schema.search.question import Scored


PERMITTED: Final = "among those that the key may see"
"""How vectors are searched for a limited key is told no closer: it goes by how many of the nearest it may see."""

MAX_ROUNDS: Final = 5
"""Searches of one question: each next one leaves out the documents that have all their places."""

READ_PER_PLACE: Final = 2
"""Candidates of a document that are read for each place that it may take: some may be near-duplicates of others."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """The best chunks first, maybe more than the limit. `complete`: nothing else can match; `more`: there are
    candidates that were not read; `left_out`: there may be more of documents that have all their places."""

    results: Sequence[SearchResult]
    complete: bool
    more: bool
    left_out: bool = False


@dataclass(frozen=True, slots=True)
class CandidateSearch(SearchParameters):
    """One question to one generation."""

    async def run(self, connection: AsyncConnection) -> Ranking:
        """Raises UnknownCollectionError, GenerationChangedError, DatabaseError."""
        ranking = await _SearchRun(self, connection).ranking()
        if self._may_miss(ranking):
            exact_search = replace(self, query=replace(self.query, exact=True))
            ranking = await _SearchRun(exact_search, connection).ranking()
        if self.permitted is not None and self.trace.searched not in {EXACT, NOT_AT_ALL}:
            self.trace.searched = PERMITTED
        return ranking

    def _may_miss(self, ranking: Ranking) -> bool:
        """An index finds nearly all of the nearest: where a least similarity leaves fewer than the limit, one of
        those that it did not find may have it."""
        query = self.query
        return (
            self.min_similarity is not None
            and query.mode != "lexical"
            and len(ranking.results) < query.limit
            and bool(self.vector.any())
            and not self.trace.searched.startswith(EXACT)
        )


@dataclass(frozen=True, slots=True)
class _SearchRun:
    search: CandidateSearch
    connection: AsyncConnection

    @property
    def arms(self) -> Arms:
        return Arms(self.search, self.connection)

    async def ranking(self) -> Ranking:
        _record_settings(self.search)
        return await (self._nearest() if self.search.query.mode == "vector" else self._fused())

    async def _nearest(self) -> Ranking:
        """By vectors alone: what follows is even less similar."""
        search, scope = self.search, EVERYTHING
        k = search.candidate_count
        results = await self._through_index(k) if search.is_unfiltered_vector else []
        if len(results) < k:
            scope = Scope(search.permitted, await self._collections(), search.query.condition)
            results = await self._read(await self.arms.vectors(scope, k))
        best = {result.hit.chunk_id: result for result in results}
        for _ in range(MAX_ROUNDS):
            full = self._full_documents([each.hit for each in best.values()])
            if len(results) < k or not full or self._is_past(best.values()):
                break
            scope, k = scope.without(full), search.arm_candidate_count
            results = await self._read(await self.arms.vectors(scope, k))
            best |= {result.hit.chunk_id: result for result in results}
        ranked = sorted(best.values(), key=lambda result: -result.score)
        search.trace.candidates = search.trace.ranking = [
            Candidate(each.hit.chunk_id, each.score, each.hit.document_id) for each in ranked
        ]
        return Ranking(
            self._similar_enough(ranked), complete=True, more=len(results) >= k, left_out=bool(scope.excluded)
        )

    async def _through_index(self, k: int) -> list[SearchResult]:
        """The common question, in one round trip."""
        search = self.search
        search.trace.searched = "through the index"
        hits = await stored.nearest(
            self.connection, search.generation, search.vector, k, search.ef_search, None
        )
        return [SearchResult(hit, hit.similarity) for hit in hits]

    async def _fused(self) -> Ranking:
        search, k = self.search, self.search.arm_candidate_count
        scope = Scope(search.permitted, await self._collections(), search.query.condition)
        ranking, complete, left_out = await self._ranked(scope, k)
        search.trace.ranking = ranking
        to_read, surplus = ranking, list[Candidate]()
        # With a least similarity, any of the candidates may turn out to be among the first few that pass it.
        if search.min_similarity is None:
            maximum = search.query.max_per_document
            to_read, surplus = limit_per_document(
                ranking, maximum and maximum * READ_PER_PLACE, lambda candidate: candidate.document_id
            )
            to_read = to_read[: search.candidate_count]
        search.trace.drop(surplus, search.query.max_per_document)
        more = len(ranking) > len(to_read) or len(ranking) >= k
        results = self._similar_enough(await self._read(to_read))
        return Ranking(results, complete, more, left_out or bool(surplus))

    async def _read(self, candidates: Sequence[Candidate]) -> list[SearchResult]:
        ids = [candidate.chunk_id for candidate in candidates]
        search = self.search
        hits = await read_hits(self.connection, search.generation, search.vector, ids, search.permitted)
        return [SearchResult(hits[c.chunk_id], c.score) for c in candidates if c.chunk_id in hits]

    async def _ranked(self, scope: Scope, k: int) -> tuple[list[Candidate], bool, bool]:
        """Candidates, the best first; whether nothing else matches at all, but in documents that have all their
        places; and whether there are such. Those are left out of another round where they fill an arm."""
        scored: dict[int, Scored] = {}
        for _ in range(MAX_ROUNDS):
            candidates = await self._scored(scope, k)
            scored |= {candidate.chunk_id: candidate for candidate in candidates}
            arms = [c for c in candidates if c.in_vector_arm], [c for c in candidates if c.bm25 > 0]
            full = set[int]().union(*(self._full_documents(arm) for arm in arms if len(arm) >= k))
            if not full:
                break
            scope = scope.without(full)
        self.search.trace.candidates = every = list(scored.values())
        exhausted = all(len(arm) < k for arm in arms)
        if self.search.query.mode == "lexical":
            return rank_by_bm25(every), exhausted, bool(scope.excluded)
        return self._weighted(every), exhausted or self._is_past_min_similarity(every), bool(scope.excluded)

    async def _scored(self, scope: Scope, k: int) -> list[Scored]:
        if self.search.query.mode == "lexical":
            return await self.arms.words(scope, k, in_vector_arm=())
        return await self.arms.both(scope, k)

    def _full_documents(self, arm: Sequence[OfDocument]) -> set[int]:
        query = self.search.query
        if query.max_per_document is None:
            return set()
        return full_documents(arm, query.max_per_document, query.limit)

    def _weighted(self, candidates: Sequence[Scored]) -> list[Candidate]:
        if self.search.fusion == "rrf":
            return fuse_ranks(candidates)
        share = vector_share(candidates, self.search.vector_weight)
        weight, origin = self.search.model_weight
        self.search.trace.settings |= {
            "vector_share": round(share, 3),
            "vector_weight": weight,
            "vector_weight_from": origin,
        }
        return fuse_scores(candidates, share)

    def _is_past(self, results: Collection[SearchResult]) -> bool:
        """Whether the farthest of the nearest have too little similarity."""
        min_similarity = self.search.min_similarity
        return min_similarity is not None and min(each.score for each in results) < min_similarity

    def _is_past_min_similarity(self, candidates: Sequence[Scored]) -> bool:
        """Whether the nearest go on to where similarity is too little: what was not found has even less."""
        min_similarity = self.search.min_similarity
        return min_similarity is not None and any(
            c.in_vector_arm and c.similarity < min_similarity for c in candidates
        )

    def _similar_enough(self, results: list[SearchResult]) -> list[SearchResult]:
        min_similarity = self.search.min_similarity
        if min_similarity is None:
            return results
        for result in results:
            if result.hit.similarity < min_similarity:
                self.search.trace.dropped[result.hit.chunk_id] = (
                    f"its similarity {result.hit.similarity:.3f} is below {min_similarity:g}"
                )
        return [result for result in results if result.hit.similarity >= min_similarity]

    async def _collections(self) -> tuple[int, ...] | None:
        return await collections(self.connection, self.search.query, self.search.permitted)


async def collections(
    connection: AsyncConnection, query: Query, permitted: Permitted
) -> tuple[int, ...] | None:
    """The ids of the query's collections. One that is not permitted is as unknown as one that does not exist."""
    if query.collections is None:
        return None
    ids = await stored.collection_ids(connection, query.collections, permitted)
    missing = [name for name in query.collections if name not in ids]
    if missing:
        raise UnknownCollectionError(
            f"there is no collection {', '.join(map(repr, missing))}: GET /collections lists those that there are"
        )
    return tuple(ids.values())


def _record_settings(search: CandidateSearch) -> None:
    """The settings that this question is answered with."""
    query = search.query
    search.trace.settings = {
        "ef_search": search.ef_search,
        "storage": search.generation.space.storage,
        "candidates": search.candidate_count if query.mode == "vector" else search.arm_candidate_count,
        "exact": query.exact,
        "filter": query.condition is not None,
        "min_similarity": search.min_similarity,
        "fusion": search.fusion if query.mode == "hybrid" else None,
        "rerank": query.rerank,
        "neighbors": query.neighbors,
        "max_per_document": query.max_per_document,
    }
