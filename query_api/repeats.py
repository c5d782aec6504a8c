"""Decides: which of the results say again what a better one says. Pure."""

from __future__ import annotations

import re
from collections import Counter
from itertools import chain
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
    that repeat nothing the others do not matter. Only texts that share a run are compared: of 200 long ones every
    pair would take 300 ms, in which no other request is answered."""
    found: dict[int, int] = {}
    kept: list[tuple[Hit, int]] = []
    having: dict[int, list[int]] = {}  # the places in `kept` of those that have a run
    for hit in hits:
        if len(kept) == enough:
            break
        said = runs(hit.content)
        shared = Counter(chain.from_iterable(having.get(run, ()) for run in said))
        first = next((at for at in sorted(shared) if _alike(hit, len(said), *kept[at], shared[at])), None)
        if first is not None:
            found[hit.chunk_id] = kept[first][0].chunk_id
            continue
        for run in said:
            having.setdefault(run, []).append(len(kept))
        kept.append((hit, len(said)))
    return found


def runs(text: str) -> frozenset[int]:
    """Every run of neighbouring words of a text, as its hash; of a shorter text all of it as one."""
    words = _PART.findall(text.casefold())
    count = max(len(words) - RUN + 1, 1)
    return frozenset(hash(tuple(words[at : at + RUN])) for at in range(count))


def _alike(hit: Hit, runs: int, other: Hit, theirs: int, shared: int) -> bool:
    """Of so many runs each, and so many that both have."""
    return abs(hit.similarity - other.similarity) <= APART and shared >= ALIKE * (runs + theirs - shared)
