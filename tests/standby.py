"""A streaming standby of a server of the test's own, made of the bundled binaries."""

from __future__ import annotations

import subprocess
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import psutil
import psycopg

from pgfolio.config.loading import load_settings
from pgfolio.schema.database import postmaster
from pgfolio.schema.database.bundled import DATABASE, bundled_postgres
from pgfolio.schema.database.programs import account_of, programs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MEMORY = load_settings(postgres={"shared_buffers_mb": 64, "maintenance_work_mem_mb": 32}).postgres


@contextmanager
def primary(home: Path) -> Iterator[str]:
    """A server that nobody else uses; it may be stopped with `stop`."""
    with bundled_postgres(home, MEMORY) as conninfo:
        home.chmod(0o755)  # as root, the standby's own user connects to it
        yield conninfo


@contextmanager
def standby(home: Path, of: Path) -> Iterator[str]:
    """The connection string of a standby that streams from the server whose home is `of`."""
    source, data = of / "postgres", home / "postgres"
    data.mkdir(parents=True, mode=0o700)
    account = account_of(source)
    socket = str(psycopg.conninfo.conninfo_to_dict(postmaster.conninfo(source, DATABASE))["host"])
    subprocess.run(
        [programs(account) / "pg_basebackup", "-h", socket, "-U", "postgres", "-D", data, "-R", "-c", "fast"],
        check=True, capture_output=True, cwd="/",
    )  # fmt: skip
    for file in (data, *data.rglob("*")):
        postmaster.own(source, file)
    postmaster.start(data)
    try:
        yield postmaster.conninfo(data, DATABASE)
    finally:
        postmaster.stop(data)


def stop(home: Path) -> None:
    """At once, as a machine that is gone: nothing is said to whoever is connected."""
    process = postmaster.running(home / "postgres")
    assert process is not None
    for each in [*process.children(recursive=True), process]:
        with suppress(psutil.NoSuchProcess):
            each.kill()


def promote(conninfo: str) -> None:
    with psycopg.connect(conninfo, autocommit=True) as connection:
        assert connection.execute("select pg_promote(true, 30)").fetchone() == (True,)
