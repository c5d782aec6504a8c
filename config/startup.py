"""The first second of a command, before its imports, which take most of it. Imports next to nothing itself."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

INTERRUPTED = 130


def begin() -> None:
    """Ctrl-C ends it at once: nothing is under way yet. Standard streams that the caller closed are open, to nowhere:
    else the next file that is opened, a database's socket, would be one of them."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
    sys.stdin = sys.stdin or os.fdopen(0, closefd=False)
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)
    signal.signal(signal.SIGINT, _leave)


def _leave(number: int, frame: FrameType | None) -> None:
    del number, frame
    os.write(2, b"error: interrupted; nothing was begun\n")
    os._exit(INTERRUPTED)
