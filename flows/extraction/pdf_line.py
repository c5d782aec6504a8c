"""A line of a PDF's page. Coordinates, in points, are turned so that text runs to the right and lines follow
downwards, whatever the direction it is written in. Pure."""

from __future__ import annotations

from typing import NamedTuple


class Word(NamedTuple):
    left: float
    right: float
    text: str


class Line(NamedTuple):
    """`baseline` falls from line to line; `turn` is its direction in quarters of a circle; `hyphen`: its last word
    goes on in the next line. `cells`: the parts between wide gaps, where there are any."""

    text: str
    left: float = 0
    right: float = 0
    baseline: float = 0
    size: float = 0
    bold: bool = False
    mono: bool = False
    turn: int = 0
    hyphen: bool = False
    cells: tuple[Word, ...] = ()


class Page(NamedTuple):
    """Its lines in reading order, and its edges as the page itself has them, not turned: left, bottom, right, top."""

    lines: list[Line]
    box: tuple[float, float, float, float] = (0, 0, 0, 0)


Placed = tuple[Line, list[Word]]
"""A line's place and style, with its words."""
