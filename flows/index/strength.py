"""Decides: how much a model's similarities should count on a corpus, from the corpus' own texts alone. Pure.

Fusion's constants were chosen with the bundled model: another one is compared with it on the same fragments of the
same chunks. A fragment should be nearer to its own chunk than to others (the model tells these texts apart), and to
what follows it there, with which it shares no word (the model knows what they mean). Nearness to its own chunk alone
would prefer models that only count words; nearness to what follows alone, models that know the look of a text in a
language that they cannot read. How far the best stands out from the rest, by which fusion trusts an arm, is on each
model's own scale: that is undone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

FRAGMENT_WORDS = 16
MIN_FRAGMENT_WORDS = 5
MIN_OWN_WORDS = 3
"""Words that a fragment must have left when those of what follows are taken away."""

MAX_WORD_LETTERS = 30
"""In the mean: beyond it words are not parted by spaces."""

STEM_LETTERS = 5
"""Words that begin alike count as the same: no stemmer is needed for any language."""

BASELINE_RANK = 20
"""As fusion compares the best with."""

MAX_WEIGHT = 1.5
"""More won on no set that was tried."""

MIN_SCALE = 0.2
"""Where the ruler's similarities are all alike, as in a language that it cannot read, they are no scale."""

MIN_WEIGHT = 0.1
"""Below it the model says nothing about these texts, and is silent."""


@dataclass(frozen=True, slots=True)
class Fragment:
    """Words from the middle of a chunk without those of `following`, the ones after them."""

    text: str
    following: str


@dataclass(frozen=True, slots=True)
class Vectors:
    """Of fragments, of what follows each, and of their chunks: arrays of shape (fragments, dimensions)."""

    fragments: np.ndarray
    following: np.ndarray
    chunks: np.ndarray


@dataclass(frozen=True, slots=True)
class Strength:
    """`identity`, `meaning`: how near to the first place a fragment's own chunk is, and what follows it, 1 being the
    first. `peakedness`: how far the best stands out."""

    identity: float
    meaning: float
    peakedness: float


def fragment(content: str) -> Fragment | None:
    """None where the chunk is too short."""
    words = [word for word in content.split() if any(map(str.isalpha, word))]
    joint = " "
    if len(words) * MAX_WORD_LETTERS < len(content):  # a script without spaces: its letters
        words, joint = [letter for letter in content if letter.isalpha()], ""
    count = min(FRAGMENT_WORDS, len(words) // 2)
    if count < MIN_FRAGMENT_WORDS:
        return None
    first = (len(words) - 2 * count) // 2
    own, following = words[first : first + count], words[first + count : first + 2 * count]
    known = set(map(_stem, following))
    own = [word for word in own if _stem(word) not in known]
    return Fragment(joint.join(own), joint.join(following)) if len(own) >= MIN_OWN_WORDS else None


def strength(vectors: Vectors) -> Strength:
    fragments, following, chunks = map(_normalized, (vectors.fragments, vectors.following, vectors.chunks))
    to_chunks = fragments @ chunks.T
    to_following = fragments @ following.T
    meaning = (nearness(to_following) + nearness(to_following.T)) / 2
    return Strength(nearness(to_chunks), meaning, _peakedness(to_chunks))


def weight(model: Strength, ruler: Strength) -> float:
    """Of the model's similarities, those of the `ruler`, the bundled model, having weight 1; 0 to MAX_WEIGHT."""
    identity, meaning = model.identity / ruler.identity, model.meaning / ruler.meaning
    result = min((identity * meaning) ** 2 * _scale(model, ruler), MAX_WEIGHT)
    return round(result, 2) if result >= MIN_WEIGHT else 0.0


def nearness(similarities: np.ndarray) -> float:
    """Of a square matrix, how near to the first place of its row the diagonal is, in the mean: 1 is the first, 0 the
    last, each doubling of the rank being as far. By chance it is about 1 / ln(n)."""
    own = np.diag(similarities)[:, np.newaxis]
    better, equal = (similarities > own).sum(axis=1), (similarities == own).sum(axis=1) - 1
    return float(1 - np.log1p(better + equal / 2).mean() / math.log(len(similarities)))


def _scale(model: Strength, ruler: Strength) -> float:
    """What undoes the model's own scale of similarities."""
    return max(ruler.peakedness / model.peakedness, MIN_SCALE) if model.peakedness > 0 else 0.0


def _peakedness(similarities: np.ndarray) -> float:
    ordered = np.sort(similarities, axis=1)[:, ::-1]
    best, baseline = ordered[:, 0], ordered[:, min(BASELINE_RANK, ordered.shape[1] - 1)]
    return float(np.median((best - baseline) / np.maximum(best, 1e-6)))


def _stem(word: str) -> str:
    return "".join(letter for letter in word.casefold() if letter.isalnum())[:STEM_LETTERS]


def _normalized(vectors: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    normalized: np.ndarray = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
    return normalized
