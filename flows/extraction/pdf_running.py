"""Decides: which lines at the edges of pages are running headers and footers, page numbers among them. Pure."""

from __future__ import annotations

import re
from collections import defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pgfolio.flows.extraction.pdf_line import Line

MIN_PAGES = 3
MAX_STEP = 2
"""Left and right pages may have different ones."""
EDGE_LINES = 4
"""At the top and at the bottom of each page."""
EDGE = 0.12
"""Of what the lines of a page take from top to bottom."""

_NUMBER = re.compile(r"\d{1,5}")
_LETTER = re.compile(r"[^\W\d_]")


def without_running(pages: Sequence[Sequence[Line]]) -> list[list[Line]]:
    """The pages without what repeats from page to page at the same place, word by word or but for a number that
    counts the pages. What has letters stays where it stands first, so that no words are lost."""
    edges = [_edges(lines) for lines in pages]
    running = _running(edges)
    remaining: list[list[Line]] = []
    seen: set[object] = set()
    for number, (lines, ends) in enumerate(zip(pages, edges, strict=True)):
        dropped: set[int] = set()
        for edge in ends:
            for line in edge:
                keys = {key for key in _keys(line, number) if (key, number) in running}
                if not keys:
                    break
                if keys & seen or not _LETTER.search(line.text):
                    dropped.add(id(line))
                seen |= keys
        remaining.append([line for line in lines if id(line) not in dropped])
    return remaining


def _running(edges: Sequence[tuple[list[Line], list[Line]]]) -> set[tuple[object, int]]:
    """What stands at the edges of at least MIN_PAGES pages, no two of them further from each other than MAX_STEP,
    with each of those pages."""
    places: defaultdict[object, list[int]] = defaultdict(list)
    for number, ends in enumerate(edges):
        for key in {key for end in ends for line in end for key in _keys(line, number)}:
            places[key].append(number)
    running = set()
    for key, numbers in places.items():
        if len(numbers) >= MIN_PAGES:
            breaks = [at for at in range(1, len(numbers)) if numbers[at] - numbers[at - 1] > MAX_STEP]
            for begin, end in pairwise([0, *breaks, len(numbers)]):
                if end - begin >= MIN_PAGES:
                    running |= {(key, number) for number in numbers[begin:end]}
    return running


def _edges(lines: Sequence[Line]) -> tuple[list[Line], list[Line]]:
    """The first lines from the top, and from the bottom upwards."""
    placed = [line for line in lines if line.size and not line.turn]
    if not placed:
        return [], []
    placed.sort(key=lambda line: -line.baseline)
    top, bottom = placed[0].baseline, placed[-1].baseline
    zone = (top - bottom) * EDGE
    return (
        [line for line in placed[:EDGE_LINES] if top - line.baseline <= zone],
        [line for line in placed[: -EDGE_LINES - 1 : -1] if line.baseline - bottom <= zone],
    )


def _keys(line: Line, number: int) -> Iterator[object]:
    """What the line has in common with its like on other pages: place and words, or all but a number that is as far
    from the page's own there as here."""
    place = round(line.baseline / 4)
    for at in (place, place + 1):
        yield at, line.text
        for match in _NUMBER.finditer(line.text[:200]):
            yield at, line.text[: match.start()], int(match[0]) - number, line.text[match.end() :]
