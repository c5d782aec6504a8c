"""Runs `pgfolio` and `python -m pgfolio.query_api`, each time in a process of its own that has its modules already:
starting Python and loading them takes most of a command's time. That they start from nothing is seen where tests
start them themselves. What `pgfolio` passes on to the query side starts anew.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

SOURCES = Path(__file__).resolve().parents[1] / ".src"
MAX_SECONDS = 60
SERVER = f"""
import json, os, signal, sys
import kreuzberg, openai, wordllama
import pgfolio.config.models.wordllama, pgfolio.flows.extraction.extract
import pgfolio.flows.cli.keys, pgfolio.flows.cli.runs, pgfolio.flows.cli.sources, pgfolio.flows.cli.status
import pgfolio.query_api.services, pgfolio.query_api.cli.render, pgfolio.query_api.cli.render_quality
import pgfolio.query_api.evaluation.answers, pgfolio.query_api.evaluation.made_queries
from pgfolio.flows.cli.commands import main
from pgfolio.query_api.cli.commands import main as main_of_reading
for line in sys.stdin:
    job = json.loads(line)
    if not (child := os.fork()):
        signal.alarm({MAX_SECONDS})
        os.chdir(job["folder"])
        os.environ.clear()
        os.environ.update(job["environment"])
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for number, name in ((1, "stdout"), (2, "stderr")):
            os.dup2(os.open(job[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        sys.argv = ["pgfolio", *job["arguments"]]
        (main_of_reading if job["program"] == "query_api" else main)()
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""

Done = subprocess.CompletedProcess[str]
_TURN = threading.Lock()


def pgfolio(*arguments: str, environment: Mapping[str, str], folder: Path | None = None) -> Done:
    """What `pgfolio ARGUMENTS` does in that folder and environment. After a minute it is killed."""
    return _run("pgfolio", arguments, environment, folder)


def query_api(*arguments: str, environment: Mapping[str, str], folder: Path | None = None) -> Done:
    """What `python -m pgfolio.query_api ARGUMENTS` does, as above."""
    return _run("query_api", arguments, environment, folder)


def _run(
    program: str, arguments: tuple[str, ...], environment: Mapping[str, str], folder: Path | None
) -> Done:
    server = _server()
    assert server.stdin is not None
    assert server.stdout is not None
    with tempfile.TemporaryDirectory() as made, _TURN:
        outputs = {name: Path(made) / name for name in ("stdout", "stderr")}
        job = {
            "program": program, "arguments": arguments,
            "folder": str(folder or Path.cwd()), "environment": dict(environment),
            **{name: str(file) for name, file in outputs.items()},
        }  # fmt: skip
        server.stdin.write(json.dumps(job) + "\n")
        server.stdin.flush()
        code = int(server.stdout.readline())
        return Done([program, *arguments], code, *(file.read_text() for file in outputs.values()))


@functools.cache
def _server() -> subprocess.Popen[str]:
    """Ends with its input, which ends with this process."""
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(SOURCES)},
    )
    atexit.register(server.communicate)
    return server
