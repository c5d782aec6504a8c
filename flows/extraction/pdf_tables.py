"""Decides: which lines of a page are the rows of a table. Pure."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgfolio.flows.extraction.pdf_line import Line, Word

MIN_ROWS = 3
MAX_CELLS = 50
"""In a row."""
MIN_ALIGNED = 0.7
"""Of a column's cells stand below each other, by their left or right edges or their middles."""
MIN_FILLED = 0.5
MAX_LETTERS = 60
"""Of the middle one of a table's cells: longer ones are prose."""
MAX_ROW_GAP = 3.5
"""Of the font's size, from baseline to baseline."""


def tables(lines: Sequence[Line]) -> dict[int, tuple[int, list[list[str]]]]:
    """By the line that a table begins with, where it ends and its rows. A line or two may stand above it as titles of
    its columns, in cells of their own."""
    places: dict[int, tuple[int, list[list[str]]]] = {}
    start = 0
    while start < len(lines):
        end = start + 1
        if _is_row(lines[start]):
            while end < len(lines) and _is_row(lines[end]) and _below(lines[end - 1], lines[end]):
                end += 1
            for first in range(start, min(start + MIN_ROWS, end - MIN_ROWS + 1)):
                if rows := _rows(lines[first:end]):
                    places[first] = end, rows
                    break
        start = end
    return places


def _is_row(line: Line) -> bool:
    return 0 < len(line.cells) <= MAX_CELLS and not line.mono


def _below(upper: Line, lower: Line) -> bool:
    gap = upper.baseline - lower.baseline
    return upper.turn == lower.turn and 0 < gap <= MAX_ROW_GAP * max(upper.size, lower.size)


def _rows(lines: Sequence[Line]) -> list[list[str]] | None:
    columns = _columns(lines)
    if len(columns) < 2:
        return None
    rows = [[""] * len(columns) for _ in lines]
    members: list[list[Word]] = [[] for _ in columns]
    for row, line in zip(rows, lines, strict=True):
        for cell in line.cells:
            column = _column(cell, columns)
            row[column] = f"{row[column]} {cell.text}".strip()
            members[column].append(cell)
    filled = sum(bool(text) for row in rows for text in row)
    lengths = sorted(len(text) for row in rows for text in row if text)
    if filled < MIN_FILLED * len(rows) * len(columns) or lengths[len(lengths) // 2] > MAX_LETTERS:
        return None
    size = lines[0].size
    return rows if all(_aligned(cells, size) for cells in members) else None


def _columns(lines: Sequence[Line]) -> list[tuple[float, float]]:
    """From left to right, of the rows that have as many cells as most; what lies over each other is one column."""
    counts = sorted(len(line.cells) for line in lines)
    usual = counts[len(counts) // 2]
    spans = sorted(
        (cell.left, cell.right) for line in lines if len(line.cells) >= usual for cell in line.cells
    )
    columns = [spans[0]]
    for left, right in spans[1:]:
        if left <= columns[-1][1]:
            columns[-1] = columns[-1][0], max(columns[-1][1], right)
        else:
            columns.append((left, right))
    return columns


def _column(cell: Word, columns: Sequence[tuple[float, float]]) -> int:
    """The one it stands most above or below, else the next one."""
    overlaps = [min(cell.right, right) - max(cell.left, left) for left, right in columns]
    return max(range(len(columns)), key=lambda index: (overlaps[index], -index))


def _aligned(cells: Sequence[Word], size: float) -> bool:
    edges = (
        [cell.left for cell in cells],
        [cell.right for cell in cells],
        [(cell.left + cell.right) / 2 for cell in cells],
    )
    return any(_aligned_share(sorted(places), size * 0.6) >= MIN_ALIGNED for places in edges)


def _aligned_share(places: list[float], tolerance: float) -> float:
    """Of those that stand near each other, in the fullest group, indented ones beside it counted as well."""
    if not places:
        return 0.0
    groups = [1]
    for before, place in pairwise(places):
        if place - before <= tolerance:
            groups[-1] += 1
        else:
            groups.append(1)
    return sum(sorted(groups)[-2:]) / len(places) if len(places) > 4 else max(groups) / len(places)


def markdown(rows: Sequence[Sequence[str]]) -> str:
    cells = [[text.replace("|", "\\|") for text in row] for row in rows]
    lines = [f"| {' | '.join(row)} |" for row in cells]
    return "\n".join([lines[0], "|" + " --- |" * len(rows[0]), *lines[1:]])
