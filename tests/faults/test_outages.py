"""PostgreSQL and the model server are killed under a running sync. A run that loses its database ends with a
sentence; one that loses the model server waits for it. Either way the next sync ends as an undisturbed one."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from pgfolio.config.loading import load_settings
from pgfolio.schema.database.connect import connect, database
from tests.fakes.openai_server import FakeOpenAI, FaultScenario
from tests.faults.test_kills import LATENCY, SEED, environment
from tests.faults.world import Command, Tree, half_done, stored, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


DATABASE_KILLS, SOME_DATABASE_KILLS = 6, 2
ATTEMPTS = 3 * DATABASE_KILLS
MODEL_KILLS, SOME_MODEL_KILLS = 4, 2
FREE_PORT = 0


@pytest.fixture
def own_home() -> Iterator[Path]:
    """A bundled Postgres of the test's own: the others' must live."""
    folder = Path(tempfile.mkdtemp(prefix="pgfolio-fault-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree.grown(tmp_path / "tree", SEED, 30)


def kill_postgres(home: Path) -> bool:
    """The postmaster and what it started, at once, as a machine that loses its power does. False: the sync was done
    before, and has ended it."""
    try:
        postmaster = int((home / "postgres" / "postmaster.pid").read_text().splitlines()[0])
    except (FileNotFoundError, IndexError):
        return False
    children = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(postmaster)], capture_output=True, text=True, check=False
    ).stdout.split()
    for pid in (postmaster, *map(int, children)):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    return True


@pytest.mark.timeout(300)
def test_a_database_killed_anywhere_loses_nothing(
    tree: Tree,
    own_home: Path,
    undisturbed: Callable[[], list[tuple[object, ...]]],
    full: bool,
) -> None:
    chosen = random.Random(SEED)
    settings = load_settings(home=own_home)
    with FakeOpenAI() as server:
        server.fault_scenario = FaultScenario(delay=LATENCY)
        command = Command(tree.root, environment(None, own_home, server.url))
        command.sync()
        kills, wanted = 0, DATABASE_KILLS if full else SOME_DATABASE_KILLS
        for _ in range(ATTEMPTS):
            tree.edit()
            process = command.start()
            wait_until((own_home / "postgres" / "postmaster.pid").exists)
            time.sleep(chosen.uniform(0.5, 1.4))
            kills += kill_postgres(own_home)
            _, error = process.communicate(timeout=60)
            assert process.returncode in (0, 1)  # 0: it was done before
            assert "Traceback" not in error
            assert command.sync()["status"] == "complete"
            with database(settings) as conninfo, connect(conninfo) as connection:
                assert half_done(connection) == []
                found = stored(conninfo)
            assert found == undisturbed()
            if kills == wanted:
                break
        assert kills == wanted


@pytest.mark.timeout(300)
def test_a_model_server_killed_anywhere_is_waited_for(
    tree: Tree,
    tmp_path: Path,
    conninfo: str,
    undisturbed: Callable[[], list[tuple[object, ...]]],
    full: bool,
) -> None:
    chosen = random.Random(SEED)

    def serve(port: int) -> tuple[subprocess.Popen[str], str]:
        arguments = [sys.executable, "-m", "tests.fakes.openai_server", "--port", str(port)]
        started = subprocess.Popen(
            arguments, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
        )
        assert started.stdout is not None
        return started, started.stdout.readline().strip()

    server, url = serve(FREE_PORT)
    port = int(url.rsplit(":", 1)[1].split("/")[0])
    try:
        command = Command(tree.root, environment(conninfo, tmp_path / "home", url))
        for _ in range(MODEL_KILLS if full else SOME_MODEL_KILLS):
            tree.edit()
            process = command.start()
            time.sleep(chosen.uniform(0.5, 0.9))
            server.kill()
            server.wait()
            time.sleep(1.0)
            server, _ = serve(port)
            out, error = process.communicate(timeout=60)
            assert (process.returncode, error) == (0, ""), out
            with connect(conninfo) as connection:
                assert half_done(connection) == []
            assert stored(conninfo) == undisturbed()
    finally:
        server.kill()
        server.wait()


def test_a_database_that_ends_in_the_middle_is_one_clear_line(
    tree: Tree, conninfo: str, tmp_path: Path, openai_server: FakeOpenAI
) -> None:
    openai_server.fault_scenario = FaultScenario(delay=0.5)
    command = Command(tree.root, environment(conninfo, tmp_path / "home", openai_server.url))
    process = command.start()
    wait_until(lambda: openai_server.requests)
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity "
            "where datname = current_database() and pid <> pg_backend_pid()"
        )
    _, error = process.communicate(timeout=60)
    assert process.returncode == 1
    assert len(error.strip().splitlines()) == 1, error


def test_a_second_sync_of_a_source_leaves_with_a_sentence(
    tree: Tree, conninfo: str, tmp_path: Path, openai_server: FakeOpenAI
) -> None:
    openai_server.fault_scenario = FaultScenario(delay=0.3)
    command = Command(tree.root, environment(conninfo, tmp_path / "home", openai_server.url))
    first = command.start()
    wait_until(lambda: openai_server.requests)
    second = command.start()
    _, error = second.communicate(timeout=60)
    assert (second.returncode, "another sync of 'tree' is running" in error) == (1, True)
    openai_server.fault_scenario = None
    _, error = first.communicate(timeout=60)
    assert (first.returncode, error) == (0, "")
