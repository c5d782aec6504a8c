"""The Prefect server and the schedule that `up` starts, and where to find a server that runs already.

Whoever may start a flow run reads folders as the user of `up`. So our server asks for a password, which is made anew
at each start and stands in a file that only its user reads, and answers to no page but its own.
"""

from __future__ import annotations

import json
import os
import secrets
from typing import TYPE_CHECKING, NamedTuple

import psutil

from pgfolio.config.environment import prefect_api_url
from pgfolio.flows.local.network import answers, free_port

if TYPE_CHECKING:
    from pathlib import Path

    from pgfolio.flows.local.processes import Children

SERVER = "prefect"
SCHEDULE = "schedule"
QUIET = {"DO_NOT_TRACK": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "PREFECT_LOGGING_LEVEL": "WARNING"}


class PrefectApi(NamedTuple):
    """`password`: Prefect's auth string, of a server that `up` started; without one the environment may have it."""

    url: str
    password: str | None = None

    @property
    def environment(self) -> dict[str, str]:
        """What a client of it is started with."""
        ours = {"PREFECT_API_AUTH_STRING": self.password} if self.password else {}
        return {**QUIET, "PREFECT_API_URL": self.url, **ours}


def start_schedule(started: Children, home: Path, every: int) -> PrefectApi:
    """The schedule as a Prefect deployment, on the configured Prefect API or on a server of our own on loopback."""
    url = prefect_api_url()
    here = {"TMPDIR": str(temporary_folder(home))}
    api = _start_server(started, home, here) if url is None else PrefectApi(url)
    started.start(SCHEDULE, "pgfolio.flows.schedule", str(every), environment={**here, **api.environment})
    return api


def temporary_folder(home: Path) -> Path:
    """Prefect keeps its runner's files under one name in the system's temporary folder, where a second user of the
    machine has no permission."""
    folder = home / "tmp"
    folder.mkdir(exist_ok=True, mode=0o700, parents=True)
    return folder


def _start_server(started: Children, home: Path, environment: dict[str, str]) -> PrefectApi:
    port = free_port("127.0.0.1", 0)
    address = f"http://127.0.0.1:{port}"
    api = PrefectApi(f"{address}/api", f"pgfolio:{secrets.token_urlsafe(24)}")
    folder = home / "prefect"
    folder.mkdir(exist_ok=True, mode=0o700)
    ours = {
        **api.environment,
        **environment,
        "PREFECT_HOME": str(folder),
        "PREFECT_SERVER_API_AUTH_STRING": api.password or "",
        "PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS": address,
        "PREFECT_SERVER_UI_API_URL": api.url,
    }
    arguments = ["server", "start", "--host", "127.0.0.1", "--port", str(port)]
    started.start(SERVER, "prefect", *arguments, environment=ours)
    started.wait_for(SERVER, f"{api.url}/health")
    # Its maker stands in it, by process and start, so that no password is sent to who takes the port afterwards.
    known = {
        "url": api.url,
        "auth": api.password,
        "pid": os.getpid(),
        "started": psutil.Process().create_time(),
    }
    _write_private(state_file(home), json.dumps(known))
    return api


def forget_schedule(home: Path) -> None:
    state_file(home).unlink(missing_ok=True)


def running_prefect(home: Path) -> PrefectApi | None:
    """A Prefect API that answers: the configured one, or that of a running `up`."""
    url = prefect_api_url()
    api = _of_running_up(home) if url is None else PrefectApi(url)
    return api if api and answers(f"{api.url.rstrip('/')}/health", timeout=2.0) else None


def state_file(home: Path) -> Path:
    return home / "prefect.json"


def _of_running_up(home: Path) -> PrefectApi | None:
    try:
        known = json.loads(state_file(home).read_text())
        if psutil.Process(int(known["pid"])).create_time() != known["started"]:
            return None
        return PrefectApi(str(known["url"]), str(known["auth"]))
    except (OSError, ValueError, KeyError, TypeError, psutil.Error):
        return None


def _write_private(file: Path, text: str) -> None:
    file.unlink(missing_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as private:
        private.write(text)
