"""Decides: which lines at the edges of pages are running headers and footers, page numbers among them. Pure."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from itertools import groupby, pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pgfolio.flows.extraction.pdf_line import Line, Page

MIN_PAGES = 3
MAX_STEP = 2
"""Left and right pages may have different ones."""
EDGE_LINES = 4
"""At the top and at the bottom of each page."""
EDGE = 0.1
"""Of the page's height, at its top and at its bottom."""
PAGE_WORDS = frozenset(
    "page p pg seite s sheet blatt folio página pag pagina side sida strona strana стр of von de sur".split()  # noqa: SIM905 - in one line
)

_NUMBERS = re.compile(
    r"^\W*(?P<first>\d{1,5}|[ivxl]{1,8})\b|\b(?P<of>\d{1,5})(?= ?(?:/|of|von|de|sur) ?\d)"
    r"|\b(?P<last>\d{1,5}|[ivxl]{1,8})\W*$"
)
_ROMAN = {"i": 1, "v": 5, "x": 10, "l": 50}
_WORD = re.compile(r"[^\W\d_]+")
_LETTER = re.compile(r"[^\W\d_]")

Key = tuple[int, str, int]


def without_running(pages: Sequence[Page]) -> list[list[Line]]:
    """The pages without what repeats from page to page at the same place, word by word or but for a number that
    counts the pages. What has letters stays where it stands first, so that no words are lost."""
    edges = [_edges(page) for page in pages]
    running = _running(edges)
    remaining: list[list[Line]] = []
    seen: set[Key] = set()
    for number, (page, ends) in enumerate(zip(pages, edges, strict=True)):
        dropped: set[int] = set()
        for edge in ends:
            for _, row in groupby(edge, key=lambda line: round(line.baseline)):
                shared = [
                    (line, {key for key in _keys(line, number) if (key, number) in running}) for line in row
                ]
                if not any(keys for _, keys in shared):
                    break
                for line, keys in shared:
                    if keys & seen or (keys and not _LETTER.search(_NUMBERS.sub("", line.text))):
                        dropped.add(id(line))
                    seen |= keys
        remaining.append([line for line in page.lines if id(line) not in dropped])
    return remaining


def _running(edges: Sequence[tuple[list[Line], list[Line]]]) -> set[tuple[Key, int]]:
    """What stands at the edges of at least MIN_PAGES pages, no two of them further from each other than MAX_STEP,
    with each of those pages."""
    places: defaultdict[Key, list[int]] = defaultdict(list)
    for number, ends in enumerate(edges):
        for key in {key for end in ends for line in end for key in _keys(line, number)}:
            places[key].append(number)
    running: set[tuple[Key, int]] = set()
    for key, numbers in places.items():
        if len(numbers) >= MIN_PAGES:
            breaks = [at for at in range(1, len(numbers)) if numbers[at] - numbers[at - 1] > MAX_STEP]
            for begin, end in pairwise([0, *breaks, len(numbers)]):
                if end - begin >= MIN_PAGES:
                    running |= {(key, number) for number in numbers[begin:end]}
    return running


def _edges(page: Page) -> tuple[list[Line], list[Line]]:
    """The first lines from the top, and from the bottom upwards, of those that run as most lines of the page do."""
    turns = Counter(line.turn for line in page.lines if line.size)
    if not turns:
        return [], []
    turn = turns.most_common(1)[0][0]
    lines = sorted(
        (line for line in page.lines if line.turn == turn and line.size), key=lambda line: -line.baseline
    )
    left, bottom, right, top = page.box
    low, high = ((bottom, top), (-right, -left), (-top, -bottom), (left, right))[turn]
    zone = (high - low) * EDGE
    return (
        [line for line in lines[:EDGE_LINES] if line.baseline >= high - zone],
        [line for line in lines[: -EDGE_LINES - 1 : -1] if line.baseline <= low + zone],
    )


def _keys(line: Line, number: int) -> Iterator[Key]:
    """What the line has in common with its like on other pages: place and words, or all but a number that is as far
    from the page's own there as here."""
    place = round(line.baseline / 4)
    alike = [(line.text, 0), *_counted(line.text, number)]
    for at in (place, place + 1):
        for text, offset in alike:
            yield at, text, offset


def _counted(text: str, number: int) -> Iterator[tuple[str, int]]:
    """The text without what may be the page's number, which stands at an end of it, and how far that is from the
    page's own. A word that is alone with a number is a title (Lesson 4), but for words for a page."""
    for match in _NUMBERS.finditer(text[:200]):
        counted = match["first"] or match["last"] or match["of"]
        offset = (int(counted) if counted.isdigit() else _roman(counted)) - number
        once = f"{text[: match.start()]}#{text[match.end() :]}"
        if sum(word.lower() not in PAGE_WORDS for word in _WORD.findall(once)) != 1:
            yield once, offset
            yield re.sub(rf"(?<!\w){counted}(?!\w)", "#", text), offset


def _roman(numeral: str) -> int:
    values = [_ROMAN[letter] for letter in numeral]
    return sum(
        -value if value < after else value for value, after in zip(values, [*values[1:], 0], strict=True)
    )
