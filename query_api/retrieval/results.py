"""What retrieval finds: the values that it passes on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from pgfolio.query_api.retrieval.trace import Trace
    from pgfolio.schema.search.vector import Hit


def display_title(title: str | None, path: str) -> str:
    """A document without a title goes by its file's name."""
    return title or path.rsplit("/", 1)[-1]


def date_of(created_at: datetime | None, updated_at: datetime | None) -> str:
    """A document's own date, or that of its file, which is named so."""
    if created_at is not None:
        return f"{created_at:%Y-%m-%d}"
    return f"file of {updated_at:%Y-%m-%d}" if updated_at is not None else ""


class SearchResult(Struct, frozen=True):
    """A chunk, what it is ranked by, and the better result that it repeats, if it does."""

    hit: Hit
    score: float
    near_duplicate_of: int | None = None


@dataclass(frozen=True, slots=True)
class Retrieved:
    """The best chunks first. `complete` is false when fewer than the limit came back although more may match."""

    trace: Trace
    results: Sequence[SearchResult] = ()
    complete: bool = True
    space: str | None = None
    question: str = ""
    """As it was understood: with the words that it means."""
