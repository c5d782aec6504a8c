"""How an answer was found, as JSON shows it."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 -- msgspec reads it
from typing import Any

from msgspec import Struct

NONE = 0.0
"""Left out of a stored trace only where it is this very object."""


class Ranked(Struct, frozen=True):
    """A place in one ranking, from 1 on, and the score that it goes by."""

    rank: int
    score: float


class TracedCandidate(Struct, frozen=True):
    """A chunk that came into question. `vector` goes by similarity, `words` by BM25; `exact` is what the chunk has of
    what was asked for exactly. `place`: among the results, from 1 on; else `dropped` says why it is not there."""

    chunk_id: int
    document_id: int | None = None
    source: str | None = None
    path: str | None = None
    heading: str | None = None
    vector: Ranked | None = None
    words: Ranked | None = None
    exact: float = NONE
    fused: Ranked | None = None
    reranked: Ranked | None = None
    place: int | None = None
    dropped: str | None = None


class StoredCandidate(TracedCandidate, frozen=True, omit_defaults=True):
    """The same as a trace keeps it: what is null is not written, which is half of it."""


class Explanation(Struct, frozen=True):
    """How an answer was found. `query` is null where texts are not kept."""

    kind: str
    asked_at: datetime
    query: str | None
    mode: str
    limit: int
    collections: list[str] | None
    space: str | None
    generation: int | None
    settings: dict[str, Any]
    searched: str
    milliseconds: dict[str, float]
    candidates: list[TracedCandidate]
    candidates_in_all: int
    notes: list[str]
    answer: dict[str, Any] | None = None


class Why(Struct, frozen=True):
    """Of the best chunk of a document: its similarity and its score by words, and the least that a candidate of each
    arm has. None: the arm was not asked, or found nothing."""

    document: str
    reason: str
    document_id: int | None = None
    chunk_id: int | None = None
    similarity: float | None = None
    least_similarity: float | None = None
    words: float | None = None
    least_words: float | None = None
