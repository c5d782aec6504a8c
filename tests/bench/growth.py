"""`python -m tests.bench.growth` syncs generated corpora of growing size by the command, from nothing to searchable,
and prints what each step costs: load, index, a sync that finds nothing to do, search and its recall. Not for CI: a
million chunks take about half an hour."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np
import psutil
from psycopg import sql
from rich.console import Console
from rich.table import Table

from pgfolio.config.loading import load_settings
from pgfolio.config.models.wordllama import LocalModel
from pgfolio.schema.database.connect import connect, database
from pgfolio.schema.vectors import generations, hnsw, segments
from tests.bench.corpus import SYLLABLES
from tests.bench.memory import MEGABYTE, shared_out_mb
from tests.bench.room import new_room
from tests.bench.serving import serving
from tests.environment import without_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgfolio.config.settings import Settings

OUT = Console(highlight=False)
CHUNKS_A_FILE = 20
TOKENS = 128
QUESTIONS = 300
TOPICS = 2000


def write(folder: Path, chunks: int) -> None:
    """Files of sections, each about one chunk, with words of its topic, so that questions have answers."""
    chosen = random.Random(11)
    words = ["".join(chosen.choices(SYLLABLES.split(), k=chosen.choice((1, 2, 2, 3)))) for _ in range(20_000)]
    topics = [chosen.choices(words, k=12) for _ in range(TOPICS)]
    for number in range(-(-chunks // CHUNKS_A_FILE)):
        file = folder / f"{number // 10_000:02}" / f"{number // 100 % 100:02}" / f"{number:06}.md"
        file.parent.mkdir(parents=True, exist_ok=True)
        sections = []
        for part in range(CHUNKS_A_FILE):
            topic = chosen.choice(topics)
            text = " ".join(chosen.choices(topic, k=14) + chosen.choices(words, k=14))
            sections.append(f"## {number} {part}\n\n{text}.")
        file.write_text("\n\n".join(sections) + "\n", encoding="utf-8")


def questions() -> Iterator[str]:
    """Some words of a topic."""
    chosen = random.Random(11)
    words = ["".join(chosen.choices(SYLLABLES.split(), k=chosen.choice((1, 2, 2, 3)))) for _ in range(20_000)]
    topics = [chosen.choices(words, k=12) for _ in range(TOPICS)]
    asked = random.Random(12)
    for number in range(QUESTIONS):
        yield " ".join([*asked.sample(asked.choice(topics), k=6), str(number)])


def synced(settings: Settings, folder: Path) -> dict[str, Any]:
    """The command's report, with the peak memory of its processes together in MB, PostgreSQL's aside."""
    environment = {
        **os.environ,
        "PGFOLIO_HOME": os.fspath(settings.home),
        "PGFOLIO_CHUNKING__TOKENS": str(TOKENS),
        "PGFOLIO_CHUNKING__OVERLAP": "0",
    }
    command = [sys.executable, "-m", "pgfolio.flows", "sync", os.fspath(folder), "--json"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    peak = [0.0]
    watcher = threading.Thread(target=_watch, args=(process.pid, peak), daemon=True)
    watcher.start()
    out, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"the sync ended with {process.returncode}")
    found: dict[str, Any] = json.loads(out.splitlines()[-1])
    return {**found, "peak_mb": round(peak[0])}


def _watch(pid: int, peak: list[float]) -> None:
    try:
        while True:
            peak[0] = max(peak[0], shared_out_mb(pid))
            time.sleep(0.2)
    except psutil.Error:
        return


def searched(conninfo: str, settings: Settings) -> tuple[float, float, float]:
    """p50 and p95 in milliseconds over HTTP, and recall@10 against comparing all vectors."""
    asked = list(questions())
    took = []
    with serving(conninfo, 10) as ask:
        for question in asked[:20]:
            ask(question + " warm")
        for question in asked:
            began = time.perf_counter()
            ask(question)
            took.append(time.perf_counter() - began)
    hits = 0
    made = LocalModel().embed(asked[:100]).vectors
    with connect(conninfo) as connection:
        generation = generations.active_generation(connection)
        assert generation is not None
        table = sql.Identifier(generation.table)
        text = "select chunk_id from {} order by {} limit 10"
        nearest, exact = (
            sql.SQL(text).format(table, sql.SQL(order))
            for order in ("embedding <=> %s::halfvec", "(embedding <=> %s::halfvec) + 0")
        )
        connection.execute(f"set hnsw.ef_search = {settings.index.ef_search}")
        for vector in made:
            value = str(vector.tolist())
            found = {row[0] for row in connection.execute(nearest, [value])}
            hits += len(found & {row[0] for row in connection.execute(exact, [value])})
    p50, p95 = np.percentile(np.array(took) * 1000, [50, 95])
    return float(p50), float(p95), hits / len(made) / 10


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--sizes", default="10000,100000,1000000", show_default=True, help="Chunks, about.")
@click.option(
    "--room", type=click.Path(path_type=Path), help="Where to work.  [default: the temporary folder]"
)
def main(*, sizes: str, room: Path | None) -> None:
    """Sync corpora of growing size from nothing, by the command, and measure each step."""
    without_settings()
    place = new_room(room)
    table = Table("chunks", "first sync s", "of it index s", "peak MB", "index MB", box=None)
    for heading in ("no-op s", "its peak MB", "search p50 ms", "p95 ms", "recall@10"):
        table.add_column(heading, justify="right")
    for size in map(int, sizes.split(",")):
        _measure(place / str(size), size, table)
        OUT.print(table)


def _measure(place: Path, size: int, table: Table) -> None:
    folder, home = place / "documents", place / "home"
    write(folder, size)
    home.mkdir()
    settings = load_settings(home=home)
    with database(settings) as conninfo:
        first, again = synced(settings, folder), synced(settings, folder)
        with connect(conninfo) as connection:
            generation = generations.active_generation(connection)
            assert generation is not None
            states = [hnsw.state(connection, m) for m in segments.members(connection, generation)]
        p50, p95, recall = searched(conninfo, settings)
    table.add_row(
        f"{first['chunks']['total']:,}",
        f"{first['seconds']['total']:,.1f}",
        f"{first['seconds']['index']:,.1f}",
        f"{first['peak_mb']:,}",
        f"{sum(state.bytes for state in states if state) / MEGABYTE:,.0f}",
        f"{again['seconds']['total']:.2f}",
        f"{again['peak_mb']:,}",
        f"{p50:.1f}",
        f"{p95:.1f}",
        f"{recall:.3f}",
    )
    shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    main()
