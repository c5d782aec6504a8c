"""Decides: which passages answer a question, and whether any does. Pure but for the bundled model.

What a passage is worth is a logistic model of a dozen properties: how near it is to the question, alone and in its
context, which of the question's words it has, whether it holds a fact of the kind asked for, whether it is about what
the question is about. Its weights were fitted to 300 questions about manuals, reports, encyclopedic text and code, a
third of them without an answer; tests/README.md says how well they do on others.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from pgfolio.query_api.answering.contradictions import contradict
from pgfolio.query_api.answering.expected import versions_in, years_in
from pgfolio.query_api.answering.facts import defines, holds
from pgfolio.query_api.answering.similarity import SoftCoverage, coverage, similarities
from pgfolio.query_api.answering.structured import names_cell

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgfolio.query_api.answering.expected import Expected
    from pgfolio.query_api.answering.sentences import QuotablePassage
    from pgfolio.query_api.answering.similarity import Idf, Words

MAX_PASSAGES: Final = 3
"""Of an answer."""

MAX_DROP: Final = 2.0
"""How far a further passage may be below the best one, in the model's own units (log odds)."""

ABOUT_BY_DOCUMENT: Final = 0.7
"""How much a passage is about a year that only its chunk or title names."""


class PassageWeights(Struct, frozen=True):
    """Of each property; `bias`: what all must outweigh together."""

    bias: float = -12.76
    in_context: float = 2.55
    in_document: float = 1.59
    coverage: float = 2.73
    context_coverage: float = 4.64
    chunk_coverage: float = 1.74
    rank: float = 0.88
    fact: float = 2.2
    about: float = 2.88
    names_missing: float = -1.44
    names_elsewhere: float = -1.23
    codes: float = 1.5
    defines: float = 3.0
    complete: float = 0.4
    row: float = 0.81
    cell: float = 3.5
    line: float = -0.61


WEIGHTS: Final = PassageWeights()


@dataclass(frozen=True, slots=True)
class PassageCandidate:
    """A passage of one of the chunks, by the chunk's place among the results, with its words and those of its
    context."""

    chunk: int
    passage: QuotablePassage
    words: Words
    context_words: Words


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was found for a question: the `idf` of its words, of each chunk its `headers`, title and headings, and its
    text with these and the words of it, whose `documents` they are, by id, and what can be quoted."""

    idf: Idf
    headers: Sequence[str]
    chunks: Sequence[tuple[str, Words]]
    documents: Sequence[int]
    candidates: Sequence[PassageCandidate]


@dataclass(frozen=True, slots=True)
class Selection:
    """What answers, the best first; `contradictory`: documents say different things of the same."""

    passages: Sequence[PassageCandidate] = ()
    contradictory: bool = False


def best_passages(
    question: str, expected: Expected, evidence: Evidence, threshold: float, limit: int = MAX_PASSAGES
) -> Selection:
    """The passages that answer best, the best first, none twice; none where the best one's probability is below the
    threshold. All are about the years and versions of the question. Where documents contradict each other, the best
    one of each."""
    pool = [(c, share) for c in evidence.candidates if (share := about(expected, c, evidence)) > 0]
    if not pool:
        return Selection()
    worths = _worths(question, expected, evidence, pool)
    order = sorted(range(len(pool)), key=lambda i: (-worths[i], pool[i][0].chunk, pool[i][0].passage.start))
    if probability(worths[order[0]]) < threshold:
        return Selection()
    ranked = [pool[i][0] for i in order if worths[i] >= worths[order[0]] - MAX_DROP]
    if others := _contradicting(question, expected, evidence, ranked):
        return Selection([ranked[0], *others][:limit], contradictory=True)
    distinct = {
        " ".join(candidate.passage.text.split()).casefold(): candidate for candidate in reversed(ranked)
    }
    return Selection(list(distinct.values())[::-1][:limit])


def _contradicting(
    question: str, expected: Expected, evidence: Evidence, ranked: Sequence[PassageCandidate]
) -> list[PassageCandidate]:
    """What other documents say against the best passage. What their titles say, as a report's year, is no fact."""
    best, *others = ranked
    return [
        other
        for other in others
        if evidence.documents[other.chunk] != evidence.documents[best.chunk]
        and contradict(
            question,
            expected,
            best.passage,
            other.passage,
            known=f"{evidence.headers[best.chunk]}\n{evidence.headers[other.chunk]}",
        )
    ]


def probability(worth: float) -> float:
    """That a passage answers: the logistic function."""
    return 1 / (1 + exp(-max(min(worth, 50.0), -50.0)))


def about(expected: Expected, candidate: PassageCandidate, evidence: Evidence) -> float:
    """How much a passage is about the years, versions and codes of the question, 0 to 1: its own words and its
    table's head go before what its chunk and title say."""
    passage = candidate.passage
    head = passage.context[-1] if passage.shape == "row" else ""
    chunk = evidence.chunks[candidate.chunk][0].casefold()
    if any(code not in chunk for code in expected.codes):
        return 0.0
    share = 1.0
    for required, named in ((expected.years, years_in), (expected.versions, versions_in)):
        own = named(passage.text) | named(head)
        if required and not required & own:
            by_chunk = not own and bool(required & named(chunk))
            share = min(share, ABOUT_BY_DOCUMENT if by_chunk else 0.0)
    return share


def _worths(
    question: str,
    expected: Expected,
    evidence: Evidence,
    pool: Sequence[tuple[PassageCandidate, float]],
) -> list[float]:
    before = ["\n".join(c.passage.context) for c, _ in pool]
    contexts = [f"{evidence.headers[c.chunk]}\n{text}" for text, (c, _) in zip(before, pool, strict=True)]
    in_context = similarities(
        question, [f"{k}\n{c.passage.text}" for k, (c, _) in zip(before, pool, strict=True)]
    )
    in_document = similarities(
        question, [f"{k}\n{c.passage.text}" for k, (c, _) in zip(contexts, pool, strict=True)]
    )
    soft = SoftCoverage(question, evidence.idf, [*contexts, *(c.passage.text for c, _ in pool)])
    of_chunks = [coverage(evidence.idf, words) for _, words in evidence.chunks]
    w = WEIGHTS
    worths = []
    for i, (c, share) in enumerate(pool):
        passage = c.passage
        worths.append(
            w.bias
            + w.in_context * float(in_context[i])
            + w.in_document * float(in_document[i])
            + w.coverage * soft.of(passage.text, c.words)
            + w.context_coverage * soft.of(f"{contexts[i]}\n{passage.text}", c.words | c.context_words)
            + w.chunk_coverage * of_chunks[c.chunk]
            + w.rank / (1 + c.chunk)
            + w.fact * holds(expected.type, passage.text, question, passage.shape)
            + w.about * share
            + w.names_missing * _missing(expected.names, evidence.chunks[c.chunk][0])
            + w.names_elsewhere * _missing(expected.names, f"{contexts[i]}\n{passage.text}")
            + w.codes * _present(expected.codes, passage.text)
            + w.defines * (bool(expected.subject) and defines(passage.text, expected.subject))
            + w.complete * passage.is_complete
            + w.row * (passage.shape == "row")
            + w.cell * (passage.shape == "row" and names_cell(question, passage))
            + w.line * (passage.shape == "line")
        )
    return worths


def _present(names: Sequence[str], text: str) -> float:
    return 1 - _missing(names, text) if names else 0.0


def _missing(names: Sequence[str], text: str) -> float:
    """The share of the names that a text does not have."""
    folded = text.casefold()
    return sum(name not in folded for name in names) / len(names) if names else 0.0
