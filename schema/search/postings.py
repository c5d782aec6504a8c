"""Ranks all chunks by the words of a question from their postings (schema/corpus/postings.py): two round trips and
some additions of arrays, where `rank_words` looks into each chunk.

Postings hold nothing of their own: which chunks there are is decided by the table of chunks.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from math import log
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from msgspec import Struct
from psycopg import sql

from pgfolio.schema.database.statements import statement
from pgfolio.schema.search import bm25
from pgfolio.schema.search.bm25 import Postings, Term, Weights
from pgfolio.schema.search.question import NAME_LETTERS, NAME_WEIGHT, RANKING_NUMBERS, Scored
from pgfolio.schema.search.segments import (
    MAX_UNPOSTED,
    STATE_COLUMNS,
    Chunks,
    State,
    TermLists,
    add_unposted,
    read_chunks,
    read_postings,
)
from pgfolio.schema.search.vector import begin, checked, parameter
from pgfolio.schema.vectors.storage import scan, vector_statement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgfolio.schema.database.connect import AsyncConnection
    from pgfolio.schema.records import Generation

SHORT_LIST: Final = 500
"""Postings of so many chunks are read with the terms; longer ones are kept between questions."""

SPARE_CANDIDATES: Final = 16
"""Beyond the limit: candidates that may have been deleted since their segment was written."""


async def rank_postings(
    connection: AsyncConnection,
    generation: Generation,
    query: str,
    vector: np.ndarray,
    limit: int,
    *,
    in_vector_arm: Sequence[int] | None,
    ef_search: int,
    excluded: Sequence[int] = (),
    unknown: set[str] | None = None,
) -> list[Scored] | None:
    """As `rank_words` of everything but the documents `excluded`, without phrases. None: there are no postings, or
    not of what is asked for."""
    values = {
        "query": query,
        "max_unposted": MAX_UNPOSTED,
        "short": SHORT_LIST,
        "vector": parameter(generation, vector),
        "vector_arm": list(in_vector_arm or ()),
        "permitted": None,
    }
    text = _read_terms(generation, limit, ef_search, nearest=in_vector_arm is None)
    async with connection.pipeline():
        begun = await begin(connection, ef_search, planned_once=True)
        cursor = await connection.execute(text, values, binary=True)
    await checked(connection, begun, generation)
    rows = await cursor.fetchall()
    state = State(*rows[0][:STATE_COLUMNS]) if rows else None
    if state is None or state.segments is None or state.unposted > MAX_UNPOSTED:
        return None
    terms = [row[STATE_COLUMNS:] for row in rows if row[STATE_COLUMNS] is not None]
    if any(unspaced and len(lexeme) == 1 for lexeme, _, _, _, _, _, unspaced, *_ in terms):
        return None  # it stands for each pair that it begins
    ranking = await _ranking(connection, state, terms, limit + SPARE_CANDIDATES)
    if unknown is not None:
        unknown.update(ranking.unknown())
    named = _named(ranking, state, query)
    if excluded:
        await _exclude(connection, ranking, excluded)
        named = {document: worth for document, worth in named.items() if document not in excluded}
    arm = set(state.vector_arm or ())
    placed = {
        "ids": [*{*ranking.best(limit + SPARE_CANDIDATES), *arm}],
        "named": list(named),
        "vector": values["vector"],
        "permitted": None,
    }
    cursor = await connection.execute(_place_candidates(generation), placed, binary=True)
    return ranking.placed(await cursor.fetchall(), named, arm, limit)


class WordRanking(Struct, frozen=True):
    """Every chunk's scores by slot: its BM25, and what it has of what is asked for exactly. `rare`: slots of the
    rarest term that more than a few have."""

    terms: Sequence[Term]
    weights: Weights
    chunks: Chunks
    scores: np.ndarray
    exact: np.ndarray | None
    rare: np.ndarray | None

    def unknown(self) -> set[str]:
        """Words of the question that no chunk has."""
        tokens = {term.token for term in self.terms if not term.prefix_match}
        return tokens - {term.token for term in self.terms if term.df and not term.prefix_match}

    def best(self, k: int) -> list[int]:
        """Ids of the best k, those with an exact match first, and of those equal to the last of them."""
        ranked = self.scores if self.exact is None else self.scores + bm25.EXACT_FIRST * self.exact
        ids: list[int] = self.chunks.ids[bm25.top(ranked, k, self.rare)[: 2 * k]].tolist()
        return ids

    def placed(
        self, rows: Sequence[tuple[Any, ...]], named: dict[int, float], arm: set[int], limit: int
    ) -> list[Scored]:
        """The best of the candidates, given in the order of paths, and those of the arm; in that order."""
        scores, exact = self._scores_of(np.array([row[0] for row in rows], np.int64))
        exact += np.array([named.get(row[1], 0.0) for row in rows])
        candidates = [
            Scored(chunk, similarity, score, worth, self.weights.max_bm25, chunk in arm, document)
            for (chunk, document, similarity), score, worth in zip(
                rows, scores.tolist(), exact.tolist(), strict=True
            )
        ]
        best = sorted(candidates, key=lambda each: (-each.exact_match, -each.bm25))[:limit]
        best_ids = {each.chunk_id for each in best if each.bm25 > 0 or each.exact_match > 0} | arm
        return [each for each in candidates if each.chunk_id in best_ids]

    def _scores_of(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of chunks that came after the question began: nothing."""
        slots = np.minimum(np.searchsorted(self.chunks.ids, ids), len(self.chunks.ids) - 1)
        known = self.chunks.ids[slots] == ids
        exact = np.zeros(len(ids)) if self.exact is None else self.exact[slots]
        return self.scores[slots] * known, exact * known


async def _ranking(
    connection: AsyncConnection, state: State, rows: Sequence[tuple[Any, ...]], k: int
) -> WordRanking:
    lists = [TermLists(row[0], *row[8:]) for row in rows]
    chunks = await read_chunks(connection, state)
    pieces = await read_postings(connection, state, chunks, lists, SHORT_LIST)
    dfs = {each.lexeme: sum(each.dfs or ()) for each in lists}
    if state.unposted:
        chunks, since = await add_unposted(connection, state, chunks, pieces)
        dfs = {lexeme: df + since[lexeme] for lexeme, df in dfs.items()}
    terms = [Term(*(*row[:8], dfs[row[0]])) for row in rows]
    weights = bm25.weigh(terms, state.chunks)
    scores, exact = bm25.score(terms, weights.idf, pieces, len(chunks.ids))
    return WordRanking(terms, weights, chunks, scores, exact, _rare(terms, weights, pieces, k))


async def _exclude(connection: AsyncConnection, ranking: WordRanking, documents: Sequence[int]) -> None:
    """As if their chunks had none of the words."""
    values = {"documents": list(documents), "permitted": None}
    cursor = await connection.execute(statement("chunks_of"), values)
    ids = np.array([row[0] for row in await cursor.fetchall()], np.int64)
    slots = np.flatnonzero(np.isin(ranking.chunks.ids, ids))
    for scores in (ranking.scores, ranking.exact):
        if scores is not None:
            scores[slots] = 0.0


def _rare(
    terms: Sequence[Term], weights: Weights, pieces: dict[str, list[Postings]], k: int
) -> np.ndarray | None:
    """The chunks with the rarest term that more than k have."""
    often = [(idf, term.lexeme) for term, idf in zip(terms, weights.idf, strict=True) if term.df > k]
    if not often:
        return None
    return np.concatenate([piece.first + piece.slots for piece in pieces[max(often)[1]]])


def _named(ranking: WordRanking, state: State, query: str) -> dict[int, float]:
    """Documents whose names the question has, each with what that is worth."""
    of_names = [
        (term.lexeme, term.named or (), idf)
        for term, idf in zip(ranking.terms, ranking.weights.idf, strict=True)
        if term.exact_match
    ]
    question_name = unicodedata.normalize("NFKC", query.strip(' \t\n"')).lower()[:NAME_LETTERS]
    if all(lexeme != question_name for lexeme, _, _ in of_names):
        of_names.append((question_name, state.named or (), log(1 + ranking.weights.size)))
    named: dict[int, float] = {}
    for _, documents, idf in of_names:
        for document in documents:
            named[document] = named.get(document, 0.0) + NAME_WEIGHT * idf
    return named


@lru_cache(1000)
def _read_terms(generation: Generation, limit: int, ef_search: int, *, nearest: bool) -> bytes:
    """The limits as text: see lexical.py."""
    arm = sql.SQL(
        vector_statement("nearest_ids" if nearest else "given_ids", generation).as_string().rstrip("; \n")
    )
    text = sql.SQL(vector_statement("read_terms", generation).as_string())
    limits = {"limit": sql.Literal(limit), "scan": sql.Literal(scan(generation.space, limit, ef_search))}
    return text.format(vector_arm=arm.format(**limits), **RANKING_NUMBERS).as_bytes()


@lru_cache(100)
def _place_candidates(generation: Generation) -> bytes:
    text = sql.SQL(vector_statement("place_candidates", generation).as_string())
    return text.format(**RANKING_NUMBERS).as_bytes()
