"""Everything on one machine: the API, a first sync, and a Prefect server with the schedule, each as a process.

Processes are started and stopped here; what they do stands elsewhere.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING

import click

from pgfolio.config.settings import child_environment, prefect_api_url

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
START_TIMEOUT = 90.0
STOP_TIMEOUT = 10.0
QUIET = {"DO_NOT_TRACK": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "PREFECT_LOGGING_LEVEL": "WARNING"}


class ChildError(Exception):
    """A program that `up` started ended, or did not answer in time."""


class Interval(click.ParamType[int]):
    """`90s`, `15m`, `2h`, `1d` as seconds; 0 for never."""

    name = "interval"

    def convert(self, value: str | int, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"(\d{1,9})([smhd]?)", value.strip())
        if not found:
            self.fail(f"{value[:40]!r} is no interval: write 90s, 15m, 2h, 1d, or 0 for never", param, ctx)
        return int(found[1]) * UNITS[found[2] or "s"]


@dataclass
class Children:
    """Programs that live as long as we do; the last one started is the first one stopped."""

    logs: Path
    _running: list[tuple[str, subprocess.Popen[bytes]]] = field(default_factory=list)
    _ended: dict[str, str] = field(default_factory=dict)

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

    def ended(self) -> dict[str, str]:
        """Those that have ended since the last call, by name, each with a sentence."""
        found = self._look()
        self._ended = {}
        return found

    def _look(self) -> dict[str, str]:
        for name, child in list(self._running):
            if (code := child.poll()) is not None:
                self._running.remove((name, child))
                log = self.logs / f"{name}.log"
                self._ended[name] = f"{name} ended with exit code {code}" + (
                    f"; see {log}" if log.exists() else ""
                )
        return self._ended

    def wait_for(self, url: str, what: str) -> None:
        """Until the address answers with success. Raises ChildError, also when any child has ended."""
        deadline = time.monotonic() + START_TIMEOUT
        while not answers(url):
            if ended := self._look():
                raise ChildError("; ".join(ended.values()))
            if time.monotonic() > deadline:
                raise ChildError(f"{what} did not answer at {url} within {START_TIMEOUT:.0f} s")
            time.sleep(0.05)

    def stop(self) -> None:
        for _, child in reversed(self._running):
            child.terminate()
            try:
                child.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        self._running.clear()


def _end_with_parent() -> None:
    """On Linux the kernel stops a child whose parent was killed: it would go on holding its port."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG, prctl(2)


def answers(url: str, timeout: float = 1.0) -> bool:
    """Whether a GET of a local or configured address succeeds."""
    try:
        with urllib.request.urlopen(url, timeout=timeout) as response:  # noqa: S310 -- our own or configured
            return bool(response.status == 200)
    except (OSError, ValueError):
        return False


@contextmanager
def children(home: Path) -> Iterator[Children]:
    logs = home / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    started = Children(logs)
    try:
        yield started
    finally:
        started.stop()


def start_schedule(started: Children, home: Path, every: int) -> str:
    """The schedule as a Prefect deployment, on the configured Prefect API or on a server of our own on loopback.
    Returns the API's address."""
    url = prefect_api_url()
    # Prefect keeps its runner's files under one name in the system's temporary folder, where a second user of
    # the machine has no permission.
    temporary = home / "tmp"
    temporary.mkdir(exist_ok=True)
    environment = {**QUIET, "TMPDIR": str(temporary)}
    if url is None:
        port = free_port("127.0.0.1", 0)
        url = f"http://127.0.0.1:{port}/api"
        environment["PREFECT_HOME"] = str(home / "prefect")
        arguments = ["server", "start", "--host", "127.0.0.1", "--port", str(port)]
        started.start("prefect", "prefect", *arguments, environment=environment)
        started.wait_for(f"{url}/health", "the Prefect server")
        _state(home).write_text(json.dumps({"url": url, "pid": os.getpid()}))
    started.start(
        "schedule", "pgfolio.flows.schedule", str(every), environment={**environment, "PREFECT_API_URL": url}
    )
    return url


def forget_schedule(home: Path) -> None:
    _state(home).unlink(missing_ok=True)


def running_prefect(home: Path) -> str | None:
    """A Prefect API that answers: the configured one, or that of a running `up`."""
    url = prefect_api_url()
    if url is None:
        try:
            url = str(json.loads(_state(home).read_text())["url"])
        except (OSError, ValueError, KeyError):
            return None
    return url if answers(f"{url.rstrip('/')}/health", timeout=2.0) else None


def _state(home: Path) -> Path:
    return home / "prefect.json"


def free_port(host: str, port: int) -> int:
    """The port, 0 for any that is free. Raises ChildError where another program has it: another pgfolio there would
    answer in the place of ours."""
    try:
        with socket.create_server((host, port), family=_family(host)) as probe:
            return int(probe.getsockname()[1])
    except OSError as error:
        raise ChildError(
            f"cannot listen on {host}:{port}: {error.strerror or error}: choose another --port"
        ) from error


def address(host: str, port: int) -> str:
    """Where this machine reaches what listens there."""
    here = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    return f"http://[{here}]:{port}" if ":" in here else f"http://{here}:{port}"


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
