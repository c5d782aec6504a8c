"""The bundled Postgres: started by the first who needs it, shared, stopped when the last one leaves.

Who uses it holds a shared lock on a file, which ends with the process however that ends. Whoever leaves and can have
the lock alone was the last one.
"""

from __future__ import annotations

import fcntl
import logging
import os
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

import fasteners
import psutil
import psycopg
from psycopg import sql

from pgfolio.schema.database import postmaster
from pgfolio.schema.database.programs import BundledPostgresError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pgfolio.config.settings import Postgres

LOG = logging.getLogger("pgfolio.schema.database.bundled")
DATABASE = "pgfolio"
MIB = 1024 * 1024
LOOK_SECONDS: Final = 1.0
"""Seconds between two looks whether it still runs."""

MAX_PAUSE_SECONDS: Final = 60.0


@contextmanager
def bundled_postgres(home: Path, memory: Postgres) -> Iterator[str]:
    """A connection string of our database in the bundled Postgres, which runs until its last user leaves; one that
    is killed meanwhile is started again. Raises BundledPostgresError."""
    data = home / "postgres"
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        users = os.open(home / "users.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _unwritable(home, error) from error
    try:
        fcntl.flock(users, fcntl.LOCK_SH)
        _start(home, data, memory)
        with _watched(home, data, memory):
            yield postmaster.conninfo(data, DATABASE)
    finally:
        with fasteners.InterProcessLock(home / "start.lock"):
            fcntl.flock(users, fcntl.LOCK_UN)
            with suppress(BlockingIOError):
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                postmaster.stop(data)
            os.close(users)


def _start(home: Path, data: Path, memory: Postgres) -> None:
    try:
        with fasteners.InterProcessLock(home / "start.lock"):
            postmaster.initialize(data)
            _configure(data, memory)
            postmaster.start(data)
            _create_database(postmaster.conninfo(data, "postgres"), DATABASE)
    except OSError as error:
        raise _unwritable(home, error) from error


def _unwritable(home: Path, error: OSError) -> BundledPostgresError:
    return BundledPostgresError(
        f"cannot write to {home}: {error.strerror or error}; set PGFOLIO_HOME to a folder of yours"
    )


@contextmanager
def _watched(home: Path, data: Path, memory: Postgres) -> Iterator[None]:
    """Inside, a server that ended is started again: something may have killed it, and whoever serves goes on."""
    left = threading.Event()

    def watch() -> None:
        pause = LOOK_SECONDS
        while not left.wait(pause):
            try:
                if postmaster.running(data) is None:
                    LOG.warning("the bundled Postgres has ended: starting it again")
                    _start(home, data, memory)
                pause = LOOK_SECONDS
            except Exception as error:  # noqa: BLE001 -- tried again, and whoever connects says so as well
                LOG.warning("%s", error)
                pause = min(pause * 2, MAX_PAUSE_SECONDS)

    thread = threading.Thread(target=watch, name="bundled-postgres", daemon=True)
    thread.start()
    try:
        yield
    finally:
        left.set()
        thread.join()


def _configure(data: Path, memory: Postgres) -> None:
    """Our settings stand in a file of their own, read last; they act at the server's next start."""
    included = "include_if_exists = 'pgfolio.conf'"
    main = data / "postgresql.conf"
    if included not in main.read_text():
        with main.open("a") as file:
            file.write(f"\n{included}\n")
    ours = data / "pgfolio.conf"
    ours.write_text(configuration(memory, psutil.virtual_memory().total // MIB, os.cpu_count() or 1))
    postmaster.own(data, ours)


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
        "max_connections": 100 + 4 * cores,  # a worker of a sync takes up to four
        "max_worker_processes": max(8, cores + 2),
        "max_parallel_workers": max(8, cores),
        "max_parallel_maintenance_workers": max(1, cores - 1),
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
