"""The server process of the bundled Postgres: its programs, whose folder it serves, starting and stopping it.

- It is started as itself, by no shell and no `pg_ctl`, whose patience with a server that recovers is ten seconds.
- Whether a running server is ours is told by the folder that it works in: `postmaster.pid` may have been copied with
  the folder, or name a process of today under a number of yesterday. The file itself is left to PostgreSQL, which
  sees in it whether processes of a killed server still write.
- PostgreSQL does not run as root. As root it gets a system user, who needs no way through folders that are not ours
  to open: it is started inside of its data folder and knows it as /proc/self/cwd.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import signal
import socket
import stat
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psutil
import psycopg
from psycopg.conninfo import make_conninfo

from pgfolio.config.environment import variables
from pgfolio.schema.database.programs import BundledPostgresError, account_of, as_user, programs

if TYPE_CHECKING:
    from pgfolio.schema.database.programs import Account

START_SECONDS: Final = 120.0
STOP_SECONDS: Final = 60.0
MAX_SOCKET_BYTES: Final = 103
"""Of a socket's path: Linux takes 107, a Mac 103."""

SHORT_PLACE: Final = Path("/tmp")  # noqa: S108 -- the same for all processes, whatever their TMPDIR is
SOCKET: Final = ".s.PGSQL.5432"
ORPHANS: Final = "pre-existing shared memory block"
_PREFIX = re.compile(r"^\S+ \S+ \S+ \[\d+\] ")
_STARTED: dict[int, subprocess.Popen[bytes]] = {}
"""Servers that are our children, which nobody else can reap."""


def conninfo(data: Path, database: str) -> str:
    """Through a socket that its own user and root alone can reach."""
    return make_conninfo(host=str(_socket_folder(data)), user="postgres", dbname=database)


def running(data: Path) -> psutil.Process | None:
    """The server that serves this folder. Raises BundledPostgresError where that cannot be told."""
    try:
        pid = int((data / "postmaster.pid").read_text().splitlines()[0])
        process = psutil.Process(pid)
        if child := _STARTED.get(pid):
            child.poll()
        if process.status() == psutil.STATUS_ZOMBIE or "postgres" not in process.name():
            return None
        return process if Path(process.cwd()).samefile(data) else None
    except (OSError, ValueError, IndexError, psutil.NoSuchProcess):
        return None
    except psutil.AccessDenied:
        if _listening(data):
            return process
        raise BundledPostgresError(
            f"process {pid} may be the Postgres of {data}, and belongs to another user: stop it, then try again"
        ) from None


def initialize(data: Path) -> None:
    """Make the data folder, unless it is one. Raises BundledPostgresError."""
    data.mkdir(mode=0o700, exist_ok=True)
    if (data / "PG_VERSION").exists():
        return
    account = account_of(data)
    if account:
        os.chown(data, account.uid, account.gid)
    arguments = [
        "--auth=trust",
        "--encoding=utf8",
        "--username=postgres",
        "-D",
        _folder_argument(data, account),
    ]
    made = subprocess.run(
        [programs(account) / "initdb", *arguments],
        cwd=data,
        env=_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        **as_user(account),
    )
    if made.returncode:
        raise BundledPostgresError(f"the bundled Postgres cannot be set up in {data}: {_reason(made.stderr)}")


def start(data: Path) -> None:
    """Until it takes connections; one that recovers is waited for. The caller keeps others from starting it too.
    Raises BundledPostgresError with the last words of its log."""
    deadline = time.monotonic() + START_SECONDS
    log = data / "log"
    said_before = log.stat().st_size if log.exists() else 0
    while (state := _state(data)) != "ready":
        if time.monotonic() > deadline:
            raise _not_started(log, said_before, f"it is {state} since {START_SECONDS:.0f} s")
        process = running(data)
        if process is None:
            spawned = _spawn(data, log)
            _wait_for(data, spawned, deadline)
            if spawned.poll() is not None and ORPHANS not in _tail(log, said_before):
                raise _not_started(log, said_before, f"it ended with exit code {spawned.returncode}")
        time.sleep(0.05)


def stop(data: Path) -> None:
    """One that recovers is left alone: what it does is needed by whoever comes next."""
    process = running(data)
    if process is None or _state(data) != "ready":
        return
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(signal.SIGINT)  # a fast shutdown
        child = _STARTED.pop(process.pid, None)
        with contextlib.suppress(psutil.TimeoutExpired, subprocess.TimeoutExpired):
            (child or process).wait(STOP_SECONDS)


def own(data: Path, file: Path) -> None:
    """A file of ours that the server must read."""
    if account := account_of(data):
        os.chown(file, account.uid, account.gid)


def _spawn(data: Path, log: Path) -> subprocess.Popen[bytes]:
    _disown(data / "postmaster.pid")
    account = account_of(data)
    folder = _socket_folder(data)
    (folder / f"{SOCKET}.lock").unlink(missing_ok=True)  # nobody listens there
    arguments = [
        "-D",
        _folder_argument(data, account),
        "-h",
        "",
        "-k",
        "." if folder == data else str(folder),
    ]
    with log.open("ab") as output:
        server: subprocess.Popen[bytes] = subprocess.Popen(
            [programs(account) / "postgres", *arguments],
            cwd=data,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            umask=0o077,
            **as_user(account),
        )
    _STARTED[server.pid] = server
    return server


def _wait_for(data: Path, server: subprocess.Popen[bytes], deadline: float) -> None:
    while server.poll() is None and time.monotonic() < deadline and _state(data) != "ready":
        time.sleep(0.02)


def _disown(file: Path) -> None:
    """Of a living process that is not our server PostgreSQL would believe that it is. A number that it takes for its
    own parent's keeps what else the file says: which memory a killed server's processes still use."""
    try:
        lines = file.read_text().splitlines()
    except FileNotFoundError:
        return
    except UnicodeDecodeError:
        lines = []
    if not lines or not lines[0].strip().isdigit():
        file.unlink()
    elif psutil.pid_exists(int(lines[0])):
        file.write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")


def _state(data: Path) -> str:
    """ready; or what it is instead, as "starting up", or "not running"."""
    if not _listening(data):
        return "not running"
    try:
        psycopg.connect(conninfo(data, "postgres"), connect_timeout=2).close()
    except psycopg.OperationalError as error:
        return str(error).strip().rpartition("the database system is ")[2].splitlines()[0]
    return "ready"


def _listening(data: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(2)
        try:
            probe.connect(str(_socket_folder(data) / SOCKET))
        except OSError:
            return False
        return True


def _socket_folder(data: Path) -> Path:
    """The data folder, into which nobody else sees; or, where that makes too long a path, one like it in a short
    place. Raises BundledPostgresError where somebody else has made that."""
    if len(os.fsencode(data / SOCKET)) <= MAX_SOCKET_BYTES:
        return data
    name = hashlib.sha256(os.fsencode(data.resolve())).hexdigest()[:16]
    folder, owner = SHORT_PLACE / f"pgfolio-{name}", data.stat()
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
        os.chown(folder, owner.st_uid, owner.st_gid)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != owner.st_uid or found.st_mode & 0o077:
        raise BundledPostgresError(
            f"{folder}, where the bundled Postgres would listen, is not ours alone: remove it, or set PGFOLIO_HOME "
            "to a shorter path"
        )
    return folder


def _folder_argument(data: Path, account: Account | None) -> str:
    return "/proc/self/cwd" if account else str(data)


def _environment() -> dict[str, str]:
    """Without what would speak to PostgreSQL in our stead."""
    return {name: value for name, value in variables().items() if not name.startswith("PG")}


def _not_started(log: Path, offset: int, otherwise: str) -> BundledPostgresError:
    reason = _reason(_tail(log, offset)) or otherwise
    return BundledPostgresError(f"the bundled Postgres did not start: {reason}; its log is {log}")


def _tail(log: Path, offset: int) -> str:
    try:
        with log.open("rb") as file:
            file.seek(max(offset, log.stat().st_size - 8192))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""


def _reason(said: str) -> str:
    """The last line that says what is wrong, or else the last."""
    lines = [_PREFIX.sub("", line).strip() for line in said.splitlines() if line.strip()]
    for full in ("No space left on device", "Disk quota exceeded"):
        if full in said:
            return f"the disk is full ({full})"
    wrong = [line for line in lines if re.match(r"(?:FATAL|PANIC|ERROR|initdb: error|.*: error):", line)]
    return (wrong or lines or [""])[-1]
