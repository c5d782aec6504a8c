"""Decides: which of the results are near-duplicates of a better one. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgfolio.schema.search.vector import Hit

SHINGLE_WORDS: Final = 4
"""Words, or letters of a script without spaces, that are compared together."""

JACCARD_THRESHOLD: Final = 0.85
"""Jaccard index of two texts' shingles from which they are near-duplicates (Broder 1997)."""

MAX_SIMILARITY_DIFFERENCE: Final = 0.05
"""Texts whose similarities to the question differ by more are not the same, and need not be compared."""

NUMBER: Final = re.compile(r"\w*\d\w*")
"""24 days are not 30, and v1 is not v2, however alike all else is."""

_ASCII = bytes(ord(chr(c).lower() if re.match(r"\w", chr(c)) else " ") for c in range(128)).ljust(256)
_WORD = re.compile(r"[^\W\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+|[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")


def near_duplicates(hits: Sequence[Hit], enough: int) -> dict[int, int]:
    """The chunks that repeat a better one, by their ids, with the id of that one. The best come first; after `enough`
    that repeat nothing the others do not matter.

    Near-duplicates share one of the few first of their shingles in any order common to all (prefix filtering,
    Chaudhuri and others 2006): only those that do are compared. Of 200 long ones every pair would take 300 ms, in
    which no other request is answered.
    """
    duplicates: dict[int, int] = {}
    distinct: list[tuple[Hit, frozenset[int]]] = []
    by_shingle: dict[
        int, list[int]
    ] = {}  # places in `distinct` of the texts that have a shingle in their prefix
    for hit in hits:
        if len(distinct) == enough:
            break
        hit_shingles = shingles(hit.content)
        prefix = sorted(hit_shingles)[: len(hit_shingles) - int(JACCARD_THRESHOLD * len(hit_shingles)) + 1]
        candidates = sorted({index for shingle in prefix for index in by_shingle.get(shingle, ())})
        originals = (
            distinct[i][0] for i in candidates if _is_near_duplicate(hit, hit_shingles, *distinct[i])
        )
        original = next(originals, None)
        if original is not None:
            duplicates[hit.chunk_id] = original.chunk_id
            continue
        for shingle in prefix:
            by_shingle.setdefault(shingle, []).append(len(distinct))
        distinct.append((hit, hit_shingles))
    return duplicates


def shingles(text: str) -> frozenset[int]:
    """Every shingle (run of neighbouring words) of a text, as its hash; of a shorter text all of it as one."""
    words = _words(text)
    if len(words) < SHINGLE_WORDS:
        return frozenset([hash(tuple(words))])
    return frozenset(map(hash, zip(*(words[offset:] for offset in range(SHINGLE_WORDS)), strict=False)))


def _words(text: str) -> list[str]:
    """The parts of a text in small letters. A table splits ASCII, seven times faster than the expression."""
    if text.isascii():
        return text.encode().translate(_ASCII).decode().split()
    return _WORD.findall(text.casefold())


def _is_near_duplicate(
    hit: Hit, shingles: frozenset[int], other: Hit, other_shingles: frozenset[int]
) -> bool:
    if abs(hit.similarity - other.similarity) > MAX_SIMILARITY_DIFFERENCE:
        return False
    if min(len(shingles), len(other_shingles)) < JACCARD_THRESHOLD * max(len(shingles), len(other_shingles)):
        return False
    shared = len(shingles & other_shingles)
    if shared < JACCARD_THRESHOLD * (len(shingles) + len(other_shingles) - shared):
        return False
    return set(NUMBER.findall(hit.content.casefold())) == set(NUMBER.findall(other.content.casefold()))
