"""What the command shows of a run while it goes on, on stderr."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final, Self

from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)

from pgfolio.config.terminal import ERR
from pgfolio.flows.run.progress import duration

if TYPE_CHECKING:
    from types import TracebackType


LINE_SECONDS: Final = 10.0
"""Seconds between two lines where there is no terminal."""


class Display:
    """A live line for a run: the stage, a bar over files or over an index, chunks and their rate. Where there is no
    terminal (cron, a container's log), a line of the same every `line_seconds`, so that a short run writes none."""

    def __init__(self, *, visible: bool = True, line_seconds: float = LINE_SECONDS) -> None:
        self._line_seconds = line_seconds if visible and not ERR.is_terminal else 0.0
        self._stopped = threading.Event()
        self._started = time.monotonic()
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            console=ERR,
            transient=True,
            disable=not (visible and ERR.is_terminal),
        )
        self._task = self._progress.add_task("starting", total=None, note="")
        self._chunks = 0
        self._began = 0.0

    def __enter__(self) -> Self:
        self._progress.start()
        if self._line_seconds:
            threading.Thread(target=self._print_lines, name="progress", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._progress.stop()

    def _print_lines(self) -> None:
        while not self._stopped.wait(self._line_seconds):
            ERR.print(escape(self._line()))

    def _line(self) -> str:
        task = self._progress.tasks[0]
        count = "" if task.total is None else f"{task.completed:,.0f} of {task.total:,.0f}"
        parts = [
            part for part in (count, task.fields["note"], duration(time.monotonic() - self._started)) if part
        ]
        return f"{task.description}: {', '.join(parts)}"

    def stage(self, text: str) -> None:
        self._progress.update(self._task, description=text, total=None, completed=0, note="")

    def begin(self, files: int) -> None:
        self._chunks, self._began = 0, time.monotonic()
        self._progress.reset(self._task, description="embedding and storing", total=files, note="")

    def advance(self, files: int, chunks: int) -> None:
        self._chunks += chunks
        rate = self._chunks / max(time.monotonic() - self._began, 1e-3)
        self._progress.update(self._task, advance=files, note=f"{self._chunks:,} chunks, {rate:,.0f}/s")

    def built(self, part: float) -> None:
        """How much of an index is there."""
        self._progress.update(self._task, total=100, completed=int(part * 100), note="% of the vectors")

    def spent(self, tokens: int, cost_usd: float) -> None:
        """What the model server billed until now, beside the rate."""
        rate = self._chunks / max(time.monotonic() - self._began, 1e-3)
        cost = f", ${cost_usd:.4f}" if cost_usd else ""
        self._progress.update(
            self._task, note=f"{self._chunks:,} chunks, {rate:,.0f}/s, {tokens:,} tokens{cost}"
        )
