"""Workers and drivers of syncs that need several processes are killed at random moments: nothing is half done, at the
end all is as an undisturbed sync makes it, and no more was paid for twice than was in flight."""

from __future__ import annotations

import os
import random
import signal
import time
from typing import TYPE_CHECKING

import psutil
import pytest

from pgfolio.schema.database.connect import connect
from tests.fakes.openai_server import FakeOpenAI, FaultScenario
from tests.faults.test_kills import IN_FLIGHT, environment, paid_twice
from tests.faults.world import Command, Reader, Tree, half_done, stored, wait_until

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

SEED = 20261130
KILLS, SOME_KILLS = 50, 2
MAX_ROUNDS = 6
"""In which both kinds were to be killed."""
WORKERS = 3


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree.grown(tmp_path / "tree", SEED, 60)


def workers(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """Of a running sync: the children of the process that they are forked from."""
    try:
        children = psutil.Process(process.pid).children()
        servers = [child for child in children if "forkserver" in " ".join(child.cmdline())]
        return [worker for server in servers for worker in server.children()]
    except psutil.Error:
        return []


@pytest.mark.timeout(3600)
def test_workers_and_drivers_killed_anywhere_lose_nothing(
    tree: Tree, tmp_path: Path, new_database: Callable[[], AbstractContextManager[str]], full: bool
) -> None:
    chosen = random.Random(SEED)
    kills = {"worker": 0, "driver": 0}
    differences = rounds = 0
    with FakeOpenAI() as server:
        server.fault_scenario = FaultScenario(delay=0.03)
        wanted = KILLS if full else SOME_KILLS
        while sum(kills.values()) < wanted or (not all(kills.values()) and rounds < MAX_ROUNDS):
            rounds += 1
            tree.edit()
            contents = []
            for disturbed in (False, True):
                server.requests.clear()
                with new_database() as conninfo:
                    settings = {
                        **environment(conninfo, tmp_path / "home", server.url),
                        "PGFOLIO_SYNC__WORKERS": str(WORKERS),
                    }
                    command, reader = Command(tree.root, settings), Reader(conninfo)
                    before = sum(kills.values())
                    with reader.looking():
                        if disturbed:
                            _disturb(command, chosen, kills)
                        with connect(conninfo, autocommit=True) as connection:
                            assert half_done(connection) == []
                        report = command.sync()
                        assert report["status"] == "complete"
                    assert paid_twice(server) <= (IN_FLIGHT + WORKERS) * (sum(kills.values()) - before)
                    assert reader.seen == []
                    contents.append(stored(conninfo))
                    assert command.sync()["documents"]["unchanged"] == len(list(tree.root.rglob("*.md")))
            differences += len(set(contents[0]) ^ set(contents[1]))
            assert contents[0] == contents[1]
    print(f"\n{kills} kills in {rounds} rounds; differences to undisturbed syncs: {differences}")


def _disturb(command: Command, chosen: random.Random, kills: dict[str, int]) -> None:
    """Kills workers while it runs, and then the sync itself. Before it has any: tests/faults/test_kills.py."""
    process = command.start()
    wait_until(lambda: process.poll() is not None or workers(process) != [])
    for _ in range(chosen.randint(1, 4)):
        time.sleep(chosen.uniform(0.05, 0.6))
        if process.poll() is not None:
            process.communicate()
            return
        if found := workers(process):
            victim = chosen.choice(found)
            try:
                victim.send_signal(signal.SIGKILL)
            except psutil.NoSuchProcess:
                continue
            kills["worker"] += 1
    if process.poll() is None:
        psutil.Process(process.pid).kill()
        kills["driver"] += 1
    process.communicate()
    wait_until(lambda: not _orphans(process.pid))


def _orphans(session: int) -> list[int]:
    """What is left of a killed sync: its workers end with their pipe."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
        except (OSError, psutil.Error):
            continue
    return found


@pytest.mark.timeout(120)
def test_an_interrupt_ends_all_processes_and_leaves_nothing_half_done(
    tree: Tree, tmp_path: Path, conninfo: str
) -> None:
    with FakeOpenAI() as server, connect(conninfo, autocommit=True) as connection:
        server.fault_scenario = FaultScenario(delay=0.2)
        settings = {
            **environment(conninfo, tmp_path / "home", server.url),
            "PGFOLIO_SYNC__WORKERS": str(WORKERS),
        }
        command = Command(tree.root, settings)
        process = command.start()
        while not connection.execute("select 1 from documents limit 1").fetchone():
            assert process.poll() is None
            time.sleep(0.02)
        began = time.monotonic()
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=30)
        assert time.monotonic() - began < 10
        assert process.returncode == 130, err
        told = connection.execute("select error from runs order by id desc limit 1").fetchone()
        assert told is not None
        assert told[0].startswith("interrupted; what was done until then is stored")
        wait_until(lambda: not _orphans(process.pid))
        assert half_done(connection) == []
        server.fault_scenario = FaultScenario()
        assert command.sync()["status"] == "complete"
        assert half_done(connection) == []
