"""`pgfolio deploy` and `pgfolio worker`: what a Prefect server runs of ours, and where."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import Final

import click

from pgfolio.config.environment import child_environment, prefect_api_url, variables
from pgfolio.config.errors import ConfigError
from pgfolio.config.loading import load_settings
from pgfolio.flows.cli import render
from pgfolio.flows.local.network import ChildError, answers
from pgfolio.flows.local.prefect_server import QUIET, temporary_folder
from pgfolio.schema.corpus.sources import list_sources
from pgfolio.schema.database.connect import connect, database
from pgfolio.schema.database.errors import DatabaseError
from pgfolio.schema.database.programs import BundledPostgresError

SHIPPED: Final = files("pgfolio") / "prefect.yaml"
POOL: Final = "pgfolio"
POLL_SECONDS: Final = 2
"""Seconds between two looks of our worker for runs that are due, where the environment does not say; Prefect's
own are 10, of which a run that is started by hand waits 5."""


@click.command()
@click.option(
    "--write",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write them to FILE instead, to be edited and applied with `prefect deploy --all --prefect-file FILE`.",
)
@click.option(
    "--notify",
    metavar="BLOCK",
    help="A notification block of the server, as in slack-webhook/ops: it is told of runs that failed, of what stays "
    "undone, and of syncs that no longer come.",
)
def deploy(*, write: Path | None, notify: str | None) -> int:
    """Make the deployments, their work pool and the automations on your Prefect server.

    One deployment of each flow, and one of `sync` for each source. The server is the one that PREFECT_API_URL or
    Prefect's active profile names. What was changed there is set back, but for schedules that you gave to a single
    source: to keep your own, write the file, edit it and apply that.
    """
    if write is not None:
        _write(write)
        return 0
    url = _api_url()
    if notify is not None and "/" not in notify:
        raise ConfigError(f"--notify {notify}: a block is named KIND/NAME, as in slack-webhook/ops")
    arguments = {"sources": _source_names(), "notify": notify}
    done = subprocess.run(
        [sys.executable, "-m", "pgfolio.flows.orchestration.deployments"],
        env=child_environment(**QUIET),
        input=json.dumps(arguments),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ChildError(f"{url} refused: {_last_line(done.stderr)}")
    for name in json.loads(done.stdout):
        render.OUT.print(name, markup=False)
    render.say(f"deployed to {url}; run them with `pgfolio worker`, wherever pgfolio is installed")
    return 0


@click.command()
@click.option("--pool", default=POOL, show_default=True, help="The work pool whose runs are taken.")
@click.option(
    "--limit", type=click.IntRange(min=1), metavar="N", help="Runs at a time. Default: as many as come."
)
@click.option("--with-healthcheck", is_flag=True, help="Answer on port 8080 at /health, for a supervisor.")
def worker(*, pool: str, limit: int | None, with_healthcheck: bool) -> None:
    """Run what your Prefect server starts, here, until Ctrl-C.

    The server is the one that PREFECT_API_URL or Prefect's active profile names; `pgfolio deploy` comes first.
    """
    _api_url()
    given = variables()
    environment = {
        **QUIET,
        "PREFECT_LOGGING_LEVEL": "INFO",
        "PREFECT_WORKER_QUERY_SECONDS": str(POLL_SECONDS),
        "TMPDIR": str(temporary_folder(load_settings().home)),
        **given,
    }
    arguments = ["-m", "pgfolio.flows.orchestration.worker", pool, str(limit or 0)]
    arguments += ["--with-healthcheck"] if with_healthcheck else []
    # In this process's place, so that signals and the exit code are its own.
    os.execve(sys.executable, [sys.executable, *arguments], child_environment(**environment))  # noqa: S606


def _api_url() -> str:
    """Of a server that answers. Raises ConfigError or ChildError."""
    url = prefect_api_url()
    if url is None:
        raise ConfigError(
            "no Prefect API is configured: set PREFECT_API_URL, or write the deployments to a file with "
            "`pgfolio deploy --write prefect.yaml`"
        )
    if not answers(f"{url.rstrip('/')}/health", timeout=5.0):
        raise ChildError(f"the Prefect API {url} does not answer: start it with `prefect server start`")
    return url


def _source_names() -> list[str] | None:
    """None where the database does not say: then deployments of single sources stay as they are."""
    try:
        with database(load_settings()) as conninfo, connect(conninfo) as connection:
            return [source.name for source in list_sources(connection) if source.kind != "pushed"]
    except (DatabaseError, BundledPostgresError) as error:
        render.show_note(f"the deployments of single sources are left as they are: {error}")
        return None


def _last_line(text: str) -> str:
    """Of a traceback: the error."""
    return text.strip().splitlines()[-1][-500:] if text.strip() else "it does not say why"


def _write(file: Path) -> None:
    try:
        with file.open("xb") as target:
            target.write(SHIPPED.read_bytes())
    except FileExistsError as error:
        raise ConfigError(f"{file} is there already: name another file, or remove it first") from error
    except OSError as error:
        raise ConfigError(f"cannot write {file}: {error.strerror}") from error
    render.say(f"written: {file}; apply it with `prefect deploy --all --prefect-file {file}`")
