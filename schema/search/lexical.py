"""The read side of search by words: ranking chunks by the words of a question, and the words that answers go by.

What counts as a word, in which language, and how rare it is, is decided in the database (functions/*.sql):
chunks and questions go through the same functions there.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from psycopg import sql

from pgfolio.schema.database.statements import array, statement
from pgfolio.schema.search.access import EVERYTHING
from pgfolio.schema.search.conditions import OF_CHUNK, matches
from pgfolio.schema.search.postings import rank_postings
from pgfolio.schema.search.question import MAX_COMMON_WORD_CHUNKS, RANKING_NUMBERS, Scored
from pgfolio.schema.search.vector import HAS_POSTINGS, effective_ef_search, parameter, ranked
from pgfolio.schema.vectors.storage import EF_SEARCH_MAXIMUM, scan, vector_statement

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from pgfolio.schema.database.connect import AsyncConnection
    from pgfolio.schema.records import Generation
    from pgfolio.schema.search.access import Permitted, Scope
    from pgfolio.schema.search.question import Question


async def rank_words(
    connection: AsyncConnection,
    generation: Generation,
    question: Question,
    vector: np.ndarray,
    limit: int,
    scope: Scope,
    *,
    in_vector_arm: Sequence[int] | None = (),
    ef_search: int = EF_SEARCH_MAXIMUM,
    unknown: set[str] | None = None,
) -> list[Scored]:
    """The best chunks by words, those with what was asked for exactly first, and with them those `in_vector_arm`,
    which need not have any of the words. None: the nearest, through the index, which is one round trip for both. By
    words it is never short while more match. Words that no chunk of these collections has, and names and pairs of
    letters, are added to `unknown`."""
    effective = effective_ef_search(limit, ef_search)
    everywhere = scope == EVERYTHING
    of_all = scope == EVERYTHING.without(scope.excluded)
    if of_all and not question.phrases and HAS_POSTINGS.get(connection, True):
        scored = await rank_postings(
            connection,
            generation,
            question.text,
            vector,
            limit,
            in_vector_arm=in_vector_arm,
            ef_search=effective,
            excluded=scope.excluded,
            unknown=unknown,
        )
        if scored is not None:
            return scored
    text, values = _composed(generation, limit, scope, effective, nearest=in_vector_arm is None)
    values |= {
        "visible": array(scope.permitted),
        "query": question.text,
        "phrases": list(question.phrases),
        "vector": parameter(generation, vector),
        "vector_arm": list(in_vector_arm or ()),
        "all_words": False,
    }
    # Everywhere planning anew each time takes 2 of 15 ms, and gives the same.
    rows = await ranked(connection, generation, text, values, effective, planned_once=everywhere)
    some_words_skipped = not rows or rows[0][-2]
    alone = in_vector_arm is not None or not everywhere  # else the nearest of all chunks make up for it
    if alone and some_words_skipped and sum(row[2] > 0 for row in rows) < limit:
        rows = await ranked(connection, generation, text, {**values, "all_words": True}, effective)
    if unknown is not None:
        unknown.update((rows[0][-1] or ()) if rows else question.text.split())
    return [Scored(*row[:-2]) for row in rows]


async def lexemes(
    connection: AsyncConnection, texts: Sequence[tuple[int, str]], permitted: Permitted
) -> list[frozenset[str]]:
    """What each text is found by, as (chunk id, text): in the chunk's language."""
    values = {"chunk_ids": [chunk for chunk, _ in texts], "texts": [text for _, text in texts]}
    cursor = await connection.execute(statement("read_lexemes"), {**values, "permitted": array(permitted)})
    return [frozenset(row[0]) for row in await cursor.fetchall()]


async def idf_of_words(
    connection: AsyncConnection, question: str, permitted: Permitted
) -> dict[frozenset[str], float]:
    """Each word of a question, as its lexemes in the languages that there are, with its idf over all chunks that may
    be seen."""
    values = {"query": question, "permitted": array(permitted)}
    cursor = await connection.execute(statement("idf_of_words"), values)
    return {frozenset(row[0]): float(row[1]) for row in await cursor.fetchall()}


def _composed(
    generation: Generation, limit: int, scope: Scope, ef_search: int, *, nearest: bool
) -> tuple[bytes, dict[str, Any]]:
    permitted = {"permitted": array(scope.permitted_collections)}
    corpus = "corpus_of_all" if scope.permitted is None else "corpus_of_visible"
    if scope.restriction is None:
        return _everywhere(generation, limit, ef_search, corpus, nearest=nearest), permitted
    condition, values = matches(scope.restriction, OF_CHUNK)
    return _text(generation, limit, ef_search, corpus, condition, nearest=nearest), {**values, **permitted}


@lru_cache(1000)
def _everywhere(generation: Generation, limit: int, ef_search: int, corpus: str, *, nearest: bool) -> bytes:
    return _text(generation, limit, ef_search, corpus, matches(None, OF_CHUNK)[0], nearest=nearest)


def _text(
    generation: Generation,
    limit: int,
    ef_search: int,
    corpus: str,
    condition: sql.Composable,
    *,
    nearest: bool,
) -> bytes:
    """The limits as text: with parameters in their place PostgreSQL would plan anew each time."""
    literal, scan_limit = sql.Literal(limit), sql.Literal(scan(generation.space, limit, ef_search))
    arm = vector_statement("nearest_ids" if nearest else "given_ids", generation).as_string().rstrip("; \n")
    text = sql.SQL(vector_statement("rank_words", generation).as_string())
    return text.format(
        limit=literal,
        matches=condition,
        corpus=sql.SQL(statement(corpus).as_string()).format(**RANKING_NUMBERS),
        vector_arm=sql.SQL(arm).format(limit=literal, scan=scan_limit),
        max_common=sql.Literal(MAX_COMMON_WORD_CHUNKS) if nearest else sql.SQL("all"),
        **RANKING_NUMBERS,
    ).as_bytes()
