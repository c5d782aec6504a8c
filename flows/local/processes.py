"""Everything on one machine: the API, a first sync, and a Prefect server with the schedule, each as a process.

Processes are started and stopped here; what they do stands elsewhere.
"""

from __future__ import annotations

import ctypes
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, NamedTuple

from pgfolio.config.environment import child_environment
from pgfolio.flows.local.network import ChildError, answers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

START_TIMEOUT = 90.0
STOP_TIMEOUT = 10.0


class EndedChild(NamedTuple):
    """A program that is not there any more."""

    code: int
    sentence: str


@dataclass
class Children:
    """Programs that live as long as we do; the last one started is the first one stopped."""

    logs: Path
    _starts: dict[str, tuple[tuple[str, ...], dict[str, str] | None, bool]] = field(default_factory=dict)
    _running: list[tuple[str, subprocess.Popen[bytes]]] = field(default_factory=list)
    _ended: dict[str, EndedChild] = field(default_factory=dict)

    def start(
        self, name: str, *arguments: str, environment: dict[str, str] | None = None, own_output: bool = False
    ) -> None:
        """A Python module as a process. Its output goes to a log of its own unless it is the terminal's."""
        output: IO[bytes] | None = None if own_output else (self.logs / f"{name}.log").open("ab")
        child = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            env=child_environment(**environment or {}),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # the terminal's Ctrl-C is for us: we stop them in order
            preexec_fn=_end_with_parent,  # noqa: PLW1509 -- a call of one C function, no threads involved
        )
        self._running.append((name, child))
        self._starts[name] = arguments, environment, own_output

    def start_again(self, name: str) -> None:
        """As it was started."""
        arguments, environment, own_output = self._starts[name]
        self.start(name, *arguments, environment=environment, own_output=own_output)

    def ended(self) -> dict[str, EndedChild]:
        """Those that have ended since the last call, by name."""
        ended = self._collect_ended()
        self._ended = {}
        return ended

    def knows(self, name: str) -> bool:
        """Whether it was ever started."""
        return name in self._starts

    def forget(self, name: str) -> None:
        """Stops it, and nobody is told that it ended."""
        for running in [running for running in self._running if running[0] == name]:
            _stop(running[1])
            self._running.remove(running)
        self._ended.pop(name, None)

    def _collect_ended(self) -> dict[str, EndedChild]:
        for name, child in list(self._running):
            if (code := child.poll()) is not None:
                self._running.remove((name, child))
                log = self.logs / f"{name}.log"
                see = f"; see {log}" if log.exists() else ""
                self._ended[name] = EndedChild(code, f"{name} ended with exit code {code}{see}")
        return self._ended

    def wait_for(self, name: str, url: str) -> None:
        """Until the address of that child answers with success. Raises ChildError, also when it has ended."""
        deadline = time.monotonic() + START_TIMEOUT
        while not answers(url):
            if child := self._collect_ended().get(name):
                raise ChildError(child.sentence)
            if time.monotonic() > deadline:
                raise ChildError(f"{name} did not answer at {url} within {START_TIMEOUT:.0f} s")
            time.sleep(0.05)

    def stop(self) -> None:
        for _, child in reversed(self._running):
            _stop(child)
        self._running.clear()


def _stop(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    try:
        child.wait(STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _end_with_parent() -> None:
    """On Linux the kernel stops a child whose parent was killed: it would go on holding its port."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG, prctl(2)


@contextmanager
def children(home: Path) -> Iterator[Children]:
    logs = home / "logs"
    logs.mkdir(parents=True, exist_ok=True, mode=0o700)
    started = Children(logs)
    try:
        yield started
    finally:
        started.stop()
