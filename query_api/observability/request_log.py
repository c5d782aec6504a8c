"""One line a request on stderr: counts and identifiers, never a key, a question or a document.

Lines are written by a thread of their own, many at once: a terminal that is stopped or a pipe that nobody reads must
not stop the server. Those that find no room are counted, and the count is logged.
"""

from __future__ import annotations

import sys
import threading
import traceback
from collections import deque
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    from typing import TextIO

    from pgfolio.config.settings import LogFormat

MAX_WAITING_LINES: Final = 10_000
"""Lines that may wait."""

WRITE_SECONDS: Final = 0.1
"""Seconds between two writes."""

ROOT: Final = Path(__file__).resolve().parents[2]


class RequestLog:
    """`off` still reports faults of the server."""

    # Not logging's QueueHandler and QueueListener: a full queue needs its own handling there to count what is lost,
    # QueueListener.stop() waits without an end for a stream that nobody reads, each line is a write of its own and
    # wakes the thread, and a record takes a request 0.1 ms where an append takes 0.4 us.

    def __init__(self, form: LogFormat, stream: TextIO | None = None) -> None:
        self._form = form
        self._stream = stream or sys.stderr
        self._waiting: deque[dict[str, Any]] = deque(maxlen=MAX_WAITING_LINES)
        self._lost = 0
        self._ended = threading.Event()
        self._writer = threading.Thread(target=self._write_on, name="request-log", daemon=True)
        self._writer.start()

    def add(self, **line: Any) -> None:
        if self._form == "off" and "fault" not in line:
            return
        if len(self._waiting) == MAX_WAITING_LINES:
            self._lost += 1
        self._waiting.append({"time": datetime.now(UTC).isoformat(timespec="milliseconds"), **line})

    def close(self) -> None:
        """Writes what waits, if that takes no longer than a second."""
        self._ended.set()
        self._writer.join(1.0)

    def _write_on(self) -> None:
        while not self._ended.wait(WRITE_SECONDS):
            self._write()
        self._write()

    def _write(self) -> None:
        lines = [self._waiting.popleft() for _ in range(len(self._waiting))]
        if self._lost:
            lines.append({"lost_log_lines": self._lost})
            self._lost = 0
        if lines:
            try:
                self._stream.write("".join(self._formatted(line) + "\n" for line in lines))
                self._stream.flush()
            except Exception:  # noqa: BLE001 -- nobody reads it any more, or it cannot be written: the thread goes on
                self._waiting.clear()

    def _formatted(self, line: dict[str, Any]) -> str:
        if self._form == "json":
            return msgspec.json.encode(line).decode()
        return " ".join(f"{name}={value}" for name, value in line.items())


def fault_of(error: BaseException) -> str:
    """What an error is and where it came up. Not its message, which may hold a question or a document."""
    state = getattr(error, "sqlstate", None)
    kind = f"{type(error).__module__}.{type(error).__qualname__}" + (f" {state}" if state else "")
    frames = traceback.extract_tb(error.__traceback__)[-12:]
    return f"{kind} at " + " < ".join(
        f"{_short(frame.filename)}:{frame.lineno} {frame.name}" for frame in reversed(frames)
    )


def _short(name: str) -> str:
    path = Path(name)
    if path.is_relative_to(ROOT):
        return str(path.relative_to(ROOT))
    return "/".join(path.parts[-2:])
