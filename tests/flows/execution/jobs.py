"""A job that is done in other processes: numbers are squared, and some end or fail whoever works on them."""

from __future__ import annotations

import os
import signal
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pgfolio.config.models.protocols import FatalModelError

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class Squares:
    """Items are lists of numbers. `deadly`: by number how often it ends its worker, counted in files of `folder`."""

    folder: str
    deadly: tuple[tuple[int, int], ...] = ()
    wrong: int | None = None
    seconds: float = 0.0
    bytes_each: int = 1
    slots: int = 1

    @contextmanager
    def open(self) -> Iterator[OpenSquares]:
        yield OpenSquares(self)

    def weight(self, item: list[int]) -> int:
        return self.bytes_each * len(item)

    def parts(self, item: list[int]) -> list[list[int]]:
        return [[number] for number in item] if len(item) > 1 else []

    def give_up(self, item: list[int]) -> list[int]:
        return [-number for number in item]


class OpenSquares:
    def __init__(self, job: Squares) -> None:
        self._job = job

    def __call__(self, item: list[int]) -> list[int]:
        folder = Path(self._job.folder)
        note = folder / f"{os.getpid()}-{min(item)}"
        note.touch()
        time.sleep(self._job.seconds)
        for number in item:
            if number == self._job.wrong:
                raise FatalModelError("the key is wrong")
            if len(list(folder.glob(f"dead-{number}-*"))) < dict(self._job.deadly).get(number, 0):
                (folder / f"dead-{number}-{time.time_ns()}").touch()
                os.kill(os.getpid(), signal.SIGKILL)
        note.rename(note.with_suffix(".done"))
        return [number * number for number in item]

    def stop(self) -> None: ...
