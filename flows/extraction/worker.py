"""Runs what reads bytes that others wrote in processes of their own: one that crashes, never ends or takes too much
memory costs its file, not the run."""

from __future__ import annotations

from concurrent.futures import CancelledError, wait
from multiprocessing import current_process, get_context
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar, cast

from pgfolio.config import process_limits as limits
from pgfolio.config.process_limits import MEGABYTE
from pgfolio.flows.extraction import ocr
from pgfolio.flows.extraction.extracted import NothingToRead, Unextractable

if TYPE_CHECKING:
    from collections.abc import Callable

    from pebble import ProcessPool

PROCESSES: Final = 2
MAX_FILES_PER_PROCESS: Final = 500
"""After so many a fresh one is started: parsers leak."""

LARGE_BYTES: Final = 32 * MEGABYTE
"""A file of so many bytes is read with no other beside it, and may take more memory."""

MEMORY_BYTES: Final = 448 * MEGABYTE
"""Of one process for one file, beside the 80 MB that it begins with: two of them and the sync are below 1.5 GB."""

MEMORY_BYTES_LARGE: Final = 640 * MEGABYTE
"""For a large file, beside its bytes: text takes ten times as many while it is cut into chunks."""

LOOK_SECONDS: Final = 0.5
"""Between two looks whether there is still somebody to wait for."""

Result = TypeVar("Result")


class Fatality(Unextractable):
    """The process that read the file died of it, or had to be killed. As it may have been the machine's fault it is
    tried again, a few times."""

    def __init__(self, message: str) -> None:
        super().__init__(message, transient=True)


class Workers:
    """Safe to use from several threads; the processes start with the first file that needs one."""

    def __init__(self, timeout: float, processes: int = PROCESSES) -> None:
        self._timeout = timeout
        self._processes = processes
        self._pool: ProcessPool | None = None
        self._stopped = False
        self._lock = Lock()

    def run(self, function: Callable[..., Result], *args: object, size: int) -> Result:
        """What a module's function makes of a file of `size` bytes. Raises Unextractable, Fatality when the process
        dies, takes too long or too much memory."""
        from pebble import ProcessExpired  # noqa: PLC0415 -- only where it is needed

        memory = (MEMORY_BYTES if size < LARGE_BYTES else MEMORY_BYTES_LARGE) + ocr.memory_bytes()
        future = self._started().schedule(_attempt, args=(function, args, memory), timeout=self._timeout)
        while future not in wait([future], LOOK_SECONDS).done:
            if self._stopped:  # the pool forgets what it stops as it begins
                raise CancelledError
        try:
            outcome: _Outcome = future.result()
        except TimeoutError as error:
            reason = f"its parser did not end within {self._timeout:g} s (crawl.extract_timeout)"
            raise Fatality(reason) from error
        except ProcessExpired as error:
            raise Fatality(limits.cause_of_death(error.exitcode, memory)) from error
        if outcome.reason == limits.OUT_OF_MEMORY:
            raise Fatality(limits.too_much(memory))
        if outcome.reason:
            kind = NothingToRead if outcome.nothing else Unextractable
            raise kind(outcome.reason, transient=outcome.transient)
        return cast("Result", outcome.result)

    def _started(self) -> ProcessPool:
        with self._lock:
            if self._pool is None:
                from pebble import ProcessPool  # noqa: PLC0415 -- see run

                # A worker of Dask may have no children, so that it leaves none behind: these end with their pipe.
                current_process()._config.pop("daemon", None)  # type: ignore[attr-defined] # noqa: SLF001
                # Not forked: threads of ours may hold locks at that moment.
                self._pool = ProcessPool(
                    self._processes,
                    max_tasks=MAX_FILES_PER_PROCESS,
                    initializer=limits.prepare_process,
                    context=get_context("spawn"),
                )
            return self._pool

    def stop(self) -> None:
        """At once: whoever waits for a result gets an error that is no Unextractable."""
        self._stopped = True
        with self._lock:
            if self._pool is not None:
                self._pool.stop()  # type: ignore[no-untyped-call]
                self._pool.join()


class _Outcome(NamedTuple):
    """The result, or why there is none: an exception's attributes would not survive the way back."""

    result: Any
    reason: str = ""
    transient: bool = False
    nothing: bool = False


def _attempt(function: Callable[..., Any], args: tuple[object, ...], memory: int) -> _Outcome:
    """In the process."""
    try:
        with limits.bounded_memory(memory):
            return _Outcome(function(*args))
    except MemoryError:
        return _Outcome(None, limits.OUT_OF_MEMORY, transient=True)
    except Unextractable as error:
        memory_error = isinstance(error.__cause__, MemoryError)
        reason = limits.OUT_OF_MEMORY if memory_error else str(error)
        return _Outcome(None, reason, error.transient, nothing=isinstance(error, NothingToRead))
