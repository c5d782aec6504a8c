"""Decides: which results have a place where no document may take more than some. Pure."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class OfDocument(Protocol):
    """What is a document's."""

    @property
    def document_id(self) -> int: ...


Item = TypeVar("Item")


def limit_per_document(
    items: Sequence[Item], maximum: int | None, document_of: Callable[[Item], int]
) -> tuple[list[Item], list[Item]]:
    """Those that have a place, the best given first, and those whose document has `maximum` better ones; None: as
    many as there are."""
    if maximum is None:
        return list(items), []
    placed: list[Item] = []
    surplus: list[Item] = []
    counts: Counter[int] = Counter()
    for item in items:
        document = document_of(item)
        counts[document] += 1
        (placed if counts[document] <= maximum else surplus).append(item)
    return placed, surplus


def full_documents(arm: Sequence[OfDocument], maximum: int, limit: int) -> set[int]:
    """Documents that have all their places, where those of an arm that have a place are fewer than the limit: without
    these documents the arm is to be searched once more."""
    counts = Counter(item.document_id for item in arm)
    if sum(min(count, maximum) for count in counts.values()) >= limit:
        return set()
    return {document for document, count in counts.items() if count >= maximum}
