"""`python -m tests.bench.upgrade`: clients search all the time by HTTP while `pgfolio up --model` fills a better
space in the background, whose process is killed on the way, and takes it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click
import httpx
import psutil
from rich.console import Console

from pgfolio.config.loading import load_settings
from pgfolio.schema.database.connect import database
from tests.bench import corpus
from tests.bench.reembedding import (
    CHUNKS_A_FILE,
    ERR,
    IN_FLIGHT,
    ROOT,
    Clients,
    PhaseLine,
    Truth,
    line,
    process_of,
    queries_of,
    table,
)
from tests.bench.room import new_room
from tests.environment import without_settings
from tests.fakes.openai_server import KEY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KILLED_AT = (1 / 3, 2 / 3)
"""Parts of the texts after which the process in the background is killed."""

SETTLING_SECONDS = 3.0
"""Seconds after a start that are not measured."""


@dataclass
class UpgradeBench:
    """A folder, and the environment that `up` has."""

    conninfo: str
    folder: Path
    environment: dict[str, str]
    server: str
    port: int
    clients: int
    pause: float
    searching: list[Clients] = field(default_factory=list)
    phases: list[tuple[str, float, float]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @contextmanager
    def up(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """Until it serves and has synced; searched by the clients inside."""
        command = [sys.executable, "-m", "pgfolio.flows", "up", os.fspath(self.folder), "--every", "0"]
        log = self.folder.parent / "up.log"
        with log.open("w") as output:
            process = subprocess.Popen(
                [*command, "--port", str(self.port), *arguments],
                env=self.environment,
                stdout=output,
                stderr=output,
                text=True,
            )
            try:
                while "Ctrl-C stops everything" not in log.read_text():
                    if process.poll() is not None:
                        raise RuntimeError(log.read_text())
                    time.sleep(0.05)
                asking = Clients(self.url, queries_of(self.folder), self.pause)
                self.searching.append(asking)
                with asking.searching(self.clients):
                    yield process
            finally:
                process.send_signal(signal.SIGINT)
                process.wait(30)
                self.said += log.read_text().splitlines()

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        self.phases.append((name, began, time.monotonic()))

    def lines(self) -> list[PhaseLine]:
        truth = Truth(self.conninfo)
        answers = [answer for one in self.searching for answer in one.answers]
        return [
            line(name, [a for a in answers if start <= a.at < end], truth, end - start)
            for name, start, end in self.phases
        ]

    def status(self) -> dict[str, Any]:
        upgrade: dict[str, Any] = httpx.get(f"{self.url}/status", timeout=60).json()["upgrade"] or {}
        return upgrade

    def told(self, what: str) -> Any:
        return httpx.get(f"{self.server}/{what}", timeout=60).json()


def run(bench: UpgradeBench, still: float, model: list[str]) -> dict[str, Any]:
    """Idle, then meanwhile, then after the switch; returns what is known beside the searches."""
    with bench.up():
        time.sleep(SETTLING_SECONDS)
        with bench.phase("idle"):
            time.sleep(still)
    began = time.monotonic()
    with bench.up(*model) as process:
        searchable = time.monotonic() - began
        with bench.phase("meanwhile"):
            seen = _watched(bench, process.pid)
        with bench.phase("after the switch"):
            time.sleep(still)
        status = bench.status()
    return {
        "kills": len(seen),
        "status_at_kills": seen,
        "status": status,
        "up_until_searchable_s": round(searchable, 1),
        "filled_s": round(bench.phases[-2][2] - bench.phases[-2][1], 1),
        "server": bench.told("stats") if bench.server else None,
        "requests_paid_twice": bench.told("paid-twice")["requests"] if bench.server else None,
        "in_flight": IN_FLIGHT,
    }


def _watched(bench: UpgradeBench, pid: int) -> list[dict[str, Any]]:
    """Until it is taken; kills the process at the parts that are to be killed at. Returns the status before each."""
    seen: list[dict[str, Any]] = []
    while (status := bench.status()).get("state") != "taken":
        if status.get("state") in {"refused", "failed"}:
            raise RuntimeError(status["reason"])
        total = max(status.get("chunks_total", 0), 1)
        if len(seen) < len(KILLED_AT) and status.get("chunks", 0) / total >= KILLED_AT[len(seen)]:
            for child in psutil.Process(pid).children():
                if "pgfolio.flows.upgrade" in child.cmdline():
                    child.kill()
                    seen.append(status)
        time.sleep(1.0)
    return seen


@contextmanager
def opened(
    room: Path, files: int, port: int, clients: int, pause: float, tokens: int
) -> Iterator[UpgradeBench]:
    folder = room / "documents"
    corpus.write_markdown(folder, files)
    plain = {**os.environ, "PYTHONPATH": os.fspath(ROOT / ".src"), "PGFOLIO_HOME": os.fspath(room / "home")}
    settings = load_settings(home=room / "home")
    settings.home.mkdir()
    with (
        database(settings) as conninfo,
        process_of("tests.fakes.openai_server", "--latency", "0.1", environment=plain) as server,
    ):
        environment = {
            **plain,
            "PGFOLIO_DATABASE_URL": conninfo,
            "PGFOLIO_CHUNKING__TOKENS": str(tokens),
            "PGFOLIO_CHUNKING__OVERLAP": "8",
            "PGFOLIO_EMBEDDING__IN_FLIGHT": str(IN_FLIGHT),
            "PGFOLIO_EMBEDDING__BATCH_INPUTS": "128",
            "OPENAI_API_KEY": KEY,
            "OPENAI_BASE_URL": f"{server}/v1",
        }
        yield UpgradeBench(conninfo, folder, environment, server, port, clients, pause)


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--chunks", type=click.IntRange(100), default=20_000, show_default=True)
@click.option("--clients", type=click.IntRange(1), default=1, show_default=True)
@click.option(
    "--pause", type=float, default=0.05, show_default=True, help="Seconds between a client's searches."
)
@click.option(
    "--still", type=float, default=20.0, show_default=True, help="Seconds idle, and after the switch."
)
@click.option("--port", type=click.IntRange(1024, 65535), default=8765, show_default=True)
@click.option("--tokens", type=int, default=96, show_default=True, help="Of a chunk.")
@click.option("--model", default="text-embedding-3-small", show_default=True)
@click.option(
    "--provider", type=click.Choice(["local", "transformers", "openai"]), help="Default: by its name."
)
@click.option("--dimensions", type=int, help="Fewer than the model's own.")
@click.option("--niceness", type=click.IntRange(0, 19), default=10, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
def main(
    *,
    chunks: int,
    clients: int,
    pause: float,
    still: float,
    port: int,
    tokens: int,
    model: str,
    provider: str | None,
    dimensions: int | None,
    niceness: int,
    as_json: bool,
) -> None:
    """Fill a better space in the background under search, and kill that twice."""
    without_settings()
    named = {"--model": model, "--provider": provider, "--dimensions": dimensions}
    arguments = [f"{name}={value}" for name, value in named.items() if value]
    room = new_room()
    with opened(room, -(-chunks // CHUNKS_A_FILE), port, clients, pause, tokens) as bench:
        bench.environment["PGFOLIO_UPGRADE__NICENESS"] = str(niceness)
        with ERR.status("filling the better space"):
            notes = run(bench, still, arguments)
        lines = bench.lines()
    idle, meanwhile = lines[0], lines[1]
    notes["p95_ratio"] = round(meanwhile.p95_ms / idle.p95_ms, 2)
    notes["said"] = [said for said in bench.said if re.match("upgrade|note", said)]
    if as_json:
        print(json.dumps({"lines": [vars(each) for each in lines], **notes}))
        return
    Console(highlight=False, width=160).print(table(lines))
    for name, note in notes.items():
        print(f"{name}: {json.dumps(note)}")


if __name__ == "__main__":
    main()
