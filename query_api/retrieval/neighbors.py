"""Decides: which results' passages become one, when each is widened by the chunks beside it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING

from msgspec.structs import replace

from pgfolio.query_api.retrieval.crowding import limit_per_document

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pgfolio.schema.search.hits import Passage
    from pgfolio.schema.search.vector import Hit


@dataclass(frozen=True, slots=True)
class ExpandedHits:
    """Results with their passages, the best first, the chunks that went into a better one's passage, and the passages
    whose documents have all their places."""

    hits: Sequence[Hit]
    merged: Mapping[int, int]
    surplus: Sequence[Hit] = ()


def expand(
    hits: Sequence[Hit], passages: Mapping[int, Passage], limit: int, max_per_document: int | None = None
) -> ExpandedHits:
    """As many of the hits as the limit says, each with its passage; what overlaps a better one's passage is joined
    to it and takes no place."""
    expanded: list[Hit] = []
    merged: dict[int, int] = {}
    for hit in hits:
        passage = passages.get(hit.chunk_id)
        widened = _widened(hit, passage) if passage else hit
        overlapping = [
            other
            for other in expanded
            if (other.chunk_id in passages) == (passage is not None)  # else not of the same text any more
            and _overlap(widened, other)
        ]
        if overlapping:
            best = overlapping[0]
            index = expanded.index(best)
            merged |= {other.chunk_id: best.chunk_id for other in (*overlapping[1:], hit)}
            expanded = [other for other in expanded if other not in overlapping[1:]]
            expanded[index] = reduce(_merge, (widened, *overlapping[1:]), best)
        else:
            expanded.append(widened)
    placed, surplus = limit_per_document(expanded, max_per_document, lambda hit: hit.document_id)
    limited = placed[:limit]
    limited_ids = {hit.chunk_id for hit in limited}
    return ExpandedHits(
        limited,
        {chunk: best for chunk, best in merged.items() if _final(best, merged) in limited_ids},
        surplus,
    )


def _widened(hit: Hit, passage: Passage) -> Hit:
    return replace(
        hit,
        content=passage.text,
        start=passage.start,
        end=passage.end,
        file_start=passage.file_start,
        file_end=passage.file_end,
    )


def _final(best: int, merged: Mapping[int, int]) -> int:
    """Whose passage it became in the end."""
    while best in merged:
        best = merged[best]
    return best


def _overlap(one: Hit, other: Hit) -> bool:
    return one.document_id == other.document_id and one.start <= other.end and other.start <= one.end


def _merge(best: Hit, other: Hit) -> Hit:
    """Both are slices of the same text, each with a table's header above it or none."""
    first, second = (best, other) if best.start <= other.start else (other, best)
    content = (
        first.content + second.content[second.header_length + first.end - second.start :]
        if second.end > first.end
        else first.content
    )
    last = second if second.end > first.end else first
    return replace(
        best,
        content=content,
        start=first.start,
        end=last.end,
        file_start=first.file_start,
        file_end=last.file_end,
    )
