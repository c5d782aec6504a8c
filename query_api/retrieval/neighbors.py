"""Decides: which results' passages become one, when each is widened by the chunks beside it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING

from msgspec.structs import replace

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pgfolio.schema.search.hits import Passage
    from pgfolio.schema.search.vector import Hit


@dataclass(frozen=True, slots=True)
class Widened:
    """Results with their passages, the best first, and the chunks that went into a better one's passage."""

    hits: Sequence[Hit]
    joined: Mapping[int, int]


def widened(hits: Sequence[Hit], passages: Mapping[int, Passage], limit: int) -> Widened:
    """As many of the hits as the limit says, each with its passage; what overlaps a better one's passage is joined
    to it and takes no place."""
    made: list[Hit] = []
    joined: dict[int, int] = {}
    for hit in hits:
        passage = passages.get(hit.chunk_id)
        wide = replace(hit, content=passage.text, start=passage.start, end=passage.end) if passage else hit
        beside = [
            other
            for other in made
            if (other.chunk_id in passages) == (passage is not None)  # else not of the same text any more
            and _touch(wide, other)
        ]
        if beside:
            best = beside[0]
            place = made.index(best)
            joined |= {other.chunk_id: best.chunk_id for other in (*beside[1:], hit)}
            made = [other for other in made if other not in beside[1:]]
            made[place] = reduce(_joined, (wide, *beside[1:]), best)
        else:
            made.append(wide)
    shown = made[:limit]
    kept = {hit.chunk_id for hit in shown}
    return Widened(shown, {chunk: best for chunk, best in joined.items() if _last(best, joined) in kept})


def _last(best: int, joined: Mapping[int, int]) -> int:
    """Whose passage it became in the end."""
    while best in joined:
        best = joined[best]
    return best


def _touch(one: Hit, other: Hit) -> bool:
    return one.document_id == other.document_id and one.start <= other.end and other.start <= one.end


def _joined(best: Hit, other: Hit) -> Hit:
    """Both are slices of the same text."""
    first, second = (best, other) if best.start <= other.start else (other, best)
    content = (
        first.content + second.content[first.end - second.start :]
        if second.end > first.end
        else first.content
    )
    return replace(best, content=content, start=first.start, end=max(first.end, second.end))
