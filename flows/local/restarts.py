"""When a program that ended is started again: after pauses that grow while it ends again soon."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

PAUSE_SECONDS: Final = (1.0, 60.0)
"""At first, and at most."""

STEADY_SECONDS: Final = 300.0
"""Of a program that ran so long the next pause is the first again."""


@dataclass
class Restarts:
    """Of one program."""

    _pause: float = PAUSE_SECONDS[0]
    _began: float = 0.0
    _next: float | None = None

    def ended(self, now: float | None = None) -> float:
        """The seconds until it is to be started again."""
        now = time.monotonic() if now is None else now
        pause = PAUSE_SECONDS[0] if now - self._began > STEADY_SECONDS else self._pause
        self._next, self._pause = now + pause, min(pause * 2, PAUSE_SECONDS[1])
        return pause

    def due(self, now: float | None = None) -> bool:
        """Whether it is to be started now; said once."""
        now = time.monotonic() if now is None else now
        if self._next is None or now < self._next:
            return False
        self._next, self._began = None, now
        return True
