"""The candidates for a question, the best first: by vectors, by words or by both, in one snapshot."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pgfolio.query_api.retrieval.fusion import by_rank, by_scores, by_words, vector_share
from pgfolio.query_api.retrieval.phrases import question
from pgfolio.query_api.retrieval.query import Found, UnknownCollectionError
from pgfolio.query_api.retrieval.vector_search import EXACT, nearest_within
from pgfolio.schema.search import vector as stored
from pgfolio.schema.search.hits import read_hits
from pgfolio.schema.search.lexical import rank_words
from pgfolio.schema.search.vector import EVERYTHING, Candidate, Scope

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from pgfolio.config.settings import Settings
    from pgfolio.query_api.explain.explanation import Trace
    from pgfolio.query_api.retrieval.fusion import Fusion
    from pgfolio.query_api.retrieval.query import Query
    from pgfolio.query_api.retrieval.query_embedding import Embedded
    from pgfolio.schema.records import Generation
    from pgfolio.schema.search.lexical import Scored
    from pgfolio.schema.search.pool import AsyncConnection
    from pgfolio.schema.search.vector import Permitted


@dataclass(frozen=True, slots=True)
class Ranking:
    """The best chunks first, maybe more than are asked for. `complete`: nothing else can match; `more`: there are
    candidates that were not read."""

    found: Sequence[Found]
    complete: bool
    more: bool


@dataclass(frozen=True, slots=True)
class Search:
    """One question to one generation; so many candidates as `depth` says are read."""

    settings: Settings
    generation: Generation
    embedded: Embedded
    query: Query
    permitted: Permitted
    depth: int
    trace: Trace

    async def run(self, connection: AsyncConnection) -> Ranking:
        """Raises UnknownCollectionError, GenerationChangedError, DatabaseError."""
        ranking = await _Run(self, connection).ranking()
        if not self._may_miss(ranking):
            return ranking
        exactly = replace(self, query=replace(self.query, exact=True))
        return await _Run(exactly, connection).ranking()

    def _may_miss(self, ranking: Ranking) -> bool:
        """An index finds nearly all of the nearest: where a least similarity leaves fewer than are asked for, one of
        those that it did not find may have it."""
        query = self.query
        return (
            self.least is not None
            and query.mode != "lexical"
            and len(ranking.found) < query.limit
            and bool(self.vector.any())
            and not self.trace.searched.startswith(EXACT)
        )

    @property
    def vector(self) -> np.ndarray:
        return self.embedded.vector

    @property
    def plain(self) -> bool:
        """The common question: the nearest of all chunks."""
        query = self.query
        everywhere = query.collections is None and query.condition is None and self.permitted is None
        return query.mode == "vector" and everywhere and not query.exact and bool(self.vector.any())

    @property
    def wanted(self) -> int:
        """Candidates of each arm."""
        if self.query.mode == "vector":
            return self.depth
        return max(self.depth, self.settings.search.candidates)

    @property
    def least(self) -> float | None:
        """The settings' 0 means no bound: a word's chunk may well have a similarity below 0."""
        if self.query.min_similarity is not None:
            return self.query.min_similarity
        return self.settings.search.min_similarity or None

    @property
    def fusion(self) -> Fusion:
        return self.query.fusion or self.settings.search.fusion

    @property
    def vector_weight(self) -> float:
        """What was asked for, and less where the model does not know the question's words."""
        asked = self.query.vector_weight
        weight = self.settings.search.vector_weight if asked is None else asked
        return weight * self.embedded.familiar

    @property
    def ef_search(self) -> int:
        return self.query.ef_search or self.generation.ef_search or self.settings.index.ef_search


@dataclass(frozen=True, slots=True)
class _Run:
    search: Search
    connection: AsyncConnection

    async def ranking(self) -> Ranking:
        search = self.search
        _note(search)
        if search.plain:
            hits = await stored.nearest(
                self.connection, search.generation, search.vector, search.depth, search.ef_search, None
            )
            if len(hits) == search.depth:
                search.trace.searched = "through the index"
                search.trace.candidates = [Candidate(hit.chunk_id, hit.similarity) for hit in hits]
                search.trace.ranking = search.trace.candidates
                return Ranking(self._similar([Found(hit, hit.similarity) for hit in hits]), True, True)
        scope = Scope(search.permitted, await self._collections(), search.query.condition)
        ranking, complete = await self._ranked(scope, search.wanted)
        search.trace.ranking = ranking
        # With a least similarity, any of the candidates may turn out to be among the first few that pass it.
        read = ranking if search.least is not None else ranking[: search.depth]
        more = len(ranking) > len(read) or len(ranking) >= search.wanted
        return Ranking(self._similar(await self._read(read)), complete, more)

    async def _read(self, candidates: Sequence[Candidate]) -> list[Found]:
        ids = [candidate.chunk_id for candidate in candidates]
        search = self.search
        hits = await read_hits(self.connection, search.generation, search.vector, ids, search.permitted)
        return [Found(hits[c.chunk_id], c.score) for c in candidates if c.chunk_id in hits]

    async def _ranked(self, scope: Scope, wanted: int) -> tuple[list[Candidate], bool]:
        """Candidates, the best first, and whether nothing else matches at all."""
        search = self.search
        if search.query.mode == "vector":
            search.trace.candidates = nearest = await self._by_vector(scope, wanted)
            return nearest, True  # what follows is even less similar
        if search.query.mode == "lexical":
            search.trace.candidates = candidates = await self._by_words(scope, wanted, near=())
            found = by_words(candidates)
            return found, len(found) < wanted
        search.trace.candidates = candidates = await self._by_both(scope, wanted)
        fused = self._fused(candidates)
        near, with_words = sum(c.near for c in candidates), sum(c.words > 0 for c in candidates)
        return fused, (near < wanted and with_words < wanted) or self._beyond(candidates)

    def _fused(self, candidates: Sequence[Scored]) -> list[Candidate]:
        if self.search.fusion == "rrf":
            return by_rank(candidates)
        share = vector_share(candidates, self.search.vector_weight)
        self.search.trace.settings["vector_share"] = round(share, 3)
        return by_scores(candidates, share)

    def _beyond(self, candidates: Sequence[Scored]) -> bool:
        """Whether the nearest go on to where similarity is too little: what was not found has even less."""
        least = self.search.least
        return least is not None and any(c.near and c.similarity < least for c in candidates)

    async def _by_both(self, scope: Scope, wanted: int) -> list[Scored]:
        """In one round trip where every chunk may be found and the index gives enough."""
        if scope == EVERYTHING and not self.search.query.exact and self.search.vector.any():
            self.search.trace.searched = "through the index"
            found = await self._by_words(scope, wanted, near=None)
            if sum(c.near for c in found) >= wanted:
                return found
        near = await self._by_vector(scope, wanted)
        return await self._by_words(scope, wanted, near=[c.chunk_id for c in near])

    async def _by_words(self, scope: Scope, wanted: int, *, near: Sequence[int] | None) -> list[Scored]:
        search = self.search
        return await rank_words(
            self.connection,
            search.generation,
            question(search.query.text),
            search.vector,
            wanted,
            scope,
            near=near,
            ef_search=search.ef_search,
        )

    async def _by_vector(self, scope: Scope, wanted: int) -> list[Candidate]:
        search = self.search
        if not search.vector.any():  # a question without any known token is near to nothing
            search.trace.searched = "not at all: the model knows no part of the question"
            return []
        place = self.connection, search.generation, search.vector
        if search.query.exact:
            search.trace.searched = EXACT
            return await stored.rank_exact(*place, wanted, scope)
        found, search.trace.searched = await nearest_within(
            *place, search.query.limit, wanted, search.ef_search, scope
        )
        return found

    def _similar(self, found: list[Found]) -> list[Found]:
        least = self.search.least
        if least is None:
            return found
        for one in found:
            if one.hit.similarity < least:
                self.search.trace.dropped[one.hit.chunk_id] = (
                    f"its similarity {one.hit.similarity:.3f} is below {least:g}"
                )
        return [one for one in found if one.hit.similarity >= least]

    async def _collections(self) -> tuple[int, ...] | None:
        return await collections(self.connection, self.search.query, self.search.permitted)


async def collections(
    connection: AsyncConnection, query: Query, permitted: Permitted
) -> tuple[int, ...] | None:
    """The ids of those that are asked for. One that may not be seen is as unknown as one that is not there."""
    if query.collections is None:
        return None
    known = await stored.collection_ids(connection, query.collections, permitted)
    missing = [name for name in query.collections if name not in known]
    if missing:
        raise UnknownCollectionError(
            f"there is no collection {', '.join(map(repr, missing))}: GET /collections lists those that there are"
        )
    return tuple(known.values())


def _note(search: Search) -> None:
    """The settings that this question is answered with."""
    query = search.query
    search.trace.settings = {
        "ef_search": search.ef_search,
        "storage": search.generation.space.storage,
        "candidates": search.wanted,
        "exact": query.exact,
        "filter": query.condition is not None,
        "min_similarity": search.least,
        "fusion": search.fusion if query.mode == "hybrid" else None,
        "rerank": query.rerank,
        "neighbors": query.neighbors,
    }
