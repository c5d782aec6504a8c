"""What a process that reads a file may take of the machine: in that process, and how its death is told."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

MEGABYTE: Final = 1024 * 1024
OUT_OF_MEMORY: Final = "out of memory"
EXIT_OUT_OF_MEMORY: Final = 77
WATCH_SECONDS: Final = 0.05 if sys.platform == "linux" else 0.5
"""Between two looks at the memory where the kernel keeps no limit, and at what its limit does not count."""


def prepare_process() -> None:
    """Ctrl-C is for the run to handle; what a parser writes as it dies is nobody's; no core of it is kept; and when
    the machine's memory ends the kernel takes it first."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


@contextmanager
def bounded_memory(limit_bytes: int) -> Iterator[None]:
    """Within it the process takes at most so many bytes more than it has, by the kernel's limit of its data
    (setrlimit(2), RLIMIT_DATA: Linux counts every private mapping that is written to), and by a look at what it has
    resident every now and then. Outside it has no limit, so that files reach it and results leave it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = _data_bytes() + limit_bytes if sys.platform == "linux" else soft
    resource.setrlimit(resource.RLIMIT_DATA, (limit if hard < 0 else min(limit, hard), hard))
    done = threading.Event()
    watch = threading.Thread(target=_watch, args=(resident_bytes() + limit_bytes, done), daemon=True)
    watch.start()
    try:
        yield
    finally:
        done.set()
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _watch(limit_bytes: int, done: threading.Event) -> None:
    while not done.wait(WATCH_SECONDS):
        if resident_bytes() > limit_bytes:
            os._exit(EXIT_OUT_OF_MEMORY)


def _data_bytes() -> int:
    return _statm(5)


def resident_bytes() -> int:
    if sys.platform == "linux":
        return _statm(1)
    output = subprocess.run(["ps", "-o", "rss=", "-p", str(os.getpid())], capture_output=True, check=False)
    return int(output.stdout or 0) * 1024


def _statm(field: int) -> int:
    """proc_pid_statm(5), in pages: 1 is what is resident, 5 is data and stack."""
    return int(Path("/proc/self/statm").read_text().split()[field]) * resource.getpagesize()


def too_much(memory: int) -> str:
    return f"its parser needs more than {memory // MEGABYTE} MB of memory"


def cause_of_death(exit_code: int, memory: int) -> str:
    """A library that gets no memory aborts (SIGABRT), as one does that finds itself broken."""
    if exit_code == EXIT_OUT_OF_MEMORY:
        return too_much(memory)
    if exit_code == -signal.SIGABRT:
        return f"its parser gave up: it is broken, or needs more than {memory // MEGABYTE} MB of memory"
    return f"its parser crashed (exit code {exit_code})"
