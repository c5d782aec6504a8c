"""PostgreSQL as Debian packages it: a cluster of the test's own, reached over TCP with passwords."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from pgfolio.schema.database.schema_in_use import PGVECTOR_MINIMUM

if TYPE_CHECKING:
    from collections.abc import Iterator

VERSIONS = Path("/usr/lib/postgresql")
EXTENSIONS = Path("/usr/share/postgresql")
PASSWORD = "of the tests' cluster"
SETTINGS = ("fsync=off", "max_connections=60", "password_encryption=scram-sha-256")
AS_ROOT: dict[str, Any] = {"user": "postgres", "group": "postgres", "extra_groups": []}
"""PostgreSQL does not run as root."""


def programs() -> Path:
    """Of the newest version that has a pgvector which is new enough."""
    for folder in sorted(VERSIONS.glob("*/bin"), key=lambda each: float(each.parent.name), reverse=True):
        control = EXTENSIONS / folder.parent.name / "extension/vector.control"
        version = (
            re.search(r"default_version = '([\d.]+)'", control.read_text()) if control.exists() else None
        )
        if version and tuple(map(int, version[1].split("."))) >= PGVECTOR_MINIMUM:
            return folder
    pytest.skip("no PostgreSQL of the system's with pgvector 0.8.4 or newer")


@contextmanager
def debian_postgres() -> Iterator[str]:
    """The connection string of its administrator, with a password."""
    binaries = programs()
    own: dict[str, Any] = AS_ROOT if os.geteuid() == 0 else {}
    with tempfile.TemporaryDirectory(prefix="pgfolio-debian-", ignore_cleanup_errors=True) as name:
        data, secret = Path(name) / "data", Path(name) / "secret"
        secret.write_text(PASSWORD)
        Path(name).chmod(0o755)
        data.mkdir(mode=0o700)
        if own:
            subprocess.run(["chown", "-R", "postgres:postgres", name], check=True)
        arguments = ["--auth=scram-sha-256", "--username=postgres", "--encoding=utf8", f"--pwfile={secret}"]
        subprocess.run([binaries / "initdb", *arguments, "-D", data], check=True, capture_output=True, **own)
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        options = [part for each in SETTINGS for part in ("-c", each)]
        command: list[Any] = [
            binaries / "postgres",
            "-D",
            data,
            "-h",
            "127.0.0.1",
            "-p",
            str(port),
            "-k",
            "",
            *options,
        ]
        with (
            (Path(name) / "log").open("wb") as log,
            subprocess.Popen(command, stdout=log, stderr=log, cwd=name, **own) as server,
        ):
            try:
                conninfo = f"host=127.0.0.1 port={port} user=postgres dbname=postgres"
                yield _waited_for(psycopg.conninfo.make_conninfo(conninfo, password=PASSWORD))
            finally:
                server.send_signal(signal.SIGINT)  # does not wait for who is connected


def _waited_for(conninfo: str) -> str:
    end = time.monotonic() + 20
    while True:
        try:
            psycopg.connect(conninfo, connect_timeout=2).close()
        except psycopg.OperationalError:
            assert time.monotonic() < end
            time.sleep(0.05)
        else:
            return conninfo
