"""Decides: the reading order of lines that were written across a page's columns, row by row. Pure."""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate, groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pgfolio.flows.extraction.pdf_line import Line, Placed, Word

BINS = 600
MIN_GUTTER_BINS = 4
"""4 points of a page of 8.5 inches."""
MIN_LINES = 8
"""On each side of a gutter."""
MIN_LETTERS = 18
"""Of the middle one of a column's parts of lines: fewer are a table's cells."""
SPACE = 0.6
"""Of the font's size: the widest gap between words of one line."""
SAME_BASELINE = 0.25
"""Of the font's size: lines no further from each other stand on one."""
MAX_ACROSS = 0.12
"""Of the lines may stand across a gutter, as titles do."""


def in_columns(placed: list[Placed]) -> list[Placed]:
    """The lines with their words, those that were written across columns cut at the gutters and put in order; as
    they are where the page has no columns or was written column by column."""
    straight = [item for item in placed if not item[0].turn]
    if len(straight) < 2 * MIN_LINES or len(straight) < len(placed) * 0.8:
        return placed
    gutters = [gutter for gutter in _gutters(straight) if _written_across(straight, gutter)]
    return _column_by_column(placed, gutters) if gutters else placed


def _gutters(placed: Sequence[Placed]) -> list[float]:
    """The middles of the stripes that hardly any line has words in, but for the margins."""
    left = min(words[0].left for _, words in placed)
    width = max(max(words[-1].right for _, words in placed) - left, 1.0) / BINS
    steps = [0] * (BINS + 1)
    for line, words in placed:
        for start, end in _stretches(line, words):
            steps[_bin(start - left, width)] += 1
            steps[_bin(end - left, width) + 1] -= 1
    free = [depth <= max(1.0, len(placed) * MAX_ACROSS) for depth in accumulate(steps[:BINS])]
    gutters, begin = [], 0
    for is_free, stripe in groupby(free):
        end = begin + len(list(stripe))
        if is_free and begin and end < BINS and end - begin >= MIN_GUTTER_BINS:
            gutters.append(left + (begin + end) / 2 * width)
        begin = end
    return gutters


def _stretches(line: Line, words: Sequence[Word]) -> Iterator[tuple[float, float]]:
    """From where to where a line has words with no more than spaces between them."""
    start, end = words[0].left, words[0].right
    for word in words[1:]:
        if word.left - end > SPACE * line.size:
            yield start, end
            start = word.left
        end = word.right
    yield start, end


def _bin(place: float, width: float) -> int:
    return min(max(int(place / width), 0), BINS - 1)


def _written_across(placed: Sequence[Placed], gutter: float) -> bool:
    """Whether prose stands on both sides of it, and the writing went from one to the other again and again."""
    left: list[int] = []
    right: list[int] = []
    changes = side = 0
    for _, words in placed:
        before = 0 if words[0].left >= gutter else _letters([w for w in words if w.right <= gutter])
        behind = 0 if words[-1].right <= gutter else _letters([w for w in words if w.left >= gutter])
        for letters, there, lengths in ((before, -1, left), (behind, 1, right)):
            if letters:
                lengths.append(letters)
            if letters >= MIN_LETTERS:
                changes += side == -there
                side = there
    if min(len(left), len(right)) < MIN_LINES or changes < 2 * MIN_LINES:
        return False
    return min(sorted(left)[len(left) // 2], sorted(right)[len(right) // 2]) >= MIN_LETTERS


def _letters(words: Sequence[Word]) -> int:
    """Of those that are no numbers."""
    return sum([len(word.text) + 1 for word in words if word.text[0].isalpha() or word.text[1:2].isalpha()])


def _column_by_column(placed: Sequence[Placed], gutters: Sequence[float]) -> list[Placed]:
    """From the top; a line across a gutter ends the columns above it."""
    ordered: list[Placed] = []
    columns: list[list[Placed]] = [[] for _ in range(len(gutters) + 1)]
    for line, words in sorted(placed, key=lambda item: -item[0].baseline):
        parts = list(_parts(line, words, gutters))
        across = any(part[0].left < gutter < part[-1].right for _, part in parts for gutter in gutters)
        if line.turn or across:
            ordered += [item for column in columns for item in _in_rows(column)]
            columns = [[] for _ in columns]
            ordered.append((line, words))
            continue
        for column, part in parts:
            columns[column].append((line if part[-1] is words[-1] else line._replace(hyphen=False), part))
    return ordered + [item for column in columns for item in _in_rows(column)]


def _in_rows(column: Sequence[Placed]) -> Iterator[Placed]:
    """What stands on one baseline as one line, from left to right."""
    row: list[Placed] = []
    for item in column:
        if row and row[0][0].baseline - item[0].baseline > SAME_BASELINE * row[0][0].size:
            yield _row(row)
            row = []
        row.append(item)
    if row:
        yield _row(row)


def _row(row: list[Placed]) -> Placed:
    if len(row) == 1:
        return row[0]
    row.sort(key=lambda item: item[1][0].left)
    lines = [line for line, _ in row]
    largest = max(lines, key=lambda line: line.size)
    bold, mono = all(line.bold for line in lines), all(line.mono for line in lines)
    style = largest._replace(bold=bold, mono=mono, hyphen=lines[-1].hyphen)
    return style, [word for _, words in row for word in words]


def _parts(line: Line, words: Sequence[Word], gutters: Sequence[float]) -> Iterator[tuple[int, list[Word]]]:
    """The words of a line by columns, parted where a gap wider than a space is at a gutter."""
    part: list[Word] = []
    column = 0
    for word in words:
        at = bisect_right(gutters, word.left)
        if part and at != column and word.left - part[-1].right > SPACE * line.size:
            yield column, part
            part = []
        column = column if part else at
        part.append(word)
    if part:
        yield column, part
