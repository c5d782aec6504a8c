"""Decides: which word of the corpus a word that nothing has is a misspelling of. Pure.

Lexemes are stems, words are not: candidates are lexemes near to a beginning of the word, and of the words of chunks
that have these lexemes the nearest one is taken. Distances are of optimal string alignment (Damerau 1964): a letter
too many, too few, another one, or two that changed places.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Final

from rapidfuzz import process
from rapidfuzz.distance import OSA

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

MIN_LETTERS: Final = 4
"""Of a word that is corrected: a shorter one is near to many."""

LETTERS_FOR_TWO: Final = 8
"""Letters from which on two mistakes are corrected."""

LETTERS_FOR_FIRST: Final = 6
"""Letters from which on the first one may be wrong."""

MAX_LETTERS: Final = 40
MAX_ENDING: Final = 6
"""Letters of a word that its lexeme may lack."""

MAX_LEXEMES: Final = 60
PER_LENGTH: Final = 30

WORD: Final = re.compile(rf"[^\W\d_]{{{MIN_LETTERS},{MAX_LETTERS}}}")
_ANY_WORD: Final = re.compile(r"[^\W\d_]+")


def correctable(words: Iterable[str], question: str, phrases: Sequence[str]) -> list[str]:
    """Those of some words, in small letters, that stand in the question and may be misspelt: what is quoted is meant
    as it is."""
    quoted = {word for phrase in phrases for word in _ANY_WORD.findall(phrase.lower())}
    unknown = {part for word in words for part in _ANY_WORD.findall(word.lower())}
    in_question = dict.fromkeys(_ANY_WORD.findall(question.lower()))
    return [word for word in in_question if word in unknown and word not in quoted and WORD.fullmatch(word)]


def by_length(lexemes: Iterable[str]) -> dict[int, list[str]]:
    """Those that are stems of words."""
    vocabulary: dict[int, list[str]] = defaultdict(list)
    for lexeme in lexemes:
        if lexeme.isalpha():
            vocabulary[len(lexeme)].append(lexeme)
    return vocabulary


def similar_lexemes(word: str, vocabulary: Mapping[int, Sequence[str]]) -> list[str]:
    """Lexemes near to a beginning of the word, the nearest first."""
    mistakes = max_mistakes(word)
    similar: list[tuple[float, int, str]] = []
    for length in range(max(3, len(word) - MAX_ENDING), len(word) + mistakes + 1):
        # A letter too few shifts the end, and a stem may have another last letter (forti).
        bound = min(mistakes + (length <= len(word)), (length + 1) // 3)
        matches = process.extract(
            word[:length],
            vocabulary.get(length, ()),
            scorer=OSA.distance,
            score_cutoff=bound,
            limit=PER_LENGTH,
        )
        similar += [(distance, -length, lexeme) for lexeme, distance, _ in matches]
    return [lexeme for _, _, lexeme in sorted(similar)[:MAX_LEXEMES]]


def nearest_word(word: str, texts: Iterable[str]) -> str | None:
    """Of the texts' words the one that the word is a misspelling of, in small letters."""
    mistakes = max_mistakes(word)
    words = Counter(each for text in texts for each in _ANY_WORD.findall(text.lower()))
    similar = process.extract(word, list(words), scorer=OSA.distance, score_cutoff=mistakes, limit=None)
    ranked = [
        (distance + (other[0] != word[0]), -words[other], other)
        for other, distance, _ in similar
        if len(other) >= MIN_LETTERS
        and (other[0] == word[0] or _may_begin_otherwise(word, other))
        and (len(word) > MIN_LETTERS or not _is_substitution(word, other))
        and not _is_other_form(word, other)
    ]
    return min(ranked)[2] if ranked else None


def max_mistakes(word: str) -> int:
    return 1 if len(word) < LETTERS_FOR_TWO else 2


def corrected(question: str, corrections: Mapping[str, str]) -> str:
    """The question with the words that it means."""
    return _ANY_WORD.sub(lambda match: corrections.get(match[0].lower(), match[0]), question)


def _is_substitution(word: str, other: str) -> bool:
    """Of four letters any word is near to some other: "stop" to "stol"."""
    return len(word) == len(other) and sorted(word) != sorted(other)


def _is_other_form(word: str, other: str) -> bool:
    """Another last letter is another ending: "drukarki" is no misspelling of "drukarka"."""
    return word[:-1] == other[:-1]


def _may_begin_otherwise(word: str, other: str) -> bool:
    """The first letter is seldom wrong: "looking" is no misspelling of "cooking" as often as another word."""
    return word[:2] == other[1::-1] or len(word) >= LETTERS_FOR_FIRST
