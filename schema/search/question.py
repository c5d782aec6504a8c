"""A question by words, its candidates, and the numbers that they are ranked with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from psycopg import sql

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_COMMON_WORD_CHUNKS: Final = 30_000
"""Chunks that a common word is looked for in where vectors find some too."""

RANKED_CHUNKS: Final = 3000
"""Chunks with the rarest words together, among which the words of a question are ranked."""

RANKED_PREFIX_CHUNKS: Final = 1000
"""The same of the prefix terms, which come after the words."""

CANDIDATES_PER_HIT: Final = 5
"""Of these so many times the limit are scored with all words."""

PHRASE_CANDIDATES: Final = 5000
"""Chunks with all words of a phrase, in which it is looked for."""

PHRASE_WORTH: Final = 20
"""Of an exact match: more than the idf of any word."""

NAME_WEIGHT: Final = 2
"""What a document's name is worth, in the idf of the name that a question has."""

NAMED_DOCUMENTS: Final = 100
"""Documents of one name."""

LEADING_CHUNKS: Final = 3
"""Chunks of a named document that are candidates: its first ones."""

NAME_LETTERS: Final = 400
"""Of a question that may be a document's name: as many as functions/path_names.sql has of each."""

SAMPLE_CHUNKS: Final = 1000
"""Chunks whose mean length is taken where no statistics were counted yet."""

RANKING_NUMBERS: Final[Mapping[str, sql.Composable]] = {
    "ranked_chunks": sql.Literal(RANKED_CHUNKS),
    "ranked_prefix_chunks": sql.Literal(RANKED_PREFIX_CHUNKS),
    "candidates_per_hit": sql.Literal(CANDIDATES_PER_HIT),
    "phrase_candidates": sql.Literal(PHRASE_CANDIDATES),
    "phrase_worth": sql.Literal(PHRASE_WORTH),
    "name_weight": sql.Literal(NAME_WEIGHT),
    "named_documents": sql.Literal(NAMED_DOCUMENTS),
    "leading_chunks": sql.Literal(LEADING_CHUNKS),
    "name_letters": sql.Literal(NAME_LETTERS),
    "sample_chunks": sql.Literal(SAMPLE_CHUNKS),
}
"""What stands for the placeholders of `rank_words`: plans are made for these numbers as part of its text."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, and the phrases of it that are meant word for word."""

    text: str
    phrases: tuple[str, ...] = ()


class Scored(Struct, frozen=True):
    """A candidate with both scores. `exact_match`: how much it has of what is asked for exactly. `max_bm25`: what all
    words of the question together would be worth, the same for all candidates. `in_vector_arm`: it is one of the
    nearest. `document_id`: whose chunk it is."""

    chunk_id: int
    similarity: float
    bm25: float
    exact_match: float
    max_bm25: float
    in_vector_arm: bool
    document_id: int = 0
