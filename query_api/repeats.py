"""Decides: which of the results say again what a better one says. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from schema.search import Hit

RUN: Final = 4
"""Words, or letters of a script without spaces, that are compared together."""

ALIKE: Final = 0.85
"""Jaccard index of two texts' runs from which they say the same (Broder 1997)."""

APART: Final = 0.05
"""Texts whose similarities to the question differ by more are not the same, and need not be compared."""

_PART = re.compile(r"[^\W\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+|[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")


def repeats(hits: Sequence[Hit], enough: int) -> dict[int, int]:
    """The chunks that repeat a better one, by their ids, with the id of that one. The best come first; after `enough`
    that repeat nothing the others do not matter."""
    found: dict[int, int] = {}
    kept: list[tuple[Hit, frozenset[int]]] = []
    for hit in hits:
        if len(kept) == enough:
            break
        said = runs(hit.content)
        first = next((other.chunk_id for other, theirs in kept if _alike(hit, said, other, theirs)), None)
        if first is None:
            kept.append((hit, said))
        else:
            found[hit.chunk_id] = first
    return found


def runs(text: str) -> frozenset[int]:
    """Every run of neighbouring words of a text, as its hash; of a shorter text all of it as one."""
    words = _PART.findall(text.casefold())
    count = max(len(words) - RUN + 1, 1)
    return frozenset(hash(tuple(words[at : at + RUN])) for at in range(count))


def _alike(hit: Hit, said: frozenset[int], other: Hit, theirs: frozenset[int]) -> bool:
    if abs(hit.similarity - other.similarity) > APART:
        return False
    return len(said & theirs) >= ALIKE * len(said | theirs)
