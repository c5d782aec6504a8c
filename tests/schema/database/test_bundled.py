"""The bundled Postgres: shared, started again, never taken from another folder, never in the way of its home."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import psycopg
import pytest

from pgfolio.config.loading import load_settings
from pgfolio.schema.database import programs
from pgfolio.schema.database.bundled import bundled_postgres, configuration
from pgfolio.schema.database.connect import connect, database
from pgfolio.schema.database.programs import BundledPostgresError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parents[3]
SMALL = {"shared_buffers_mb": 64, "maintenance_work_mem_mb": 64}
USE = """
import sys
from pgfolio.config.loading import load_settings
from pgfolio.schema.database.connect import connect, database
with database(load_settings()) as conninfo, connect(conninfo) as connection:
    print(connection.execute("select pg_postmaster_start_time()").fetchone()[0], flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def own_home(tmp_path_factory: pytest.TempPathFactory, home: Path) -> Path:
    made = home / f"own-{tmp_path_factory.mktemp('x').name}-{time.monotonic_ns()}"
    made.mkdir()
    return made


@pytest.fixture
def user(own_home: Path) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """Starts processes that use the bundled Postgres until a line or the end of their input comes."""
    started: list[subprocess.Popen[str]] = []
    environment = {
        "PGFOLIO_HOME": str(own_home),
        "PGFOLIO_POSTGRES__SHARED_BUFFERS_MB": "64",
        "HOME": str(own_home),
    }

    def start() -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", USE],
            cwd=ROOT,
            env={**environment, "PATH": "/usr/bin:/bin:/usr/sbin:/sbin"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def postgres_of(home: Path) -> psutil.Process | None:
    file = home / "postgres" / "postmaster.pid"
    return psutil.Process(int(file.read_text().split()[0])) if file.exists() else None


def read(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def test_several_processes_share_the_bundled_postgres_until_the_last_one_leaves(
    own_home: Path, user: Callable[[], subprocess.Popen[str]]
) -> None:
    first, second = user(), user()
    started = {read(first), read(second)}
    assert len(started) == 1
    first.communicate("\n")
    assert postgres_of(own_home) is not None
    second.communicate("\n")
    assert postgres_of(own_home) is None


def test_a_killed_user_does_not_keep_postgres_running_for_ever(
    own_home: Path, user: Callable[[], subprocess.Popen[str]]
) -> None:
    killed, other = user(), user()
    read(killed), read(other)
    killed.kill()
    killed.wait()
    other.communicate("\n")
    later = user()
    assert read(later)
    later.communicate("\n")
    assert postgres_of(own_home) is None


def test_a_killed_postgres_comes_back_with_what_was_committed(
    own_home: Path, user: Callable[[], subprocess.Popen[str]]
) -> None:
    settings = load_settings(home=own_home, postgres=SMALL)
    with database(settings) as conninfo:
        with connect(conninfo) as connection:
            connection.execute("insert into collections (name) values ('kept')")
        server = postgres_of(own_home)
        assert server is not None
        children = server.children(recursive=True)
        server.kill()
        server.wait(10)
        for child in children:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
    process = user()
    assert read(process)
    process.communicate("\n")
    with database(settings) as conninfo, connect(conninfo) as connection:
        assert connection.execute("select name from collections").fetchall() == [("kept",)]


def test_a_stale_pid_file_of_another_program_is_not_believed(own_home: Path) -> None:
    settings = load_settings(home=own_home, postgres=SMALL)
    with database(settings):
        pass
    lines = [str(psutil.Process().pid), str(own_home / "postgres"), "0", "5432", "", "", "0", "ready"]
    (own_home / "postgres" / "postmaster.pid").write_text("\n".join(lines) + "\n")
    with database(settings) as conninfo, connect(conninfo) as connection:
        assert connection.execute("select 1").fetchone() == (1,)


def test_files_that_were_cut_short_are_not_believed(own_home: Path) -> None:
    settings = load_settings(home=own_home, postgres=SMALL)
    with database(settings):
        pass
    (own_home / "postgres" / "postmaster.pid").write_text("\0\0")
    with database(settings) as conninfo, connect(conninfo) as connection:
        assert connection.execute("select 1").fetchone() == (1,)


def test_a_home_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(BundledPostgresError, match="PGFOLIO_HOME"),
        bundled_postgres(tmp_path / "file" / "home", load_settings().postgres),
    ):
        pass


def wait_until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("name", ["a folder's name; $x", "n" * 150], ids=["signs", "long"])
def test_any_path_will_do_as_a_home(own_home: Path, name: str) -> None:
    settings = load_settings(home=own_home / name, postgres=SMALL)
    with database(settings) as conninfo, connect(conninfo) as connection:
        assert connection.execute("select 1").fetchone() == (1,)


def test_folders_that_are_not_ours_keep_their_permissions(own_home: Path) -> None:
    """As root they were all opened for everybody."""
    parent = own_home / "private"
    parent.mkdir(mode=0o700)
    with database(load_settings(home=parent / "home", postgres=SMALL)) as conninfo, connect(conninfo):
        assert stat.S_IMODE(parent.stat().st_mode) == 0o700
        assert stat.S_IMODE((parent / "home").stat().st_mode) == 0o700
        assert stat.S_IMODE((parent / "home" / "postgres").stat().st_mode) == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root needs another user")
def test_programs_that_the_system_user_cannot_reach_are_copied(
    own_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with database(load_settings(home=own_home, postgres=SMALL)):
        pass
    account = programs.account_of(own_home / "postgres")
    monkeypatch.setattr(programs, "ROOTS_PROGRAMS", tmp_path / "programs")
    monkeypatch.setattr(programs, "_reachable", lambda *_: False)
    copied = programs.programs(account)
    assert copied.is_relative_to(tmp_path)
    assert "18" in subprocess.check_output([copied / "postgres", "--version"], text=True)


def test_a_copy_of_a_running_home_has_a_server_of_its_own(own_home: Path) -> None:
    """It wrote into the original's database."""
    original = load_settings(home=own_home / "original", postgres=SMALL)
    copied = load_settings(home=own_home / "copy", postgres=SMALL)
    with database(original) as conninfo:
        with connect(conninfo, autocommit=True) as connection:
            connection.execute("insert into collections (name) values ('both')")
            connection.execute("checkpoint")
        subprocess.run(["cp", "-a", original.home, copied.home], check=True)
        with database(copied) as of_copy, connect(of_copy) as connection:
            connection.execute("insert into collections (name) values ('copy')")
        with connect(conninfo) as connection:
            names = connection.execute("select name from collections").fetchall()
    assert names == [("both",)]


def test_a_server_that_is_killed_comes_back_while_it_is_used(own_home: Path) -> None:
    with database(load_settings(home=own_home, postgres=SMALL)) as conninfo:
        server = postgres_of(own_home)
        assert server is not None
        server.kill()

        def answers() -> bool:
            with contextlib.suppress(psycopg.Error):
                psycopg.connect(conninfo).close()
                return True
            return False

        wait_until(lambda: not server.is_running() or server.status() == psutil.STATUS_ZOMBIE)
        wait_until(answers)
        assert postgres_of(own_home) != server


def test_a_server_that_recovers_is_waited_for_and_not_stopped(
    own_home: Path, user: Callable[[], subprocess.Popen[str]]
) -> None:
    """A killed backend, as an out-of-memory killer leaves it, made the next commands hang or fail."""
    first = user()
    assert read(first)
    server = postgres_of(own_home)
    assert server is not None
    for _ in range(3):
        victim = next(child for child in server.children() if child.is_running())
        victim.send_signal(signal.SIGKILL)
        next_one = user()
        assert read(next_one), "the next command failed"
        next_one.communicate("\n", timeout=30)
        assert next_one.returncode == 0
    assert server.is_running()
    first.communicate("\n", timeout=30)
    assert postgres_of(own_home) is None


def test_why_it_does_not_start_is_its_logs_last_word(own_home: Path) -> None:
    settings = load_settings(home=own_home, postgres=SMALL)
    with database(settings):
        pass
    shutil.move(own_home / "postgres" / "global", own_home / "postgres" / "elsewhere")
    with (
        pytest.raises(BundledPostgresError, match=r"did not start: .*global.*; its log is"),
        database(settings),
    ):
        pass


@pytest.mark.parametrize(("machine_mb", "buffers"), [(512, "128MB"), (8192, "1024MB"), (262144, "8192MB")])
def test_memory_is_sized_to_the_machine(machine_mb: int, buffers: str) -> None:
    assert f"shared_buffers = {buffers}\n" in configuration(load_settings().postgres, machine_mb, 2)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system that is full."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("nothing can be mounted here")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
def test_a_full_disk_is_named(small_disk: Path) -> None:
    with (
        pytest.raises(BundledPostgresError, match="the disk is full"),
        database(load_settings(home=small_disk / "home", postgres=SMALL)),
    ):
        pass
