"""`python -m tests.bench.remote` measures a sync of a bucket that finds nothing to do against the bare listing, page
by page, of the same client, on a server of S3 in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click
import obstore
from obstore.store import S3Store
from rich.console import Console

from pgfolio.config.loading import load_settings
from pgfolio.flows.discovery.sources import selected_sources
from pgfolio.flows.ingest.pipeline import run_sync
from pgfolio.flows.run.options import Options
from pgfolio.schema.database.connect import connect, database
from tests.bench.ratio import compare
from tests.bench.room import new_room
from tests.environment import without_settings
from tests.flows.remote.s3_server import BUCKET, s3_server

if TYPE_CHECKING:
    from pgfolio.config.settings import Settings

OUT = Console(highlight=False)
URL = f"s3://{BUCKET}/docs"


def serve(objects: int) -> None:
    """Until standard input ends; the address is on standard output."""
    with s3_server() as (bucket, endpoint):
        for n in range(objects):
            bucket.put(f"docs/{n // 100:04}/page {n}.md", f"# Page {n}\n\nThe page about the number {n}.\n")
        print(endpoint, flush=True)
        sys.stdin.read()


@click.command()
@click.option("--objects", default=20_000, show_default=True)
@click.option("--repeat", default=3, show_default=True)
@click.option("--serve", "serving", is_flag=True, hidden=True)
def main(objects: int, repeat: int, *, serving: bool) -> None:
    """First sync, then syncs without a change beside bare listings."""
    if serving:
        serve(objects)
        return
    without_settings()
    command = [sys.executable, "-m", "tests.bench.remote", "--serve", "--objects", str(objects)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        endpoint = server.stdout.readline().strip()
        os.environ |= {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y", "AWS_ENDPOINT_URL": endpoint}
        settings = load_settings(home=Path(new_room()) / "home")
        settings.home.mkdir()
        with database(settings) as conninfo:
            OUT.print(f"{objects:,} objects: first sync {_synced(settings, conninfo):.1f} s")
            floors = {"bare listing": lambda: _listed(endpoint, objects)}
            for line in compare("no-op", lambda: _synced(settings, conninfo), floors, repeat):
                OUT.print(
                    f"no-op {line.seconds:.2f} s, {line.floor} {line.floor_seconds:.2f} s: {line.ratio:.2f} "
                    f"({line.lowest:.2f} to {line.highest:.2f})"
                )
        server.terminate()


def _synced(settings: Settings, conninfo: str) -> float:
    began = time.perf_counter()
    with connect(conninfo) as connection:
        selected = selected_sources(connection, settings, [URL])
    report = run_sync(settings, conninfo, selected, Options())
    assert report.status == "complete"
    return time.perf_counter() - began


def _listed(endpoint: str, objects: int) -> float:
    began = time.perf_counter()
    store = S3Store(BUCKET, prefix="docs", endpoint=endpoint, client_options={"allow_http": True})
    assert sum(len(page) for page in obstore.list(store)) == objects
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
