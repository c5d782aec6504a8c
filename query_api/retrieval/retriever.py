"""Finds the chunks that a question is about: the candidates of one snapshot, scored anew by a reranker, without
near-duplicates, widened by their neighbours, as the query says. Used by the API and the terminal."""

from __future__ import annotations

import asyncio
import dataclasses
from functools import partial
from typing import TYPE_CHECKING, Protocol

import numpy as np
from msgspec.structs import replace

from pgfolio.config.errors import UserError
from pgfolio.config.models.protocols import ModelError
from pgfolio.query_api.observability import timings
from pgfolio.query_api.retrieval.candidates import CandidateSearch, collections
from pgfolio.query_api.retrieval.corrections import Corrections
from pgfolio.query_api.retrieval.crowding import limit_per_document
from pgfolio.query_api.retrieval.deduplication import near_duplicates
from pgfolio.query_api.retrieval.neighbors import expand
from pgfolio.query_api.retrieval.phrases import parse_question
from pgfolio.query_api.retrieval.query_embedding import QueryEmbedding
from pgfolio.query_api.retrieval.reranking import UNSET
from pgfolio.query_api.retrieval.results import Retrieved
from pgfolio.query_api.retrieval.spelling import correctable, corrected
from pgfolio.query_api.retrieval.trace import Trace
from pgfolio.schema.search.hits import read_passages
from pgfolio.schema.search.pool import GenerationChangedError, in_snapshot

if TYPE_CHECKING:
    from pgfolio.config.settings import Settings
    from pgfolio.query_api.retrieval.candidates import Ranking
    from pgfolio.query_api.retrieval.query import Query
    from pgfolio.query_api.retrieval.query_embedding import ActiveSpace
    from pgfolio.query_api.retrieval.reranking import Reranking
    from pgfolio.query_api.retrieval.results import SearchResult
    from pgfolio.schema.search.access import Permitted
    from pgfolio.schema.search.pool import Pool

ATTEMPTS = 5
MAX_INLINE_RESULTS = 40
"""Results beyond which near-duplicates are looked for in a thread."""

CORRECTED = (
    '"{}" is in no document: searched for "{}" instead (exact_words: true searches for what is written)'
)

CROWDED = (
    "fewer results than the limit: more is in documents that have {} already, and max_per_document allows it"
)

EXTRA_CANDIDATES = 10
"""Candidates that are read beyond twice the limit."""


class SwitchingError(UserError):
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
        self._spelling = Corrections()

    async def retrieve(self, query: Query, permitted: Permitted) -> Retrieved:
        """Of the permitted collections only. Raises UnknownCollectionError, a ModelError, DatabaseError,
        SwitchingError.

        The question is embedded before the transaction begins, and a reranker is asked after it. If another space
        became active meanwhile, everything is done again for that one: nothing of two spaces is ever mixed. So it is
        where words are misspelt, for those that are meant.
        """
        active, meant, corrections = await self.spaces.current(), query, dict[str, str]()
        for _ in range(ATTEMPTS):
            trace = Trace(query, seconds=timings.seconds(), corrections=corrections)
            trace.notes += [CORRECTED.format(*pair) for pair in corrections.items()]
            if active is None:
                await in_snapshot(self.pool, partial(collections, query=query, permitted=permitted))
                return Retrieved(trace, question=query.text)
            with timings.stage("embed"):
                embedding = await self._embed_query(active, meant, trace)
            trace.generation = generation = active.generation
            search = CandidateSearch(
                settings=self.settings,
                generation=generation,
                embedding=embedding,
                query=meant,
                permitted=permitted,
                candidate_count=self._candidate_count(query),
                trace=trace,
            )
            try:
                with timings.stage("retrieve"):
                    ranking = await in_snapshot(self.pool, search.run)
            except GenerationChangedError:
                active = await self.spaces.refresh(active)
                continue
            if not corrections and (corrections := await self._corrections(search)):
                meant = dataclasses.replace(query, text=corrected(query.text, corrections))
                continue
            return await self._refine(search, ranking)
        raise SwitchingError("the active space is changing: try again in a moment")

    @property
    def reranks(self) -> bool:
        return self.reranking is not None and self.reranking.is_set

    async def _corrections(self, search: CandidateSearch) -> dict[str, str]:
        """The words that are meant, by those that no document has. Where documents have all, nothing is asked."""
        if search.query.exact_words or not search.trace.unknown_words:
            return {}
        question = parse_question(search.query.text)
        words = correctable(search.trace.unknown_words, question.text, question.phrases)
        if not words:
            return {}
        correct = partial(self._spelling.corrections, words=words, permitted=search.permitted)
        with timings.stage("retrieve"):
            return await in_snapshot(self.pool, correct)

    async def _embed_query(self, active: ActiveSpace, query: Query, trace: Trace) -> QueryEmbedding:
        """Lexical search needs no model, but to say how similar its results are."""
        try:
            return await active.embed(parse_question(query.text).text)
        except ModelError as error:
            if query.mode != "lexical" or query.min_similarity is not None:
                raise
            trace.notes.append(f"found by words alone, without similarities: {error}")
            return QueryEmbedding(np.zeros(active.generation.space.dimensions, np.float32), 0.0)

    def _candidate_count(self, query: Query) -> int:
        """Candidates that are read: some may be near-duplicates of others, or merged with them."""
        count = query.limit if query.mode == "vector" else 2 * query.limit + EXTRA_CANDIDATES
        if query.neighbors:
            count = 3 * query.limit + EXTRA_CANDIDATES
        if query.rerank and self.reranking is not None:
            count = max(count, self.reranking.candidates)
        return count

    async def _refine(self, search: CandidateSearch, ranking: Ranking) -> Retrieved:
        query, trace = search.query, search.trace
        results, complete = list(ranking.results), ranking.complete
        if query.rerank:
            results = await self._rerank(query, results, trace)
        if query.mode != "vector":  # whose results are the nearest, whatever they say
            deduplicate = partial(_deduplicate, results, query.limit, trace)
            # Long texts take half a millisecond each: many of them must not hold up the others' requests.
            in_thread = len(results) > MAX_INLINE_RESULTS
            results = await asyncio.to_thread(deduplicate) if in_thread else deduplicate()
        if query.neighbors:
            results, surplus = await self._expand_passages(search, results)
            complete = complete and not ranking.more
        else:
            results, surplus = limit_per_document(
                results, query.max_per_document, lambda result: result.hit.document_id
            )
        trace.drop([result.hit for result in surplus], query.max_per_document)
        if len(results) < query.limit and (surplus or ranking.left_out):
            complete = False
            trace.notes.append(CROWDED.format(query.max_per_document))
        results = results[: query.limit]
        trace.results = [result.hit.chunk_id for result in results]
        return Retrieved(
            trace,
            results,
            complete or len(results) == query.limit,
            search.generation.space.name,
            query.text,
        )

    async def _rerank(self, query: Query, results: list[SearchResult], trace: Trace) -> list[SearchResult]:
        if self.reranking is None:
            trace.notes.append(UNSET)
            return results
        first, rest = results[: self.reranking.candidates], results[self.reranking.candidates :]
        scores, note = await self.reranking.scores(query.text, [result.hit for result in first])
        if note:
            trace.notes.append(note)
        if not scores:
            return results
        trace.reranked = scores
        scored = [replace(result, score=scores[result.hit.chunk_id]) for result in first]
        return [*sorted(scored, key=lambda result: -result.score), *rest]

    async def _expand_passages(
        self, search: CandidateSearch, results: list[SearchResult]
    ) -> tuple[list[SearchResult], list[SearchResult]]:
        """As limit_per_document answers. Read in another snapshot: a chunk that is gone by then stays as it was read
        first."""
        query = search.query
        ids = [result.hit.chunk_id for result in results]
        read = partial(read_passages, ids=ids, around=query.neighbors, permitted=search.permitted)
        passages = await in_snapshot(self.pool, read)
        hits = [result.hit for result in results]
        expanded = expand(hits, passages, query.limit, query.max_per_document)
        search.trace.dropped |= {
            chunk: f"part of the passage of chunk {best}" for chunk, best in expanded.merged.items()
        }
        by_id = {result.hit.chunk_id: result for result in results}
        placed, surplus = (
            [replace(by_id[hit.chunk_id], hit=hit) for hit in some]
            for some in (expanded.hits, expanded.surplus)
        )
        return placed, surplus


def _deduplicate(results: list[SearchResult], limit: int, trace: Trace) -> list[SearchResult]:
    """What repeats a better result comes after all that does not: it never takes another one's place, and is still
    there where nothing else is."""
    duplicates = near_duplicates([result.hit for result in results], limit)
    if not duplicates:
        return results
    trace.dropped |= {chunk: f"says again what chunk {first} says" for chunk, first in duplicates.items()}
    distinct = [result for result in results if result.hit.chunk_id not in duplicates]
    return distinct + [
        replace(result, near_duplicate_of=duplicates[result.hit.chunk_id])
        for result in results
        if result.hit.chunk_id in duplicates
    ]
