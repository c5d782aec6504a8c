"""Decides: where a text is cut, between blocks as long as they fit. Pure.

Blocks are joined until no two neighbours fit together, in an order that depends on what stands around each
boundary and not on how much text came before. So an edit moves the cuts in its neighbourhood only, and the
chunks behind it keep their hashes.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from functools import lru_cache
from itertools import pairwise
from math import ceil
from typing import TYPE_CHECKING
from zlib import crc32

from semantic_text_splitter import MarkdownSplitter, TextSplitter

from pgfolio.flows.chunking.outline import START

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgfolio.flows.chunking.outline import Outline

PARAGRAPH, INTRODUCED, IN_CODE, IN_BLOCK, INTRODUCED_LINE = 7, 8, 9, 10, 11
"""Ranks of boundaries below the six heading levels."""

_BLANK = re.compile(r"\n(?:[ \t]*\n)+")
_SPACES = re.compile(r"\s*")
_NEWLINE = re.compile(r"\n+")
_ITEM = re.compile(r"[ \t]*(?:[-*+]|\d{1,9}[.)])[ \t]")
_CONTINUED = re.compile(r" {2}|\t")


MAX_PACKED_CHARACTERS = 1024 * 1024
"""Of these boundaries are weighed against each other: one takes a hundred bytes, and may stand at every second
character."""


def chunk_boundaries(outline: Outline, low: int, high: int, size: int) -> Iterator[tuple[int, int]]:
    """Parts that cost at most `size`, cut between blocks, and inside a block only if it costs more."""
    for begin, until in pairwise(_stretches(outline.document.text, low, high)):
        boundaries = (
            [begin, until]
            if outline.cost_with_header(begin, until) <= size
            else _pack(outline, begin, until, size)
        )
        for start, end in pairwise(boundaries):
            yield from _split(outline, start, end, size)


def _stretches(text: str, low: int, high: int) -> Iterator[int]:
    """Where a long text is parted before its boundaries are weighed: at the line end in the second half of each
    stretch that its neighbourhood chooses, which an edit far above does not move."""
    yield low
    while high - low > MAX_PACKED_CHARACTERS:
        half, full = low + MAX_PACKED_CHARACTERS // 2, low + MAX_PACKED_CHARACTERS
        ends = (match.end() for match in _NEWLINE.finditer(text, half, full))
        low = min(ends, key=lambda end: _key(text, end, PARAGRAPH), default=full)
        yield low
    yield high


def _pack(outline: Outline, low: int, high: int, size: int) -> list[int]:
    """Join neighbours until none fit together, by taking boundaries away, the worst (the highest key) first.

    Among boundaries of one rank the order is a hash of the text around them. What becomes of a boundary thus
    depends on its neighbourhood, and an edit far above does not move it.
    """
    ordered = sorted(_boundaries(outline, low, high, size))
    offsets = [low, *(offset for offset, _ in ordered), high]
    totals = [outline.totals[offset] for offset in offsets]
    headers = [outline.header_cost(offset) for offset in offsets]
    previous, following = list(range(-1, len(offsets) - 1)), list(range(1, len(offsets) + 1))
    for index in sorted(range(len(ordered)), key=lambda index: -ordered[index][1]):
        above, below = previous[index + 1], following[index + 1]
        if totals[below] - totals[above] + headers[above] <= size:
            following[above], previous[below] = below, above
    boundaries, index = [low], following[0]
    while index < len(offsets):
        boundaries.append(offsets[index])
        index = following[index]
    return boundaries


def _boundaries(outline: Outline, low: int, high: int, size: int) -> Iterator[tuple[int, int]]:
    """Where blocks meet, each place with its key; in blocks that cost more than `size` their line ends as well."""
    text, previous = outline.document.text, low
    for offset, rank in _blocks(outline, low, high):
        if outline.cost_with_header(previous, offset) > size:
            yield from _lines(outline, outline.body(previous, offset), offset)
        yield offset, _key(text, offset, rank)
        previous = offset
    if outline.cost_with_header(previous, high) > size:
        yield from _lines(outline, outline.body(previous, high), high)


def _blocks(outline: Outline, low: int, high: int) -> Iterator[tuple[int, int]]:
    """Headings by their level, then blank lines and the ends of code blocks; the worst are behind what introduces the
    next block and inside code.

    None comes directly after a heading, which is thus never parted from what it announces.
    """
    text, starts = outline.document.text, outline.starts
    places = {match.end(): match.start() for match in _BLANK.finditer(text, low, high) if match.end() < high}
    places |= _code_ends(outline, low, high)
    first, last = bisect_right(starts, low), bisect_left(starts, high)
    levels = dict(zip(starts[first:last], outline.levels[first:last], strict=True))
    for offset in sorted(places.keys() | levels.keys()):
        above = bisect_left(starts, offset) - 1
        if above >= first - 1 and above >= 0 and _SPACES.fullmatch(text, outline.ends[above], offset):
            continue
        if offset in levels:
            rank = levels[offset]
        elif outline.in_code(offset - 1):
            rank = IN_CODE
        else:
            rank = INTRODUCED if _is_introduced(outline, places[offset], offset) else PARAGRAPH
        yield offset, rank


def _code_ends(outline: Outline, low: int, high: int) -> dict[int, int]:
    """Where code blocks begin and end, each with the end of what is before: with no blank line around it, one that
    fits would be cut because it does not together with its paragraph."""
    text = outline.document.text
    first, last = bisect_left(outline.code, low, key=START), bisect_left(outline.code, high, key=START)
    ends = {block.start: block.start - 1 for block in outline.code[first:last] if block.start > low}
    for block in outline.code[first:last]:
        following = block.end + 1
        if following < high and text[block.end] == "\n" and text[following] != "\n":
            ends[following] = block.end
    return ends


def _is_introduced(outline: Outline, end: int, offset: int) -> bool:
    """Whether a block is announced by the one that ends before it: by a colon, as the first item of a list, as the
    rest of an item."""
    text = outline.document.text
    if text[end - 1 : end] == ":":
        return True
    if not outline.document.markdown:
        return False
    before = text.rfind("\n", 0, end) + 1
    if _ITEM.match(text, offset):
        return not (_ITEM.match(text, before) or _CONTINUED.match(text, before) or outline.in_code(end - 1))
    return _CONTINUED.match(text, offset) is not None


def _lines(outline: Outline, low: int, high: int) -> Iterator[tuple[int, int]]:
    text = outline.document.text
    return (
        (match.end(), _key(text, match.end(), _rank_of_line(outline, match)))
        for match in _NEWLINE.finditer(text, low, high)
        if low < match.end() < high
    )


def _rank_of_line(outline: Outline, end: re.Match[str]) -> int:
    after_colon = outline.document.text[end.start() - 1 : end.start()] == ":"
    return INTRODUCED_LINE if after_colon or outline.parts_header(end.end()) else IN_BLOCK


def _key(text: str, offset: int, rank: int) -> int:
    around = text[max(offset - 40, 0) : offset + 60]
    return rank << 32 | crc32(around.encode("utf-8", "replace"))


@lru_cache(maxsize=1024)
def _splitter(markdown: bool, size: int) -> MarkdownSplitter | TextSplitter:
    return MarkdownSplitter(size, trim=False) if markdown else TextSplitter(size, trim=False)


def _split(outline: Outline, low: int, high: int, size: int) -> Iterator[tuple[int, int]]:
    """Evenly sized parts that cost at most `size`, without the whitespace around them; none is empty."""
    text, boundaries = outline.document.text, [low, high]
    if outline.cost(low, high) > size:
        body = outline.body(low, high)
        if outline.cost(low, body) > size // 4:
            body = low  # too long a heading to be kept whole at any price
        room = size - outline.cost(low, body)
        windows = _windows(outline, body, high, room)
        inner = [boundary for window in windows for boundary in _even(outline, window, room)]
        boundaries = [low, *inner[1:], high]
    for start, end in pairwise(boundaries):
        piece = text[start:end]
        if stripped := piece.strip():
            begin = start + len(piece) - len(piece.lstrip())
            yield begin, begin + len(stripped)


def _letters(outline: Outline, low: int, high: int, size: int) -> int:
    """How many of these characters cost `size`, if each costs as much as the others."""
    return max(1, (high - low) * size // max(outline.cost(low, high), 1))


def _windows(outline: Outline, low: int, high: int, size: int) -> Iterator[tuple[int, int]]:
    """Slices of at most 16 parts: the splitter's time grows with the square of a line (5 MB took 100 s)."""
    letters = _letters(outline, low, high, size)
    while high - low > 16 * letters:
        end = outline.document.text.rfind(" ", low + 8 * letters, low + 16 * letters)
        end = end if end > low else low + 16 * letters
        yield low, end
        low = end
    yield low, high


def _even(outline: Outline, window: tuple[int, int], size: int) -> list[int]:
    """Where the parts of a window begin, if cut into as few parts as can be and these of about one size."""
    low, high = window
    letters = _letters(outline, low, high, size)
    part = ceil((high - low) / ceil((high - low) / letters))
    roomy = min(letters, ceil(part * 1.15 / 16) * 16)
    text = outline.document.text[low:high]
    parts = _splitter(outline.document.markdown, roomy).chunk_indices(text)
    return [low, *(low + offset for offset, _ in parts[1:])]
