"""`pgfolio deploy`: the deployments that ship with the package, applied to a Prefect API or written to a file."""

from __future__ import annotations

import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import click
import yaml

from pgfolio.config.environment import child_environment, prefect_api_url
from pgfolio.config.errors import ConfigError
from pgfolio.flows.cli import render
from pgfolio.flows.local.network import ChildError, answers
from pgfolio.flows.local.prefect_server import QUIET

SHIPPED: Final = files("pgfolio") / "prefect.yaml"


@click.command()
@click.option(
    "--write",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write them to FILE instead, to be edited and applied with `prefect deploy --all --prefect-file FILE`.",
)
def deploy(*, write: Path | None) -> int:
    """Make the deployments of both flows, and their work pool, on your Prefect server.

    The server is the one that PREFECT_API_URL or Prefect's active profile names. A schedule or a limit that was
    changed there is set back: to keep your own, write the file, edit it and apply that.
    """
    if write is not None:
        _write(write)
        return 0
    url = prefect_api_url()
    if url is None:
        raise ConfigError(
            "no Prefect API is configured: set PREFECT_API_URL, or write the deployments to a file with "
            "`pgfolio deploy --write prefect.yaml`"
        )
    if not answers(f"{url.rstrip('/')}/health", timeout=5.0):
        raise ChildError(f"the Prefect API {url} does not answer: start it with `prefect server start`")
    for pool in sorted(_pools()):
        if _prefect("work-pool", "inspect", pool).returncode:
            _checked("work-pool", "create", pool, "--type", "process")
    with TemporaryDirectory(prefix="pgfolio-deploy-") as folder:
        (Path(folder) / "prefect.yaml").write_bytes(SHIPPED.read_bytes())
        _checked("--no-prompt", "deploy", "--all", folder=folder)
    render.say(
        f"deployed to {url}; run them with `prefect worker start --pool {min(_pools())} --type process` where "
        "pgfolio is installed"
    )
    return 0


def _write(file: Path) -> None:
    try:
        with file.open("xb") as target:
            target.write(SHIPPED.read_bytes())
    except FileExistsError as error:
        raise ConfigError(f"{file} is there already: name another file, or remove it first") from error
    except OSError as error:
        raise ConfigError(f"cannot write {file}: {error.strerror}") from error
    render.say(f"written: {file}; apply it with `prefect deploy --all --prefect-file {file}`")


def _pools() -> set[str]:
    deployments = yaml.safe_load(SHIPPED.read_text(encoding="utf-8"))["deployments"]
    return {deployment["work_pool"]["name"] for deployment in deployments}


def _prefect(*arguments: str, folder: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "prefect", *arguments],
        cwd=folder,
        env=child_environment(**QUIET),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def _checked(*arguments: str, folder: str | None = None) -> None:
    done = _prefect(*arguments, folder=folder)
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split())[-500:]
        raise ChildError(f"`prefect {' '.join(arguments)}` failed: {said}")
