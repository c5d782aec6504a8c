"""A run's progress on a Prefect server: lines of its log and progress artifacts, beside the command's display."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from prefect.artifacts import create_progress_artifact, update_progress_artifact

from pgfolio.flows.orchestration.run_log import StageLog
from pgfolio.flows.run.progress import NullProgress, Progress, ShowsBuild, ShowsSpending

if TYPE_CHECKING:
    from uuid import UUID

    from pgfolio.flows.orchestration.run_log import RunLog

UPDATE_SECONDS: Final = 2.0
"""Seconds between two updates of an artifact: each is a request."""


class ProgressBar:
    """A progress artifact, made when it is first moved and updated now and then."""

    def __init__(self, key: str, description: str) -> None:
        self._key = key
        self._description = description
        self._artifact: UUID | None = None
        self._moved_at = 0.0

    def move(self, part: float) -> None:
        """To a part from 0 to 1."""
        percent = round(part * 100, 1)
        if self._artifact is None:
            made: Any = create_progress_artifact(percent, key=self._key, description=self._description)
            self._artifact = made
        elif part >= 1 or time.monotonic() - self._moved_at >= UPDATE_SECONDS:
            update_progress_artifact(self._artifact, percent)
        else:
            return
        self._moved_at = time.monotonic()


class PrefectProgress:
    """Passed on to the command's display, if there is one; to the run's log; and, of files and of the build of an
    index, to progress artifacts."""

    def __init__(self, name: str, run_log: RunLog, display: Progress | None) -> None:
        self._name = name
        self._log = StageLog(run_log)
        self._display = display or NullProgress()
        self._stage = ""
        self._files = self._done = 0
        self._file_bar: ProgressBar | None = None
        self._build_bar: ProgressBar | None = None

    def stage(self, text: str) -> None:
        if text != self._stage:
            self._stage, self._build_bar = text, None
        self._display.stage(text)
        self._log.stage(text)

    def begin(self, files: int) -> None:
        self._files, self._done = files, 0
        self._file_bar = ProgressBar(f"{self._name}-files", f"{files:,} files to embed and store")
        self._display.begin(files)
        self._log.begin(files)

    def advance(self, files: int, chunks: int) -> None:
        self._display.advance(files, chunks)
        self._log.advance(files, chunks)
        self._done += files
        if self._file_bar is not None and self._files:
            self._file_bar.move(min(self._done / self._files, 1.0))

    def spent(self, tokens: int, cost_usd: float) -> None:
        self._log.spent(tokens, cost_usd)
        if isinstance(self._display, ShowsSpending):
            self._display.spent(tokens, cost_usd)

    def built(self, part: float) -> None:
        if isinstance(self._display, ShowsBuild):
            self._display.built(part)
        self._log.built(part)
        if self._build_bar is None:
            self._build_bar = ProgressBar(f"{self._name}-index", self._stage)
        self._build_bar.move(part)
