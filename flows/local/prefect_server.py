"""The Prefect server and the schedule that `up` starts, and where to find a server that runs already."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from pgfolio.config.environment import prefect_api_url
from pgfolio.flows.local.network import answers, free_port

if TYPE_CHECKING:
    from pathlib import Path

    from pgfolio.flows.local.processes import Children

QUIET = {"DO_NOT_TRACK": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "PREFECT_LOGGING_LEVEL": "WARNING"}


def start_schedule(started: Children, home: Path, every: int) -> str:
    """The schedule as a Prefect deployment, on the configured Prefect API or on a server of our own on loopback.
    Returns the API's address."""
    url = prefect_api_url()
    # Prefect keeps its runner's files under one name in the system's temporary folder, where a second user of
    # the machine has no permission.
    temporary = home / "tmp"
    temporary.mkdir(exist_ok=True)
    environment = {**QUIET, "TMPDIR": str(temporary)}
    if url is None:
        port = free_port("127.0.0.1", 0)
        url = f"http://127.0.0.1:{port}/api"
        environment["PREFECT_HOME"] = str(home / "prefect")
        arguments = ["server", "start", "--host", "127.0.0.1", "--port", str(port)]
        started.start("prefect", "prefect", *arguments, environment=environment)
        started.wait_for(f"{url}/health", "the Prefect server")
        _state(home).write_text(json.dumps({"url": url, "pid": os.getpid()}))
    started.start(
        "schedule", "pgfolio.flows.schedule", str(every), environment={**environment, "PREFECT_API_URL": url}
    )
    return url


def forget_schedule(home: Path) -> None:
    _state(home).unlink(missing_ok=True)


def running_prefect(home: Path) -> str | None:
    """A Prefect API that answers: the configured one, or that of a running `up`."""
    url = prefect_api_url()
    if url is None:
        try:
            url = str(json.loads(_state(home).read_text())["url"])
        except (OSError, ValueError, KeyError):
            return None
    return url if answers(f"{url.rstrip('/')}/health", timeout=2.0) else None


def _state(home: Path) -> Path:
    return home / "prefect.json"
