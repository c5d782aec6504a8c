"""Decides: the BM25 of every chunk for the words of a question, from their postings. Pure.

The same as `rank_words` computes (statements/search/lexical.sql), which says what a word is worth and why; of all
chunks that have any of the words.
"""

from __future__ import annotations

from collections import defaultdict
from math import log
from typing import TYPE_CHECKING, Final

import numpy as np
from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

K1: Final = 1.2
B: Final = 0.75

MAX_COUNT: Final = 255
"""As often as a lexeme's positions are kept."""

EXACT_FIRST: Final = 1e4
"""More than any score: chunks with an exact match come before all others."""


class Postings(Struct, frozen=True):
    """Chunks that have a lexeme, by their slots from the `first` on, and its impact on each: BM25 but for the idf."""

    first: int
    slots: np.ndarray
    impacts: np.ndarray


class Term(Struct, frozen=True):
    """A lexeme of a question as `question_words` tells it. `unspaced`: of a script without spaces; `named`: documents
    of that name; `df`: how many chunks have it."""

    lexeme: str
    token: str
    prefix_match: bool
    family: str | None
    stopped: float
    exact_match: bool
    unspaced: bool
    named: Sequence[int] | None
    df: int


class Weights(Struct, frozen=True):
    """`size`: chunks that there are, at least as many as any word's; `max_bm25`: what all of the words are worth."""

    size: float
    idf: Sequence[float]
    max_bm25: float


def _saturation() -> np.ndarray:
    """How often a word stands in a chunk, as functions/bm25.sql tells it from ts_rank, in whose single precision."""
    parts = (1 / np.arange(1, MAX_COUNT + 1) ** 2).astype(np.float32)
    ranks = (np.cumsum(parts, dtype=np.float32) / 1.64493406685).astype(np.float32).astype(float)
    return np.concatenate([[0.0], 1 / (1.644934 * (1.0001 - ranks)) - 0.5])


_COUNTS: Final = _saturation()


def impacts(packed: np.ndarray, norms: np.ndarray) -> np.ndarray:
    """From slot * 256 + how often, and the norm of each such chunk."""
    counts = _COUNTS[packed & 255]
    worths: np.ndarray = ((K1 + 1) * counts / (counts + norms)).astype(np.float32)
    return worths


def norms(tokens: np.ndarray, mean: float) -> np.ndarray:
    """K1 times the part of BM25 that goes by a chunk's length."""
    return K1 * (1 - B + B * (tokens / mean))


def weigh(terms: Sequence[Term], chunks: float) -> Weights:
    """How rare each term is: a word as all of its stems together, a prefix term no rarer than its word."""
    size = max([chunks, *(term.df for term in terms)])
    token_df: dict[str, int] = defaultdict(int)
    for term in terms:
        token_df[term.token] += term.df
    family_df: dict[str | None, int] = defaultdict(int)
    for term in terms:
        family_df[term.family] = max(family_df[term.family], token_df[term.token])
    idf = []
    for term in terms:
        occurring = family_df[term.family] if term.prefix_match else token_df[term.token]
        df = min(occurring + term.stopped * size, size)
        idf.append(log(1 + (size - df + 0.5) / (df + 0.5)))
    # A pair of letters that stands nowhere is no word: it goes from one word to the next.
    worths = (
        (value / 2 if term.df else 0.0) if term.unspaced else value
        for term, value in zip(terms, idf, strict=True)
        if not term.prefix_match
    )
    return Weights(size, idf, sum(worths))


def score(
    terms: Sequence[Term], idf: Sequence[float], pieces: Mapping[str, Sequence[Postings]], chunks: int
) -> tuple[np.ndarray, np.ndarray | None]:
    """Of each chunk its BM25, and what it has of what is asked for exactly; None: nothing. A term's postings may come
    in pieces, of different chunks."""
    scores = np.zeros(chunks)
    exact: np.ndarray | None = None
    families: dict[str, list[tuple[Term, float]]] = defaultdict(list)
    for term, weight in zip(terms, idf, strict=True):
        if term.family is not None:
            families[term.family].append((term, weight))
        for piece in pieces[term.lexeme]:
            if term.exact_match:
                exact = np.zeros(chunks) if exact is None else exact
                exact[piece.first :][piece.slots] += weight
            if term.family is None:
                scores[piece.first :][piece.slots] += piece.impacts * weight
    for family in families.values():
        _add_family(scores, family, pieces)
    return scores, exact


def _add_family(
    scores: np.ndarray, family: Sequence[tuple[Term, float]], pieces: Mapping[str, Sequence[Postings]]
) -> None:
    """Its words together or one of their prefix terms, whichever is worth more. Only what they change: the arrays are
    as long as the corpus."""
    words, prefixes = np.zeros(len(scores)), np.zeros(len(scores))
    changed = []
    for term, weight in family:
        for piece in pieces[term.lexeme]:
            worths, slots = piece.impacts * weight, piece.first + piece.slots
            if term.prefix_match:
                prefixes[slots] = np.maximum(prefixes[slots], worths)
            else:
                words[slots] += worths
            changed.append(slots)
    if changed:
        every = np.concatenate(changed)  # one twice is written twice, and the same
        scores[every] = scores[every] + np.maximum(words[every], prefixes[every])


def top(ranked: np.ndarray, k: int, among: np.ndarray | None) -> np.ndarray:
    """Slots of the best k, in no order, and of those that are equal to the last of them. `among`: some slots, of
    which the k-th best is a bound for all."""
    least = _kth(ranked[among], k) if among is not None else 0.0
    slots = np.flatnonzero(ranked >= least) if least > 0 else np.flatnonzero(ranked)
    values = ranked[slots]
    return slots[values >= _kth(values, k)]


def _kth(values: np.ndarray, k: int) -> float:
    """The k-th largest; 0 where there are no more."""
    return float(np.partition(values, len(values) - k)[len(values) - k]) if len(values) > k else 0.0
