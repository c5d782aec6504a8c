"""Whatever is killed, the next command works: the flow, one backend, all of them, the postmaster, or two at once."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from tests.faults.world import Command, Tree

if TYPE_CHECKING:
    from collections.abc import Iterator

SEED = 20
KILLS, SOME_KILLS = 100, 3
TARGETS = (("flow",), ("backend",), ("backends",), ("postmaster",), ("flow", "postmaster"))
COMMANDS = (("sync", "--approve-deletes", "99"), ("status",), ("search", "what is there"), ("verify",))
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
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "pgfolio.flows", *following],
            env=variables,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        slowest = max(slowest, time.monotonic() - began)
        assert done.returncode == 0, (targets, following, error, done.stderr)
    assert command.sync()["status"] == "complete"
    print(f"\nafter each of {number + 1} kills the next command succeeded, in {slowest:.1f} s at most")
