"""Extracts in processes of their own what a parser must read: one that crashes or never ends costs its file, not
the run. Plain text is read here."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from multiprocessing import get_context
from typing import TYPE_CHECKING

from pgfolio.flows.extraction import formats
from pgfolio.flows.extraction.extract import extract
from pgfolio.flows.extraction.extracted import Extracted, Unextractable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pebble import ProcessPool

PROCESSES = 2
MAX_FILES_PER_PROCESS = 500
"""After so many a fresh one is started: parsers leak."""

Outcome = Extracted | tuple[str, bool]


class ExtractionWorkers:
    """Safe to use from several threads; the processes start with the first file that needs one."""

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._pool: ProcessPool | None = None

    def extract(self, path: str, data: bytes) -> Extracted:
        """As `extract.extract`. Raises Unextractable also when the parser dies or takes too long."""
        if formats.is_text(path, data):
            return extract(path, data)
        from pebble import ProcessExpired  # noqa: PLC0415 -- only where there is more than text

        future = self._started().schedule(_attempt, args=(path, data), timeout=self._timeout)
        try:
            outcome: Outcome = future.result()
        except TimeoutError as error:
            reason = f"its parser did not end within {self._timeout:g} s (crawl.extract_timeout)"
            raise Unextractable(reason, transient=True) from error
        except ProcessExpired as error:
            reason = f"its parser crashed (exit code {error.exitcode})"
            raise Unextractable(reason, transient=True) from error
        if isinstance(outcome, tuple):
            raise Unextractable(outcome[0], transient=outcome[1])
        return outcome

    def _started(self) -> ProcessPool:
        if self._pool is None:
            from pebble import ProcessPool  # noqa: PLC0415 -- see extract

            # Not forked: threads of ours may hold locks at that moment.
            self._pool = ProcessPool(
                PROCESSES,
                max_tasks=MAX_FILES_PER_PROCESS,
                initializer=_ignore_interrupts,
                context=get_context("spawn"),
            )
        return self._pool

    def close(self) -> None:
        if self._pool is not None:
            self._pool.stop()  # type: ignore[no-untyped-call]
            self._pool.join()


@contextmanager
def extraction_workers(timeout: float) -> Iterator[Callable[[str, bytes], Extracted]]:
    """The extraction of one run."""
    workers = ExtractionWorkers(timeout)
    try:
        yield workers.extract
    finally:
        workers.close()


def _attempt(path: str, data: bytes) -> Outcome:
    """In the process: an exception's attributes would not survive the way back."""
    try:
        return extract(path, data)
    except Unextractable as error:
        return str(error), error.transient


def _ignore_interrupts() -> None:
    """Ctrl-C is for the run to handle."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
