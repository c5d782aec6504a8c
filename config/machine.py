"""What the machine has."""

from __future__ import annotations

import os
import socket


def cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def host_name() -> str:
    """Of this machine among those that work for the same database."""
    return socket.gethostname()
