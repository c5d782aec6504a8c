"""The database in use: the bundled one, another one, and one that cannot be used."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import psycopg
import pytest

from pgfolio.config.loading import load_settings
from pgfolio.schema.database.bundled import BundledPostgresError, bundled_postgres, configuration
from pgfolio.schema.database.connect import DatabaseError, connect, database, prepare
from pgfolio.schema.database.migrate import migrate, pending

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pgfolio.config.settings import Settings

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
    (own_home / "postgres" / ".handle_pids.json").write_text("[12")
    with database(settings) as conninfo, connect(conninfo) as connection:
        assert connection.execute("select 1").fetchone() == (1,)


def test_a_home_that_the_bundled_postgres_cannot_start_in_is_a_sentence(tmp_path: Path) -> None:
    with (
        pytest.raises(BundledPostgresError, match="takes no ' ' in a path; set PGFOLIO_HOME"),
        bundled_postgres(tmp_path / "Application Support", load_settings().postgres),
    ):
        pass


def test_a_home_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(BundledPostgresError, match="PGFOLIO_HOME"),
        bundled_postgres(tmp_path / "file" / "home", load_settings().postgres),
    ):
        pass


@pytest.mark.parametrize(("machine_mb", "buffers"), [(512, "128MB"), (8192, "1024MB"), (262144, "8192MB")])
def test_memory_is_sized_to_the_machine(machine_mb: int, buffers: str) -> None:
    assert f"shared_buffers = {buffers}\n" in configuration(load_settings().postgres, machine_mb, 2)


def test_an_external_database_is_migrated(postgres: str) -> None:
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute("create database bare")
        try:
            settings = load_settings(database_url=psycopg.conninfo.make_conninfo(postgres, dbname="bare"))
            with database(settings) as conninfo, connect(conninfo) as opened:
                assert pending(opened) == []
        finally:
            connection.execute("drop database bare with (force)")


def test_migrating_again_does_nothing(conninfo: str) -> None:
    with connect(conninfo) as connection:
        assert migrate(connection, conninfo) == []


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://127.0.0.1:1/none", "cannot reach the database 127.0.0.1:1/none"),
        ("postgresql://user:secret@127.0.0.1:1/none", "is it running"),
        ("what is this", "not a connection string"),
        ("postgres//app:s3cret@localhost/x", "not a connection string"),
        ("postgresql://app:s3cret/more@localhost/x", "not a connection string"),
        ("postgresql://app:s3cret%more@localhost/x", "not a connection string"),
        ("postgresql://app:s3cret more@localhost/x", "not a connection string"),
        ("postgresql://app:s3cret@more@localhost/x", "not a connection string"),
    ],
)
def test_an_unusable_database_is_a_sentence_without_the_password(url: str, said: str) -> None:
    with pytest.raises(DatabaseError, match=said) as caught:
        prepare(url)
    assert "secret" not in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_an_older_pgvector_is_refused(conninfo: str, settings: Settings) -> None:
    with connect(conninfo) as connection:
        connection.execute("update pg_extension set extversion = '0.8.3' where extname = 'vector'")
    with pytest.raises(DatabaseError, match=r"0\.8\.3 is too old: 0\.8\.4"), database(settings):
        pass
