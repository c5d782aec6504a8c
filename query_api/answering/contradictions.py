"""Decides: whether two documents say different things of the same. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from pgfolio.query_api.answering.expected import versions_in, years_in
from pgfolio.query_api.answering.facts import facts_in
from pgfolio.query_api.answering.structured import cells, named_columns

if TYPE_CHECKING:
    from pgfolio.query_api.answering.expected import Expected
    from pgfolio.query_api.answering.sentences import QuotablePassage

MIN_SHARED_WORDS: Final = 0.5
"""Of the words of both, the facts aside (Jaccard), so that they speak of the same."""

_WORD: Final = re.compile(r"[^\W\d_]+")
_NEGATION: Final = re.compile(
    r"\b(?:no|not|never|without|cannot|neither|nor|no longer)\b|n['\u2019]t\b", re.IGNORECASE
)
_COMPARED: Final = frozenset({"number", "money", "measure", "date", "person"})


def contradict(
    question: str, expected: Expected, one: QuotablePassage, other: QuotablePassage, known: str = ""
) -> bool:
    """Whether two passages, of different documents, give different facts of the kind that the question expects, or
    one denies what the other says, of the same years and versions, and otherwise in much the same words. What is
    `known` is no fact."""
    if one.shape == other.shape == "row":
        return _differ_in_the_cell(question, one, other)
    if (
        one.shape != "sentence"
        or other.shape != "sentence"
        or not _of_the_same_time(expected, one.text, other.text)
    ):
        return False
    facts, others = (facts_in(expected.type, p.text, f"{question}\n{known}") for p in (one, other))
    if expected.type in _COMPARED:
        differ = bool(facts) and bool(others) and facts.isdisjoint(others)
    else:
        differ = bool(_NEGATION.search(one.text)) != bool(_NEGATION.search(other.text))
    return differ and _shared(one.text, other.text, facts | others) >= MIN_SHARED_WORDS


def _differ_in_the_cell(question: str, one: QuotablePassage, other: QuotablePassage) -> bool:
    """Rows of the same head and the same first cell, with another value in the column that is asked for."""
    heads, values, others = cells(one.context[-1]), cells(one.text), cells(other.text)
    if heads != cells(other.context[-1]) or not len(heads) == len(values) == len(others):
        return False
    columns = named_columns(question, heads)
    same = values[0].casefold() == others[0].casefold()
    return same and bool(columns) and all(values[i] and others[i] and values[i] != others[i] for i in columns)


def _of_the_same_time(expected: Expected, one: str, other: str) -> bool:
    """Of other years or versions other things are true."""
    dates_differ = expected.type == "date"
    return dates_differ or (years_in(one) == years_in(other) and versions_in(one) == versions_in(other))


def _shared(one: str, other: str, facts: frozenset[str]) -> float:
    of_facts = set(_WORD.findall(" ".join(facts)))
    words, others = (
        set(_WORD.findall(_NEGATION.sub("", text).casefold())) - of_facts for text in (one, other)
    )
    return len(words & others) / len(words | others) if words | others else 0.0
