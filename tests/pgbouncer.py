"""A PgBouncer of the test's own, in front of the tests' server, where the program is installed."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PROGRAM = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin:/usr/local/sbin")
TRUSTED = {"postgres": ""}
CONFIGURATION = """[databases]
* = host={host} port={server_port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = {auth}
auth_file = {users}
pool_mode = {mode}
default_pool_size = {size}
max_client_conn = 500
"""


@contextmanager
def pgbouncer(
    conninfo: str, mode: str = "transaction", size: int = 30, passwords: Mapping[str, str] | None = None
) -> Iterator[str]:
    """The connection string of the same database through PgBouncer, with at most `size` sessions of the server for
    each user. `passwords`: of the users that it lets in, by name; None: whoever comes, as postgres."""
    if PROGRAM is None:
        pytest.skip("pgbouncer is not installed")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = conninfo_to_dict(conninfo)
    host = str(server["host"])
    beside = Path(host).parent if host.startswith("/") else None
    account = "pgserver" if beside else "postgres"
    with tempfile.TemporaryDirectory(prefix="pgbouncer-", dir=beside) as folder:
        Path(folder).chmod(0o755)
        users, ini = Path(folder) / "users.txt", Path(folder) / "pgbouncer.ini"
        users.write_text("".join(f'"{name}" "{secret}"\n' for name, secret in (passwords or TRUSTED).items()))
        values = {"host": host, "server_port": server.get("port", 5432), "port": port, "users": users}
        auth = "scram-sha-256" if passwords else "trust"
        ini.write_text(CONFIGURATION.format(**values, mode=mode, size=size, auth=auth))
        as_user = ["-u", account] if os.geteuid() == 0 else []  # it does not run as root
        with (Path(folder) / "log").open("wb") as log:
            process = subprocess.Popen([PROGRAM, *as_user, str(ini)], stdout=log, stderr=log)
        try:
            pooled = make_conninfo(conninfo, host="127.0.0.1", port=port)
            pooled = pooled if passwords else make_conninfo(pooled, user="postgres")
            _wait(pooled, Path(folder) / "log", process)
            yield pooled
        finally:
            process.kill()
            process.wait()


def _wait(pooled: str, log: Path, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 10
    while True:
        assert process.poll() is None, log.read_text()
        try:
            psycopg.connect(pooled, connect_timeout=2).close()
        except psycopg.OperationalError:
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.02)
        else:
            return
