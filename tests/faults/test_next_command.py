"""Whatever is killed, the next command works: the flow, one backend, all of them, the postmaster, or two at once."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import psutil
import pytest

from tests.faults.world import Command, Tree

if TYPE_CHECKING:
    from collections.abc import Iterator

SEED = 20
KILLS, SOME_KILLS = 100, 3
TARGETS = (("flow",), ("backend",), ("backends",), ("postmaster",), ("flow", "postmaster"))
COMMANDS = (("sync", "--approve-deletes", "99"), ("status",), ("search", "what is there"), ("verify",))
PARTS_KILLED = 50
LISTENER, API, POSTMASTER = "flows.listen", "query_api", "postgres"
PARTS = ((LISTENER,), ("prefect server",), (API,), ("flows.schedule",), (POSTMASTER,), (LISTENER, POSTMASTER))
"""Of `up`, by what stands in their command."""

PATIENCE = 30.0
"""Seconds in which a command is done, whatever was killed."""


@pytest.fixture
def own_home() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="pgfolio-fault-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def postmaster(home: Path, flow: subprocess.Popen[str]) -> psutil.Process | None:
    """Once it is there; None where the flow was faster."""
    while flow.poll() is None:
        try:
            return psutil.Process(int((home / "postgres" / "postmaster.pid").read_text().split()[0]))
        except (OSError, ValueError, IndexError, psutil.NoSuchProcess):
            time.sleep(0.01)
    return None


def kill(
    targets: tuple[str, ...], flow: subprocess.Popen[str], server: psutil.Process, chosen: random.Random
) -> None:
    backends = [child for child in server.children() if "pgfolio" in " ".join(child.cmdline())]
    victims: dict[str, list[Any]] = {
        "flow": [flow],
        "postmaster": [server],
        "backends": backends,
        "backend": chosen.sample(backends, min(1, len(backends))),
    }
    for target in targets:
        for victim in victims[target]:
            victim.kill()


def seconds_of(arguments: tuple[str, ...], variables: dict[str, str]) -> float:
    """That the command takes, which must succeed."""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "pgfolio.flows", *arguments],
        env=variables,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, (arguments, done.stderr)
    return time.monotonic() - began


@pytest.mark.timeout(1200)
def test_the_next_command_works_whatever_was_killed(tmp_path: Path, own_home: Path, full: bool) -> None:
    chosen = random.Random(SEED)
    tree = Tree.grown(tmp_path / "tree", SEED, 60)
    variables = {"PATH": os.environ["PATH"], "HOME": str(own_home), "PGFOLIO_HOME": str(own_home)}
    command = Command(tree.root, variables)
    command.sync()
    slowest = 0.0
    for number in range(KILLS if full else SOME_KILLS):
        tree.edit()
        targets, following = TARGETS[number % len(TARGETS)], chosen.choice(COMMANDS)
        flow = command.start()
        server = postmaster(own_home, flow)
        time.sleep(chosen.uniform(0.0, 1.0))
        with contextlib.suppress(psutil.NoSuchProcess):  # it was done before
            if server is not None:
                kill(targets, flow, server, chosen)
        _, error = flow.communicate(timeout=PATIENCE)
        assert "Traceback" not in error
        slowest = max(slowest, seconds_of(following, variables))
    assert command.sync()["status"] == "complete"
    print(f"\nafter each of {number + 1} kills the next command succeeded, in {slowest:.1f} s at most")


@contextlib.contextmanager
def up(folder: Path, variables: dict[str, str]) -> Iterator[tuple[psutil.Process, str]]:
    """With everything that it starts; and the API's address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "pgfolio.flows", "up", str(folder), "--port", "0"],
        env=variables,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        address = (
            next(line for line in process.stderr if "answers at" in line)
            .split("answers at ")[1]
            .split(";")[0]
        )
        assert any("Ctrl-C stops everything" in line for line in process.stderr)
        threading.Thread(target=process.stderr.read, daemon=True).start()
        yield psutil.Process(process.pid), address
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(PATIENCE)


def answers(address: str, query: str) -> bool:
    """Within the time that a command may take: the database may be starting."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.post(f"{address}/search", json={"query": query}, timeout=5).status_code == 200:
                return True
        time.sleep(0.2)
    return False


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_the_next_command_works_whatever_part_of_up_was_killed(tmp_path: Path, own_home: Path) -> None:
    """The API's end is that of `up`, which is started anew; the others come back."""
    chosen = random.Random(SEED)
    tree = Tree.grown(tmp_path / "tree", SEED, 60)
    variables = {"PATH": os.environ["PATH"], "HOME": str(own_home), "PGFOLIO_HOME": str(own_home)}
    slowest, number = 0.0, 0
    while number < PARTS_KILLED:
        with up(tree.root, variables) as (process, address):
            parts: tuple[str, ...] = ()
            while API not in parts and number < PARTS_KILLED:
                tree.edit()
                parts = PARTS[number % len(PARTS)]
                for part in parts:
                    running(process, part).kill()
                number += 1
                slowest = max(slowest, seconds_of(chosen.choice(COMMANDS), variables))
                assert API in parts or answers(address, "river")
    with up(tree.root, variables) as (_, address):
        assert answers(address, "river")
    seconds_of(("verify",), variables)
    print(f"\nafter each of {number} kills the next command succeeded, in {slowest:.1f} s at most")


def running(process: psutil.Process, part: str) -> psutil.Process:
    """Once it is there."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        for child in process.children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                if part in " ".join(child.cmdline()):
                    return child
        time.sleep(0.05)
    raise AssertionError(f"{part} is not there")
