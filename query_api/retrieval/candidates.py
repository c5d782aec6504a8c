"""The candidates for a question, the best first: by vectors, by words or by both, in one snapshot."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from pgfolio.query_api.retrieval.fusion import fuse_ranks, fuse_scores, rank_by_bm25, vector_share
from pgfolio.query_api.retrieval.phrases import parse_question
from pgfolio.query_api.retrieval.query import UnknownCollectionError
from pgfolio.query_api.retrieval.results import SearchResult
from pgfolio.query_api.retrieval.vector_search import EXACT, nearest_matching
from pgfolio.schema.search import vector as stored
from pgfolio.schema.search.access import EVERYTHING, Scope
from pgfolio.schema.search.hits import read_hits
from pgfolio.schema.search.lexical import rank_words
from pgfolio.schema.search.vector import Candidate

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from pgfolio.config.settings import Settings
    from pgfolio.query_api.retrieval.fusion import Fusion
    from pgfolio.query_api.retrieval.query import Query
    from pgfolio.query_api.retrieval.query_embedding import QueryEmbedding
    from pgfolio.query_api.retrieval.trace import Trace
    from pgfolio.schema.database.connect import AsyncConnection
    from pgfolio.schema.records import Generation
    from pgfolio.schema.search.access import Permitted
    from pgfolio.schema.search.question import Scored


NOT_AT_ALL: Final = "not at all: the model knows no part of the question"
PERMITTED: Final = "among those that the key may see"
"""How vectors are searched for a limited key is told no closer: it goes by how many of the nearest it may see."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """The best chunks first, maybe more than the limit. `complete`: nothing else can match; `more`: there are
    candidates that were not read."""

    results: Sequence[SearchResult]
    complete: bool
    more: bool


@dataclass(frozen=True, slots=True)
class CandidateSearch:
    """One question to one generation; `candidate_count` candidates are read."""

    settings: Settings
    generation: Generation
    embedding: QueryEmbedding
    query: Query
    permitted: Permitted
    candidate_count: int
    trace: Trace

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

    @property
    def vector(self) -> np.ndarray:
        return self.embedding.vector

    @property
    def is_unfiltered_vector(self) -> bool:
        """The common question: the nearest of all chunks."""
        query = self.query
        everywhere = query.collections is None and query.condition is None and self.permitted is None
        return query.mode == "vector" and everywhere and not query.exact and bool(self.vector.any())

    @property
    def arm_candidate_count(self) -> int:
        """Candidates of each arm."""
        if self.query.mode == "vector":
            return self.candidate_count
        return max(self.candidate_count, self.settings.search.candidates)

    @property
    def min_similarity(self) -> float | None:
        """The settings' 0 means no bound: a word's chunk may well have a similarity below 0."""
        if self.query.min_similarity is not None:
            return self.query.min_similarity
        return self.settings.search.min_similarity or None

    @property
    def fusion(self) -> Fusion:
        return self.query.fusion or self.settings.search.fusion

    @property
    def vector_weight(self) -> float:
        """The query's or the settings' weight, times how much of the question's vocabulary the model knows."""
        requested = self.query.vector_weight
        weight = self.settings.search.vector_weight if requested is None else requested
        return weight * self.embedding.vocabulary_coverage

    @property
    def ef_search(self) -> int:
        return self.query.ef_search or self.generation.ef_search or self.settings.index.ef_search


@dataclass(frozen=True, slots=True)
class _SearchRun:
    search: CandidateSearch
    connection: AsyncConnection

    async def ranking(self) -> Ranking:
        search = self.search
        _record_settings(search)
        if search.is_unfiltered_vector:
            hits = await stored.nearest(
                self.connection,
                search.generation,
                search.vector,
                search.candidate_count,
                search.ef_search,
                None,
            )
            if len(hits) == search.candidate_count:
                search.trace.searched = "through the index"
                search.trace.candidates = [Candidate(hit.chunk_id, hit.similarity) for hit in hits]
                search.trace.ranking = search.trace.candidates
                return Ranking(
                    self._similar_enough([SearchResult(hit, hit.similarity) for hit in hits]), True, True
                )
        scope = Scope(search.permitted, await self._collections(), search.query.condition)
        ranking, complete = await self._ranked(scope, search.arm_candidate_count)
        search.trace.ranking = ranking
        # With a least similarity, any of the candidates may turn out to be among the first few that pass it.
        to_read = ranking if search.min_similarity is not None else ranking[: search.candidate_count]
        more = len(ranking) > len(to_read) or len(ranking) >= search.arm_candidate_count
        return Ranking(self._similar_enough(await self._read(to_read)), complete, more)

    async def _read(self, candidates: Sequence[Candidate]) -> list[SearchResult]:
        ids = [candidate.chunk_id for candidate in candidates]
        search = self.search
        hits = await read_hits(self.connection, search.generation, search.vector, ids, search.permitted)
        return [SearchResult(hits[c.chunk_id], c.score) for c in candidates if c.chunk_id in hits]

    async def _ranked(self, scope: Scope, k: int) -> tuple[list[Candidate], bool]:
        """Candidates, the best first, and whether nothing else matches at all."""
        search = self.search
        if search.query.mode == "vector":
            search.trace.candidates = nearest = await self._vector_arm(scope, k)
            return nearest, True  # what follows is even less similar
        if search.query.mode == "lexical":
            search.trace.candidates = candidates = await self._bm25_arm(scope, k, in_vector_arm=())
            matching = rank_by_bm25(candidates)
            return matching, len(matching) < k
        search.trace.candidates = candidates = await self._both_arms(scope, k)
        fused = self._fused(candidates)
        vector_count, bm25_count = (
            sum(c.in_vector_arm for c in candidates),
            sum(c.bm25 > 0 for c in candidates),
        )
        return fused, (vector_count < k and bm25_count < k) or self._is_past_min_similarity(candidates)

    def _fused(self, candidates: Sequence[Scored]) -> list[Candidate]:
        if self.search.fusion == "rrf":
            return fuse_ranks(candidates)
        share = vector_share(candidates, self.search.vector_weight)
        self.search.trace.settings["vector_share"] = round(share, 3)
        return fuse_scores(candidates, share)

    def _is_past_min_similarity(self, candidates: Sequence[Scored]) -> bool:
        """Whether the nearest go on to where similarity is too little: what was not found has even less."""
        min_similarity = self.search.min_similarity
        return min_similarity is not None and any(
            c.in_vector_arm and c.similarity < min_similarity for c in candidates
        )

    async def _both_arms(self, scope: Scope, k: int) -> list[Scored]:
        """In one round trip where every chunk may be found and the index gives enough."""
        if scope == EVERYTHING and not self.search.query.exact and self.search.vector.any():
            self.search.trace.searched = "through the index"
            candidates = await self._bm25_arm(scope, k, in_vector_arm=None)
            if sum(c.in_vector_arm for c in candidates) >= k:
                return candidates
        nearest = await self._vector_arm(scope, k)
        return await self._bm25_arm(scope, k, in_vector_arm=[c.chunk_id for c in nearest])

    async def _bm25_arm(self, scope: Scope, k: int, *, in_vector_arm: Sequence[int] | None) -> list[Scored]:
        search = self.search
        return await rank_words(
            self.connection,
            search.generation,
            parse_question(search.query.text),
            search.vector,
            k,
            scope,
            in_vector_arm=in_vector_arm,
            ef_search=search.ef_search,
        )

    async def _vector_arm(self, scope: Scope, k: int) -> list[Candidate]:
        search = self.search
        if not search.vector.any():  # a question without any known token is near to nothing
            search.trace.searched = NOT_AT_ALL
            return []
        target = self.connection, search.generation, search.vector
        if search.query.exact:
            search.trace.searched = EXACT
            return await stored.rank_exact(*target, k, scope)
        nearest, search.trace.searched = await nearest_matching(
            *target, search.query.limit, k, search.ef_search, scope
        )
        return nearest

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
        "candidates": search.arm_candidate_count,
        "exact": query.exact,
        "filter": query.condition is not None,
        "min_similarity": search.min_similarity,
        "fusion": search.fusion if query.mode == "hybrid" else None,
        "rerank": query.rerank,
        "neighbors": query.neighbors,
    }
