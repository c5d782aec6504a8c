"""Low priority: of this process, and of PostgreSQL's processes that work for it."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pgfolio.schema.database.statements import statement

if TYPE_CHECKING:
    import psycopg

SERVER_PROCESS: Final = "postgres"


def lower(by: int) -> None:
    """Of this process, and of those that it starts, from now on; 10: a tenth of a core that others want too, 19: a
    fiftieth (sched(7))."""
    if by and hasattr(os, "nice"):
        _lower_group(os.getpid(), os.nice(by))


def niceness() -> int:
    """Above 0: low."""
    return os.getpriority(os.PRIO_PROCESS, 0) if hasattr(os, "getpriority") else 0


def pass_on(connection: psycopg.Connection[Any]) -> None:
    """Where ours is low, the process that works for this connection has it too, if it is on this machine and ours to
    tell, and lets no others help."""
    if (own := niceness()) <= 0:
        return
    connection.execute(statement("work_alone"))
    connection.commit()
    if not connection.info.host.startswith("/"):  # elsewhere, or not known to be here
        return
    import psutil  # noqa: PLC0415 -- 10 ms that no other connection needs

    # Through a socket from a container a process of that number may be another one.
    with suppress(psutil.Error, OSError):
        server = psutil.Process(connection.info.backend_pid)
        if server.name() == SERVER_PROCESS and server.nice() < own:
            server.nice(own)
            _lower_group(server.pid, own)


def _lower_group(pid: int, niceness: int) -> None:
    """Where Linux shares cores among sessions first (sched(7), autogroup), a process's own priority counts only
    within its session: one that leads its own has that lowered too."""
    group = Path(f"/proc/{pid}/autogroup")
    with suppress(OSError):
        if group.exists() and os.getsid(pid) == pid:
            group.write_text(str(niceness))
