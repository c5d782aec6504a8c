"""Finds the chunks that a question is about: the candidates of one snapshot, scored anew by a reranker, without
repetitions, widened by their neighbours, as far as it is asked for. Used by the API and the terminal."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Protocol

import numpy as np
from msgspec.structs import replace

from pgfolio.config.models.protocols import ModelError
from pgfolio.query_api.explain.explanation import Trace, located
from pgfolio.query_api.observability import timings
from pgfolio.query_api.retrieval.candidates import Search, collections
from pgfolio.query_api.retrieval.deduplication import repeats
from pgfolio.query_api.retrieval.neighbors import widened
from pgfolio.query_api.retrieval.phrases import question
from pgfolio.query_api.retrieval.query import Retrieved
from pgfolio.query_api.retrieval.query_embedding import Embedded
from pgfolio.query_api.retrieval.reranking import UNSET
from pgfolio.schema.search.hits import locate, read_passages
from pgfolio.schema.search.pool import GenerationChangedError, reading

if TYPE_CHECKING:
    from pgfolio.config.settings import Settings
    from pgfolio.query_api.explain.records import Explanation
    from pgfolio.query_api.retrieval.candidates import Ranking
    from pgfolio.query_api.retrieval.query import Found, Query
    from pgfolio.query_api.retrieval.query_embedding import ActiveSpace
    from pgfolio.query_api.retrieval.reranking import Reranking
    from pgfolio.schema.search.pool import Pool
    from pgfolio.schema.search.vector import Permitted

ATTEMPTS = 5
MANY = 40
"""Results from which repetitions are looked for in a thread."""

SPARE = 10
"""Candidates that are read beyond twice the limit."""


class SwitchingError(Exception):
    """The active space changed again and again while one question was asked."""


class Spaces(Protocol):
    """Which space questions are answered in."""

    async def current(self) -> ActiveSpace | None: ...

    async def refresh(self, seen: ActiveSpace | None) -> ActiveSpace | None:
        """Look again, because `seen` is no longer the active one."""
        ...


class Retriever:
    """Answers queries from one database; safe to use by many requests at once."""

    def __init__(
        self, settings: Settings, pool: Pool, spaces: Spaces, reranking: Reranking | None = None
    ) -> None:
        self.settings = settings
        self.pool = pool
        self.spaces = spaces
        self.reranking = reranking

    async def retrieve(self, query: Query, permitted: Permitted) -> Retrieved:
        """Of the permitted collections only. Raises UnknownCollectionError, a ModelError, DatabaseError,
        SwitchingError.

        The question is embedded before the transaction begins, and a reranker is asked after it. If another space
        became active meanwhile, everything is done again for that one: nothing of two spaces is ever mixed.
        """
        active = await self.spaces.current()
        for _ in range(ATTEMPTS):
            trace = Trace(query, seconds=timings.seconds())
            if active is None:
                await reading(self.pool, partial(collections, query=query, permitted=permitted))
                return Retrieved(trace)
            with timings.stage("embed"):
                embedded = await self._embedded(active, query, trace)
            trace.generation = generation = active.generation
            search = Search(self.settings, generation, embedded, query, permitted, self._depth(query), trace)
            try:
                with timings.stage("retrieve"):
                    ranking = await reading(self.pool, search.run)
            except GenerationChangedError:
                active = await self.spaces.refresh(active)
            else:
                return await self._refined(search, ranking)
        raise SwitchingError("the active space is changing: try again in a moment")

    @property
    def reranks(self) -> bool:
        return self.reranking is not None and self.reranking.is_set

    async def located(self, explained: Explanation, permitted: Permitted) -> Explanation:
        """With where its candidates stand: those that whoever asks may see."""
        ids = [one.chunk_id for one in explained.candidates]
        places = await reading(self.pool, partial(locate, ids=ids, permitted=permitted))
        return replace(explained, candidates=located(explained, places))

    async def _embedded(self, active: ActiveSpace, query: Query, trace: Trace) -> Embedded:
        """What is asked for by words alone needs no model, but to say how similar it is."""
        try:
            return await active.embed(question(query.text).text)
        except ModelError as error:
            if query.mode != "lexical" or query.min_similarity is not None:
                raise
            trace.notes.append(f"found by words alone, without similarities: {error}")
            return Embedded(np.zeros(active.generation.space.dimensions, np.float32), 0.0)

    def _depth(self, query: Query) -> int:
        """Candidates that are read: some may repeat others, or be joined with them."""
        depth = query.limit if query.mode == "vector" else 2 * query.limit + SPARE
        if query.neighbors:
            depth = 3 * query.limit + SPARE
        if query.rerank and self.reranking is not None:
            depth = max(depth, self.reranking.candidates)
        return depth

    async def _refined(self, search: Search, ranking: Ranking) -> Retrieved:
        query, trace = search.query, search.trace
        found, complete = list(ranking.found), ranking.complete
        if query.rerank:
            found = await self._reranked(query, found, trace)
        if query.mode != "vector":  # whose results are the nearest, whatever they say
            fold = partial(_folded, found, query.limit, trace)
            # Long texts take half a millisecond each: many of them must not hold up the others' requests.
            found = await asyncio.to_thread(fold) if len(found) > MANY else fold()
        if query.neighbors:
            found = await self._widened(search, found)
            complete = complete and not ranking.more
        found = found[: query.limit]
        trace.results = [one.hit.chunk_id for one in found]
        return Retrieved(trace, found, complete or len(found) == query.limit, search.generation.space.name)

    async def _reranked(self, query: Query, found: list[Found], trace: Trace) -> list[Found]:
        if self.reranking is None:
            trace.notes.append(UNSET)
            return found
        first, rest = found[: self.reranking.candidates], found[self.reranking.candidates :]
        scores, note = await self.reranking.scores(query.text, [one.hit for one in first])
        if note:
            trace.notes.append(note)
        if not scores:
            return found
        trace.reranked = scores
        scored = [replace(one, score=scores[one.hit.chunk_id]) for one in first]
        return [*sorted(scored, key=lambda one: -one.score), *rest]

    async def _widened(self, search: Search, found: list[Found]) -> list[Found]:
        """Read in another snapshot: a chunk that is gone by then stays as it was found."""
        query = search.query
        ids = [one.hit.chunk_id for one in found]
        read = partial(read_passages, ids=ids, around=query.neighbors, permitted=search.permitted)
        made = widened([one.hit for one in found], await reading(self.pool, read), query.limit)
        search.trace.dropped |= {
            chunk: f"part of the passage of chunk {best}" for chunk, best in made.joined.items()
        }
        by_id = {one.hit.chunk_id: one for one in found}
        return [replace(by_id[hit.chunk_id], hit=hit) for hit in made.hits]


def _folded(found: list[Found], limit: int, trace: Trace) -> list[Found]:
    """What repeats a better result comes after all that does not: it never takes another one's place, and is still
    there where nothing else is."""
    again = repeats([one.hit for one in found], limit)
    if not again:
        return found
    trace.dropped |= {chunk: f"says again what chunk {first} says" for chunk, first in again.items()}
    distinct = [one for one in found if one.hit.chunk_id not in again]
    return distinct + [
        replace(one, repeats=again[one.hit.chunk_id]) for one in found if one.hit.chunk_id in again
    ]
