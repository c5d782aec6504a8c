"""Recall over ef_search as a picture: an SVG in a data URL, since a Prefect server keeps no files."""

from __future__ import annotations

import math
from base64 import b64encode
from dataclasses import astuple
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pgfolio.flows.index.tuning import Tuning
    from pgfolio.schema.vectors.tuning import Measurement

WIDTH, HEIGHT = 760, 400
LEFT, RIGHT, TOP, BOTTOM = 64, 736, 40, 340
COLOURS: Final = ("#1d4ed8", "#b45309", "#047857", "#7e22ce", "#be123c")
"""On white at least 4.5 to 1."""


def recall_picture(tuning: Tuning) -> str:
    """A data URL. One line for each pair of parameters that was measured, the target dashed, the choice ringed."""
    measured = sorted(tuning.measured, key=lambda one: (astuple(one.parameters), one.ef_search))
    axes = _Axes(measured, tuning.target)
    lines = [
        part
        for number, (_, line) in enumerate(groupby(measured, attrgetter("parameters")))
        for part in _line(axes, list(line), COLOURS[number % len(COLOURS)], 24 + 16 * number, tuning)
    ]
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        'font-family="sans-serif" font-size="12">'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>{"".join((*axes.drawn(), *lines))}</svg>'
    )
    return f"data:image/svg+xml;base64,{b64encode(svg.encode()).decode()}"


class _Axes:
    """ef_search on a logarithmic axis, recall@10 on a linear one that begins below the lowest."""

    def __init__(self, measured: Sequence[Measurement], target: float) -> None:
        self._ef_searches = sorted({one.ef_search for one in measured})
        self._target = target
        self._low = math.floor(10 * min(target, *(one.recall for one in measured), 0.9)) / 10
        first, last = math.log(self._ef_searches[0]), math.log(self._ef_searches[-1])
        self._start, self._span = first, (last - first) or 1.0

    def x(self, ef_search: int) -> float:
        return round(LEFT + (math.log(ef_search) - self._start) / self._span * (RIGHT - LEFT), 1)

    def y(self, recall: float) -> float:
        return round(BOTTOM - (recall - self._low) / (1.0 - self._low) * (BOTTOM - TOP), 1)

    def drawn(self) -> Iterator[str]:
        for step in range(6):
            recall = self._low + (1.0 - self._low) * step / 5
            height = self.y(recall)
            yield f'<path d="M{LEFT} {height}H{RIGHT}" stroke="#d1d5db"/>'
            yield f'<text x="{LEFT - 8}" y="{height + 4}" text-anchor="end" fill="#374151">{recall:.2f}</text>'
        written = -math.inf
        for ef_search in self._ef_searches:
            if self.x(ef_search) - written >= 28:
                written = self.x(ef_search)
                yield f'<text x="{written}" y="358" text-anchor="middle" fill="#374151">{ef_search}</text>'
        target = self.y(self._target)
        yield f'<path d="M{LEFT} {target}H{RIGHT}" stroke="#111827" stroke-dasharray="6 4"/>'
        yield f'<text x="{LEFT + 8}" y="{target - 6}" fill="#111827">target {self._target:g}</text>'
        yield f'<text x="{(LEFT + RIGHT) / 2}" y="384" text-anchor="middle" fill="#374151">ef_search</text>'
        yield f'<text x="8" y="{TOP - 18}" fill="#374151">recall@10</text>'


def _line(
    axes: _Axes, line: Sequence[Measurement], colour: str, legend_y: int, tuning: Tuning
) -> Iterator[str]:
    points = [(axes.x(one.ef_search), axes.y(one.recall)) for one in line]
    yield f'<path d="M{"L".join(f"{x} {y}" for x, y in points)}" fill="none" stroke="{colour}" stroke-width="2"/>'
    for (x, y), one in zip(points, line, strict=True):
        yield (
            f'<circle cx="{x}" cy="{y}" r="3.5" fill="{colour}"><title>ef_search {one.ef_search}: {one.recall:.4f}, '
            f"{one.p50_ms:.2f} ms</title></circle>"
        )
        if one.parameters == tuning.parameters and one.ef_search == tuning.ef_search and not one.sampled:
            yield f'<circle cx="{x}" cy="{y}" r="8" fill="none" stroke="{colour}" stroke-width="2"/>'
    parameters = line[0].parameters
    sample = f", {line[0].vectors:,} of the vectors" if line[0].sampled else ""
    yield (
        f'<text x="{LEFT + 96}" y="{legend_y - 8}" fill="{colour}">m {parameters.m}, ef_construction '
        f"{parameters.ef_construction}{sample}</text>"
    )
