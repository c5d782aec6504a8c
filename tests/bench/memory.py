"""What processes that work together have in memory."""

from __future__ import annotations

import psutil

MEGABYTE = 1 << 20


def shared_out_mb(pid: int | None = None) -> float:
    """Of a process (None: this one) and all below it but for PostgreSQL's; pages that several have count once."""
    parent = psutil.Process(pid)
    total = 0
    for process in [parent, *parent.children(recursive=True)]:
        try:
            if "postgres" not in process.name():
                total += process.memory_full_info().pss
        except psutil.Error:
            continue
    return total / MEGABYTE
