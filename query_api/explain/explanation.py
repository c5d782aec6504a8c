"""What is remembered of how an answer was found, from the candidates of each arm to what was dropped and why."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pgfolio.query_api.explain.records import NONE, Explanation, KeptCandidate, Ranked, TracedCandidate
from pgfolio.schema.search.lexical import Scored

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping, Sequence

    from pgfolio.query_api.retrieval.query import Query
    from pgfolio.schema.records import Generation
    from pgfolio.schema.search.hits import Place
    from pgfolio.schema.search.vector import Candidate

KEPT = 50
"""Candidates of a trace that is kept; `explain` shows all of them."""


@dataclass(slots=True)
class Trace:
    """Filled while a question is answered. It refers to what is there in any case: to remember costs next to
    nothing."""

    query: Query
    began: datetime = field(default_factory=lambda: datetime.now(UTC))
    generation: Generation | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    searched: str = ""
    """How the vectors were searched."""
    candidates: Sequence[Scored] | Sequence[Candidate] = ()
    ranking: Sequence[Candidate] = ()
    reranked: Mapping[int, float] = field(default_factory=dict)
    dropped: dict[int, str] = field(default_factory=dict)
    """Why, by chunk; what is simply beyond the limit is not here."""
    results: Sequence[int] = ()
    notes: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    answer: dict[str, Any] | None = None
    """Of a question that was answered: by whom, from which chunks."""


def explanation(trace: Trace, kind: str, *, most: int | None = None, with_query: bool = True) -> Explanation:
    """The trace as it is shown and kept, of at most so many candidates, the results among them. Pure."""
    query, generation = trace.query, trace.generation
    return Explanation(
        kind,
        trace.began,
        query.text if with_query else None,
        query.mode,
        query.limit,
        list(query.collections) if query.collections else None,
        generation.space.name if generation else None,
        generation.id if generation else None,
        trace.settings,
        trace.searched,
        {name: round(seconds * 1000, 3) for name, seconds in trace.seconds.items()},
        _candidates(trace, most),
        len(trace.ranking),
        list(trace.notes),
        trace.answer,
    )


def located(explained: Explanation, places: Mapping[int, Place]) -> list[TracedCandidate]:
    """The candidates that whoever asks may see, with where they stand. One that is not there any more, or not for
    them, is left out."""
    return [
        TracedCandidate(
            one.chunk_id,
            found.document_id,
            found.source,
            found.path,
            found.heading,
            one.vector,
            one.words,
            one.exact,
            one.fused,
            one.reranked,
            one.place,
            one.dropped,
        )
        for one in explained.candidates
        if (found := places.get(one.chunk_id)) is not None
    ]


def _candidates(trace: Trace, most: int | None) -> list[TracedCandidate]:
    places = {chunk: place for place, chunk in enumerate(trace.results, 1)}
    shown = {
        one.chunk_id: rank
        for rank, one in enumerate(trace.ranking, 1)
        if most is None or rank <= most or one.chunk_id in places
    }
    vector, words, exact = _arms(trace.candidates, shown)
    reranked = _ranked(trace.reranked.items(), shown)
    made = TracedCandidate if most is None else KeptCandidate
    return [
        made(
            one.chunk_id,
            None,
            None,
            None,
            None,
            vector.get(one.chunk_id),
            words.get(one.chunk_id),
            exact.get(one.chunk_id, NONE),
            Ranked(shown[one.chunk_id], round(one.score, 6)),
            reranked.get(one.chunk_id),
            places.get(one.chunk_id),
            None if one.chunk_id in places else trace.dropped.get(one.chunk_id, "beyond the limit"),
        )
        for one in trace.ranking
        if one.chunk_id in shown
    ]


def _arms(
    candidates: Sequence[Scored] | Sequence[Candidate], shown: Container[int]
) -> tuple[dict[int, Ranked], dict[int, Ranked], dict[int, float]]:
    scored = [c for c in candidates if isinstance(c, Scored)]
    if not scored:
        only = ((c.chunk_id, c.score) for c in candidates if not isinstance(c, Scored))
        return _ranked(only, shown), {}, {}
    vector = _ranked(((c.chunk_id, c.similarity) for c in scored if c.near), shown)
    words = _ranked(((c.chunk_id, c.words) for c in scored if c.words > 0), shown)
    return vector, words, {c.chunk_id: round(c.exact, 6) for c in scored if c.exact}


def _ranked(scores: Iterable[tuple[int, float]], shown: Container[int]) -> dict[int, Ranked]:
    """Each one's place among all of them: of those that are shown."""
    ordered = sorted((-score, chunk) for chunk, score in scores)
    return {
        chunk: Ranked(rank, round(-negative, 6))
        for rank, (negative, chunk) in enumerate(ordered, 1)
        if chunk in shown
    }
