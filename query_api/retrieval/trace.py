"""What is remembered while a question is answered, from the candidates of each arm to what was dropped and why."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pgfolio.query_api.retrieval.query import Query
    from pgfolio.schema.records import Generation
    from pgfolio.schema.search.question import Scored
    from pgfolio.schema.search.vector import Candidate, Hit


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
    unknown_words: set[str] = field(default_factory=set)
    """Of the question, that no chunk of the collections has; and names and pairs of letters that none has."""
    corrections: Mapping[str, str] = field(default_factory=dict)
    """Words that the question means, by those that it has; a note says so of each."""
    seconds: dict[str, float] = field(default_factory=dict)
    answer: dict[str, Any] | None = None
    """Of a question that was answered: by whom, from which chunks."""

    def drop(self, surplus: Sequence[Candidate | Hit], maximum: int | None) -> None:
        """Candidates whose documents have all their places."""
        reason = f"its document has {maximum} better results: max_per_document allows no more"
        self.dropped |= {candidate.chunk_id: reason for candidate in surplus}
