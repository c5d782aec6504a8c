"""How far the move in the background is: in the database, for whoever asks, and now and then in a line."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from pgfolio.flows.run.progress import duration
from pgfolio.schema.database.connect import connect
from pgfolio.schema.vectors import generations, upgrades

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgfolio.schema.records import Space

LINE_SECONDS: Final = (5.0, 60.0)
"""Seconds until the first line, and between two of them later."""

RECORD_SECONDS: Final = 2.0
"""Seconds between two records of how fast it goes."""


class UpgradeProgress:
    """Of one space. Nothing is counted anew while it goes on: a text is taken for a chunk until the next round."""

    def __init__(self, conninfo: str, target: Space, say: Callable[[str], None]) -> None:
        self._conninfo = conninfo
        self._target = target
        self._say = say
        self._stages: set[str] = set()
        self._done = self._total = self._texts = 0
        self._began = self._recorded = time.monotonic()
        self._line_at = self._began + LINE_SECONDS[0]

    def stage(self, text: str) -> None:
        if self._stages and text not in self._stages:
            self._say(f"{self._target.name}: {text}")
        self._stages.add(text)

    def begin(self, files: int) -> None:
        """A round of so many texts."""
        with connect(self._conninfo) as connection:
            self._done = upgrades.filled(connection, self._target)
            self._total = generations.count_chunks(connection)
        self._texts, self._began = 0, time.monotonic()
        if files and self._line_at - self._began > LINE_SECONDS[0]:
            self._line_at = self._began + LINE_SECONDS[0]

    def advance(self, files: int, chunks: int) -> None:
        del chunks
        self._texts += files
        now = time.monotonic()
        speed = self._texts / max(now - self._began, 0.001)
        if now - self._recorded > RECORD_SECONDS:
            self._recorded = now
            with connect(self._conninfo) as connection:
                upgrades.record_speed(connection, self._target, speed)
        if now > self._line_at:
            self._line_at = now + LINE_SECONDS[1]
            done = min(self._done + self._texts, self._total)
            left = duration((self._total - done) / speed)
            self._say(f"{self._target.name}: {done:,} of {self._total:,} chunks, about {left} left")
