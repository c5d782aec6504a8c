"""Decides: whether anything found is relevant, which sentences answer a question, and which passage a claim
rests on. Pure but for the bundled model, which is always there, in the process, and costs nothing: so that these
decisions are the same in every embedding space.

Nearness alone takes "what do pandas eat" for a question about a Python library, words alone "how do I tie a tie"
for one about whatever is tied. So relevance is their geometric mean: both must speak for it. Of 51 questions about
Prefect 49 have at least 0.44 on its documentation, of 50 others one has 0.40 and the rest less than 0.33.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING, TypeAlias

from pgfolio.config.models.wordllama import local_model

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

    from pgfolio.query_api.answering.sentences import QuotablePassage

MAX_SENTENCES = 3
"""Sentences of an extractive answer."""

MIN_SHARE_OF_BEST = 0.85
"""A further sentence must be worth this part of the best one."""

NAME = re.compile(r"(?=.*[^\W\d_])(?:.*[_.:@#0-9]|.*/.*/)")
"""What search takes for a name too: letters with a digit or a mark, such as err-1042 or prefect_api_url."""

WORD = re.compile(r"[^\W_]+")

Words = frozenset[str]
Idf: TypeAlias = "Mapping[Words, float]"
"""Each word of a question, as its stems in all languages, with its inverse document frequency."""


@dataclass(frozen=True, slots=True)
class PassageCandidate:
    """A passage of one of the chunks, by the chunk's place among the results."""

    chunk: int
    passage: QuotablePassage
    words: Words


def similarities(question: str, texts: Sequence[str]) -> np.ndarray:
    """Cosine similarity of each text to the question by the bundled model, shape (texts,)."""
    vectors = local_model().embed([question, *texts]).vectors
    similar: np.ndarray = vectors[1:] @ vectors[0]
    return similar


def coverage(idf: Idf, words: Words) -> float:
    """The share of the question's words that are among these, each weighing its idf; 0 for no words. What lacks a
    name has no part of it: ERR-1043 says nothing of ERR-1042."""
    total = sum(idf.values())
    missing_parts = {
        part
        for stems in idf
        if not stems & words
        for name in filter(NAME.search, stems)
        for part in WORD.findall(name)
    }
    covered = (weight for stems, weight in idf.items() if stems & words and not stems & missing_parts)
    return sum(covered) / total if total else 0.0


def relevance(question: str, idf: Idf, chunks: Sequence[tuple[str, Words]]) -> list[float]:
    """Of each chunk, as its text with title and headings and the words in it: 0 to 1."""
    if not chunks:
        return []
    similar = similarities(question, [text for text, _ in chunks])
    return [
        sqrt(max(float(s), 0.0) * coverage(idf, words)) for s, (_, words) in zip(similar, chunks, strict=True)
    ]


def best_sentences(
    question: str,
    idf: Idf,
    relevant: Sequence[float],
    candidates: Sequence[PassageCandidate],
    max_sentences: int = MAX_SENTENCES,
) -> list[PassageCandidate]:
    """The sentences that answer best, the best first, none twice. A chunk's complete sentences go before its others.

    A sentence is worth its nearness to the question, and half of its share of the question's words and of its
    chunk's relevance: with more for the words, those that merely repeat them won.
    """
    chunks_with_sentences = {c.chunk for c in candidates if c.passage.is_complete}
    pool = [c for c in candidates if c.passage.is_complete or c.chunk not in chunks_with_sentences]
    if not pool:
        return []
    similar = similarities(question, [c.passage.text for c in pool])
    worth = [
        (float(s) + coverage(idf, c.words) / 2 + relevant[c.chunk] / 2, c)
        for s, c in zip(similar, pool, strict=True)
    ]
    worth.sort(key=lambda pair: (-pair[0], pair[1].chunk, pair[1].passage.start))
    sentences: dict[str, PassageCandidate] = {}
    for value, candidate in worth:
        if len(sentences) < max_sentences and value >= worth[0][0] * MIN_SHARE_OF_BEST:
            sentences.setdefault(" ".join(candidate.passage.text.split()).casefold(), candidate)
    return list(sentences.values())


def support(claim: str, passages: Sequence[QuotablePassage]) -> QuotablePassage | None:
    """The passage of a chunk that a statement of an answer rests on, or None where there is none to choose."""
    if not passages:
        return None
    similar = similarities(claim, [p.text for p in passages])
    words = set(_plain(claim))
    shared = [len(words & set(_plain(p.text))) / (len(words) or 1) for p in passages]
    return max(zip(similar, shared, passages, strict=True), key=lambda row: float(row[0]) + row[1])[2]


def _plain(text: str) -> list[str]:
    return [word.strip(".,;:!?()[]`*_\"'").casefold() for word in text.split()]
