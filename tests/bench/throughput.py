"""`python -m tests.bench.throughput` shows what part of a key's tokens a minute a sync uses, and that it never
uses more: against a model server that counts over every window and answers 429 to what is too much."""

from __future__ import annotations

import json
import multiprocessing
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

import click
from rich.console import Console
from rich.table import Table

from pgfolio.config.loading import load_settings
from pgfolio.flows.ingest.pipeline import SyncRun
from pgfolio.flows.run.options import Options
from pgfolio.schema.corpus import sources
from pgfolio.schema.database.connect import connect, database
from tests.bench import corpus
from tests.bench.room import new_room
from tests.environment import without_settings
from tests.fakes.openai_server import KEY

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


ROOT = Path(__file__).resolve().parents[2]
ERR = Console(stderr=True, highlight=False)
FILE_TOKENS = 950
"""Of one file of the corpus, as the server counts."""


@dataclass(frozen=True)
class Server:
    """What the model server allows and how fast it answers."""

    tokens: int
    latency: float
    in_flight: int
    tells: bool


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--minutes", type=click.FloatRange(0.1), default=2.5, show_default=True, help="Of each round.")
@click.option("--tokens-per-minute", type=click.IntRange(1000), default=1_000_000, show_default=True)
@click.option(
    "--latency", type=click.FloatRange(0), default=0.15, show_default=True, help="Seconds an answer."
)
@click.option("--workers", type=click.IntRange(1), default=4, show_default=True, help="Requests in flight.")
@click.option("--tells", is_flag=True, help="The limit is not set: the server's headers tell it.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
def main(
    *, minutes: float, tokens_per_minute: int, latency: float, workers: int, tells: bool, as_json: bool
) -> None:
    """Sync for some minutes at a limit of tokens a minute: one sync alone, then two that share the key.

    Uses a Postgres of its own and removes everything it made.
    """
    without_settings()
    room = new_room()
    server = Server(tokens_per_minute, latency, workers, tells)
    rounds = _measured(room, server, minutes)
    if as_json:
        print(json.dumps(rounds))
    else:
        Console(highlight=False).print(_table(rounds))


def _measured(room: Path, server: Server, minutes: float) -> list[dict[str, Any]]:
    files = int(server.tokens * minutes / FILE_TOKENS)
    with ERR.status("generating documents"):
        corpus.write_markdown(room / "all", files * 2)
        folders = _dealt(room / "all", room)
    settings = load_settings(home=room / "home")
    settings.home.mkdir()
    rounds = []
    with database(settings) as conninfo:
        for name, chosen in (("one sync", folders[:1]), ("two syncs that share the key", folders[1:])):
            with ERR.status(f"measuring: {name}"), _model_server(server) as url:
                began = time.monotonic()
                runs = _synced(conninfo, url, server, chosen)
                stats = json.loads(urlopen(f"{url.removesuffix('/v1')}/stats").read())  # noqa: S310 -- loopback
                rounds.append(_round(name, server, stats, runs, time.monotonic() - began))
    return rounds


def _dealt(whole: Path, room: Path) -> list[Path]:
    """Half of the documents in one folder, a quarter in each of two more: no text is in two of them."""
    folders = [room / name for name in ("alone", "first", "second")]
    for number, part in enumerate(sorted(whole.rglob("*.md"))):
        target = folders[(0, 1, 0, 2)[number % 4]] / part.parent.name / part.name
        target.parent.mkdir(parents=True, exist_ok=True)
        part.rename(target)
    return folders


@contextmanager
def _model_server(server: Server) -> Iterator[str]:
    """Its URL. A process of its own: it must not share the interpreter with what it measures."""
    options = ["--tokens", str(server.tokens), "--latency", str(server.latency)]
    with subprocess.Popen(
        [sys.executable, "-m", "tests.fakes.openai_server", *options, *(["--tells"] if server.tells else [])],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def _synced(conninfo: str, url: str, server: Server, folders: Sequence[Path]) -> list[dict[str, float]]:
    """One process for each folder, all at once."""
    with ProcessPoolExecutor(len(folders), mp_context=multiprocessing.get_context("spawn")) as pool:
        work = [pool.submit(_sync, conninfo, url, server, folder) for folder in folders]
        return [each.result() for each in work]


def _sync(conninfo: str, url: str, server: Server, folder: Path) -> dict[str, float]:
    embedding = {
        "provider": "openai",
        "model": "tiny-embedding",
        "dimensions": 64,
        "batch_inputs": 2048,
        "in_flight": server.in_flight,
        "tokens_per_minute": 0 if server.tells else server.tokens,
    }
    settings = load_settings(
        database_url=conninfo, openai_api_key=KEY, openai_base_url=url, embedding=embedding
    )
    with connect(conninfo) as connection:
        source = sources.ensure_source(connection, str(folder), name=folder.name)
    run = SyncRun(settings, conninfo, Options())
    with run.recorded("sync") as connection:
        run.execute(connection, [source], lambda _, work, *arguments: work(*arguments))
    documents = run.report.documents
    return {
        "working": run.report.embedding["seconds"],
        "limited": run.report.embedding["rate_limited"],
        "added": documents.added,
        "failed": documents.failed,
        "tokens": run.report.tokens,
    }


def _round(
    name: str, server: Server, stats: dict[str, Any], runs: Sequence[dict[str, float]], seconds: float
) -> dict[str, Any]:
    # The time begins with the first request, whose tokens are therefore not of it.
    used = (stats["tokens"] - stats["first_tokens"]) / max(stats["seconds"], 1e-9) * 60
    return {
        "name": name,
        "allowed": server.tokens,
        "used_percent": 100 * used / server.tokens,
        "fullest_minute_percent": 100 * stats["most_in_a_window"] / server.tokens,
        "rate_limited": stats["refused"],
        "limited_percent": [100 * run["limited"] / run["working"] for run in runs],
        "requests": stats["requests"],
        "tokens": stats["tokens"],
        "seconds": stats["seconds"],
        "seconds_with_start": seconds,
        "documents": sum(run["added"] for run in runs),
        "failed": sum(run["failed"] for run in runs),
    }


def _table(rounds: Sequence[dict[str, Any]]) -> Table:
    table = Table(
        "", "allowed a minute", "used", "fullest minute", "429s", "the limit was the bottleneck", box=None
    )
    for heading in ("requests", "seconds", "documents"):
        table.add_column(heading, justify="right")
    for each in rounds:
        table.add_row(
            each["name"],
            f"{each['allowed']:,}",
            f"{each['used_percent']:.1f}%",
            f"{each['fullest_minute_percent']:.1f}%",
            str(each["rate_limited"]),
            ", ".join(f"{percent:.1f}% of the time" for percent in each["limited_percent"]),
            str(each["requests"]),
            f"{each['seconds']:.0f}",
            f"{each['documents']:.0f}",
        )
    return table


if __name__ == "__main__":
    main()
