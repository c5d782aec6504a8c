"""Measures the seconds during which at least one thread was inside a piece of code."""

from __future__ import annotations

import time
from threading import Lock
from typing import Self


class Stopwatch:
    """Entered by several threads; overlapping times count once."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._inside = 0
        self._since = 0.0
        self._seconds = 0.0

    @property
    def seconds(self) -> float:
        with self._lock:
            running = time.monotonic() - self._since if self._inside else 0.0
            return self._seconds + running

    def __enter__(self) -> Self:
        with self._lock:
            if not self._inside:
                self._since = time.monotonic()
            self._inside += 1
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._seconds += time.monotonic() - self._since
