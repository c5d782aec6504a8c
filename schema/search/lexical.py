"""The read side of search by words: ranking chunks by the words of a question, and the words that answers go by.

What counts as a word, in which language, and how rare it is, is decided in the database (functions/*.sql):
chunks and questions go through the same functions there.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from psycopg import sql

from pgfolio.schema.database.statements import array, statement
from pgfolio.schema.search.access import EVERYTHING
from pgfolio.schema.search.conditions import OF_CHUNK, matches
from pgfolio.schema.search.vector import looks, parameter, ranked
from pgfolio.schema.vectors.storage import EF_SEARCH_MAXIMUM, scan, vector_statement

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from pgfolio.schema.database.connect import AsyncConnection
    from pgfolio.schema.records import Generation
    from pgfolio.schema.search.access import Permitted, Scope

MOST = 30_000
"""Chunks that a common word is looked for in where vectors find some too."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, and the phrases of it that are meant word for word."""

    text: str
    phrases: tuple[str, ...] = ()


class Scored(Struct, frozen=True):
    """A candidate with both scores. `exact`: how much it has of what was asked for exactly. `whole`: what all words
    of the question together would be worth, the same for all candidates. `near`: it is one of the nearest."""

    chunk_id: int
    similarity: float
    words: float
    exact: float
    whole: float
    near: bool


async def rank_words(
    connection: AsyncConnection,
    generation: Generation,
    question: Question,
    vector: np.ndarray,
    limit: int,
    scope: Scope,
    *,
    near: Sequence[int] | None = (),
    ef_search: int = EF_SEARCH_MAXIMUM,
) -> list[Scored]:
    """The best chunks by words, those with what was asked for exactly first, and with them those `near`, which need
    not have any of the words. None: the nearest, through the index, which is one round trip for both. By words it is
    never short while more match."""
    far = looks(limit, ef_search)
    text, values = _composed(generation, limit, scope, far, nearest=near is None)
    values |= {
        "query": question.text,
        "phrases": list(question.phrases),
        "vector": parameter(generation, vector),
        "near": list(near or ()),
        "all_words": False,
    }
    everywhere = scope == EVERYTHING  # where planning anew each time takes 2 of 15 ms, and gives the same
    rows = await ranked(connection, generation, text, values, far, planned_once=everywhere)
    left_out = not rows or rows[0][-1]
    alone = near is not None or not everywhere  # else the nearest of all chunks make up for it
    if alone and left_out and sum(row[2] > 0 for row in rows) < limit:
        rows = await ranked(connection, generation, text, {**values, "all_words": True}, far)
    return [Scored(*row[:-1]) for row in rows]


async def lexemes(
    connection: AsyncConnection, texts: Sequence[tuple[int, str]], permitted: Permitted
) -> list[frozenset[str]]:
    """What each text is found by, as (chunk id, text): in the chunk's language."""
    values = {"chunk_ids": [chunk for chunk, _ in texts], "texts": [text for _, text in texts]}
    found = await connection.execute(statement("read_lexemes"), {**values, "permitted": array(permitted)})
    return [frozenset(row[0]) for row in await found.fetchall()]


async def rarities(
    connection: AsyncConnection, question: str, permitted: Permitted
) -> dict[frozenset[str], float]:
    """Each word of a question, as its lexemes in the languages that there are, with its idf over all chunks that may
    be seen."""
    values = {"query": question, "permitted": array(permitted)}
    found = await connection.execute(statement("word_rarities"), values)
    return {frozenset(row[0]): float(row[1]) for row in await found.fetchall()}


def _composed(
    generation: Generation, limit: int, scope: Scope, ef_search: int, *, nearest: bool
) -> tuple[bytes, dict[str, Any]]:
    permitted = {"permitted": array(scope.within)}
    if scope.condition is None:
        return _everywhere(generation, limit, ef_search, nearest=nearest), permitted
    condition, values = matches(scope.condition, OF_CHUNK)
    return _text(generation, limit, ef_search, condition, nearest=nearest), {**values, **permitted}


@lru_cache(1000)
def _everywhere(generation: Generation, limit: int, ef_search: int, *, nearest: bool) -> bytes:
    return _text(generation, limit, ef_search, matches(None, OF_CHUNK)[0], nearest=nearest)


def _text(
    generation: Generation, limit: int, ef_search: int, condition: sql.Composable, *, nearest: bool
) -> bytes:
    """The limits as text: with parameters in their place PostgreSQL would plan anew each time."""
    literal, looked_at = sql.Literal(limit), sql.Literal(scan(generation.space, limit, ef_search))
    near = vector_statement("nearest_ids" if nearest else "given_ids", generation).as_string().rstrip("; \n")
    text = sql.SQL(vector_statement("rank_words", generation).as_string())
    return text.format(
        limit=literal,
        matches=condition,
        near=sql.SQL(near).format(limit=literal, scan=looked_at),
        most=sql.Literal(MOST) if nearest else sql.SQL("all"),
    ).as_bytes()
