"""Decides: which of the results say again what a better one says. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgfolio.schema.search.vector import Hit

RUN: Final = 4
"""Words, or letters of a script without spaces, that are compared together."""

ALIKE: Final = 0.85
"""Jaccard index of two texts' runs from which they say the same (Broder 1997)."""

APART: Final = 0.05
"""Texts whose similarities to the question differ by more are not the same, and need not be compared."""

NUMBER: Final = re.compile(r"\w*\d\w*")
"""24 days are not 30, and v1 is not v2, however alike all else is."""

_ASCII = bytes(ord(chr(c).lower() if re.match(r"\w", chr(c)) else " ") for c in range(128)).ljust(256)
_PART = re.compile(r"[^\W\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+|[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")


def repeats(hits: Sequence[Hit], enough: int) -> dict[int, int]:
    """The chunks that repeat a better one, by their ids, with the id of that one. The best come first; after `enough`
    that repeat nothing the others do not matter.

    Texts that are alike share one of the few first of their runs in any order common to all (prefix filtering,
    Chaudhuri and others 2006): only those that do are compared. Of 200 long ones every pair would take 300 ms, in
    which no other request is answered.
    """
    found: dict[int, int] = {}
    kept: list[tuple[Hit, frozenset[int]]] = []
    having: dict[int, list[int]] = {}  # the places in `kept` of those that have a run among their first
    for hit in hits:
        if len(kept) == enough:
            break
        said = runs(hit.content)
        first = sorted(said)[: len(said) - int(ALIKE * len(said)) + 1]
        sharing = sorted({at for run in first for at in having.get(run, ())})
        same = next((kept[at][0] for at in sharing if _alike(hit, said, *kept[at])), None)
        if same is not None:
            found[hit.chunk_id] = same.chunk_id
            continue
        for run in first:
            having.setdefault(run, []).append(len(kept))
        kept.append((hit, said))
    return found


def runs(text: str) -> frozenset[int]:
    """Every run of neighbouring words of a text, as its hash; of a shorter text all of it as one."""
    words = _words(text)
    if len(words) < RUN:
        return frozenset([hash(tuple(words))])
    return frozenset(map(hash, zip(*(words[at:] for at in range(RUN)), strict=False)))


def _words(text: str) -> list[str]:
    """The parts of a text in small letters. A table splits ASCII, seven times faster than the expression."""
    if text.isascii():
        return text.encode().translate(_ASCII).decode().split()
    return _PART.findall(text.casefold())


def _alike(hit: Hit, runs: frozenset[int], other: Hit, theirs: frozenset[int]) -> bool:
    if abs(hit.similarity - other.similarity) > APART:
        return False
    if min(len(runs), len(theirs)) < ALIKE * max(len(runs), len(theirs)):
        return False
    shared = len(runs & theirs)
    if shared < ALIKE * (len(runs) + len(theirs) - shared):
        return False
    return set(NUMBER.findall(hit.content.casefold())) == set(NUMBER.findall(other.content.casefold()))
