"""What a run says while it goes on, in the log of its page on the Prefect server."""

from __future__ import annotations

import logging
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from prefect.logging import get_run_logger

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgfolio.flows.run.report import Report

OURS: Final = "pgfolio"
LINE_SECONDS: Final = 10.0
"""Seconds between two lines of how far a stage is."""

MAX_NAMED_PROBLEMS: Final = 20
"""Problems in the log; the artifact has the others."""

RunLog = logging.Logger | logging.LoggerAdapter[logging.Logger]


class _Forwarding(logging.Handler):
    """Passes our loggers' records on to the run's. Unlike Prefect's own `extra_loggers` also from threads, which know
    of no flow run."""

    def __init__(self, run_log: RunLog) -> None:
        super().__init__(logging.INFO)
        self._run_log = run_log

    def emit(self, record: logging.LogRecord) -> None:
        self._run_log.log(record.levelno, "%s", record.getMessage())


@contextmanager
def logged_to_run() -> Iterator[RunLog]:
    """The run's log; inside, it also has what our loggers say."""
    run_log: RunLog = get_run_logger()
    ours = logging.getLogger(OURS)
    handler, level = _Forwarding(run_log), ours.level
    ours.addHandler(handler)
    ours.setLevel(logging.INFO)
    try:
        yield run_log
    finally:
        ours.setLevel(level)
        ours.removeHandler(handler)


class StageLog:
    """One line for each stage, and one now and then for how far it is."""

    def __init__(self, run_log: RunLog) -> None:
        self._run_log = run_log
        self._stage = ""
        self._said_at = 0.0
        self._files = self._done = self._chunks = 0
        self._spent = ""

    def stage(self, text: str) -> None:
        """A stage that only counts on is the same one: `comparing: 500 of 9,000`."""
        beginning = text.partition(":")[0]
        if beginning != self._stage or self._is_time():
            self._say(text)
        self._stage = beginning

    def begin(self, files: int) -> None:
        self._files, self._done, self._chunks = files, 0, 0
        self._say(f"embedding and storing {files:,} files")

    def advance(self, files: int, chunks: int) -> None:
        self._done += files
        self._chunks += chunks
        if self._is_time() and self._done < self._files:
            self._say(f"{self._done:,} of {self._files:,} files, {self._chunks:,} chunks{self._spent}")

    def spent(self, tokens: int, cost_usd: float) -> None:
        self._spent = f", {tokens:,} tokens, ${cost_usd:.4f}"

    def built(self, part: float) -> None:
        if self._is_time():
            self._say(f"{self._stage}: {part:.0%}")

    def _is_time(self) -> bool:
        return time.monotonic() - self._said_at >= LINE_SECONDS

    def _say(self, text: str) -> None:
        self._said_at = time.monotonic()
        self._run_log.info("%s", text)


def log_report(run_log: RunLog, report: Report, summary: str) -> None:
    """What came of the run, and what could not be done."""
    chunks = report.chunks
    run_log.info("%s", summary)
    run_log.info(
        "%s chunks: %s embedded, %s reused; %s tokens, $%.4f; %.2f s",
        *(f"{count:,}" for count in (chunks.total, chunks.embedded, chunks.reused, report.tokens)),
        report.cost_usd,
        report.seconds["total"],
    )
    for note in report.notes:
        run_log.info("%s", note)
    for problem in report.problems[:MAX_NAMED_PROBLEMS]:
        run_log.warning("%s: %s: %s", problem.path, problem.stage, problem.reason)
    if len(report.problems) > MAX_NAMED_PROBLEMS:
        run_log.warning("and %s more: see the artifact", f"{len(report.problems) - MAX_NAMED_PROBLEMS:,}")
