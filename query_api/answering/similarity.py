"""Decides: how near texts are to a question, by meaning and by words. Pure but for the bundled model, which is always
there, in the process, and costs nothing: so that these decisions are the same in every embedding space."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

from pgfolio.config.models.wordllama import local_model

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pgfolio.query_api.answering.sentences import QuotablePassage

Words = frozenset[str]
Idf: TypeAlias = "Mapping[Words, float]"
"""Each word of a question, as its stems in all languages, with its inverse document frequency."""

WORD: Final = re.compile(r"[^\W_]+")

NAME: Final = re.compile(r"(?=.*[^\W\d_])(?:.*[_.:@#0-9]|.*/.*/)")
"""What search takes for a name too: letters with a digit or a mark, such as err-1042 or prefect_api_url."""

RELATED: Final = 0.4
"""Cosine similarity from which another word counts for one of the question's, as "rainfall" for "precipitation"."""

UNRELATED: Final = 0.3
"""Any two words have as much."""

MAX_WORDS: Final = 20_000
"""Words whose vectors are computed for one question."""


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


class SoftCoverage:
    """The share of a question's words that texts have or have related words of, each weighing its idf. As BERTScore's
    recall (Zhang and others 2020), with static vectors."""

    def __init__(self, question: str, idf: Idf, texts: Sequence[str]) -> None:
        surfaces = _surfaces(question, idf)
        self._weights = np.array(list(idf.values()))
        self._stems = list(idf)
        vocabulary = sorted({word for text in texts for word in WORD.findall(text.casefold())})[:MAX_WORDS]
        self._places = {word: place for place, word in enumerate(vocabulary)}
        vectors = local_model().embed([*surfaces, *vocabulary]).vectors
        related = vectors[: len(surfaces)] @ vectors[len(surfaces) :].T
        self._related = np.where(related > RELATED, (related - UNRELATED) / (1 - UNRELATED), 0.0)

    def of(self, text: str, words: Words) -> float:
        """`words`: the text's stems."""
        if not len(self._weights):
            return 0.0
        places = [self._places[word] for word in WORD.findall(text.casefold()) if word in self._places]
        shares = self._related[:, places].max(axis=1) if places else np.zeros(len(self._weights))
        shares = np.where([bool(stems & words) for stems in self._stems], 1.0, shares)
        return float(shares @ self._weights / (self._weights.sum() or 1.0))


def support(claim: str, passages: Sequence[QuotablePassage]) -> QuotablePassage | None:
    """The passage of a chunk that a statement of an answer rests on, or None where there is none to choose."""
    if not passages:
        return None
    similar = similarities(claim, [p.text for p in passages])
    words = set(_plain(claim))
    shared = [len(words & set(_plain(p.text))) / (len(words) or 1) for p in passages]
    return max(zip(similar, shared, passages, strict=True), key=lambda row: float(row[0]) + row[1])[2]


def _surfaces(question: str, idf: Idf) -> list[str]:
    """Of each word's stems the word as it stands in the question: that with the longest beginning in common."""
    tokens = WORD.findall(question.casefold()) or [""]
    return [max(tokens, key=partial(_common_with, stems)) for stems in idf]


def _common_with(stems: Words, token: str) -> int:
    return max(_common_prefix(token, stem) for stem in stems)


def _common_prefix(a: str, b: str) -> int:
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def _plain(text: str) -> list[str]:
    return [word.strip(".,;:!?()[]`*_\"'").casefold() for word in text.split()]
