"""A measurement and its floors, taken in turn so that a busy machine slows them alike."""

from __future__ import annotations

import gc
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@dataclass(frozen=True, slots=True)
class Line:
    """Medians, in seconds; `ratio` is the median of the ratios of neighbouring runs."""

    name: str
    floor: str
    seconds: float
    floor_seconds: float
    ratio: float
    lowest: float
    highest: float


def compare(
    name: str, ours: Callable[[], float], floors: Mapping[str, Callable[[], float]], repeat: int
) -> list[Line]:
    """A line for each floor. Every callable prepares what it needs and returns the seconds that count; the first
    round warms up and does not count."""
    measured: list[float] = []
    floored: dict[str, list[float]] = {floor: [] for floor in floors}
    for number in range(repeat + 1):
        gc.collect()  # nobody is to pay for the garbage of the one before
        took = ours()
        beside = {}
        for floor, run in floors.items():
            gc.collect()
            beside[floor] = run()
        if number:
            measured.append(took)
            for floor, seconds in beside.items():
                floored[floor].append(seconds)
    return [_line(name, floor, measured, seconds) for floor, seconds in floored.items()]


def _line(name: str, floor: str, ours: list[float], floors: list[float]) -> Line:
    ratios = [a / b for a, b in zip(ours, floors, strict=True)]
    return Line(name, floor, median(ours), median(floors), median(ratios), min(ratios), max(ratios))
