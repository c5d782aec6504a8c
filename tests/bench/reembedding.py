"""`python -m tests.bench.reembedding`: searches by HTTP all the time while the corpus moves to another model, back,
and on to a third one whose move is killed in its middle. Every answer is checked against the space that it names.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from typing import TYPE_CHECKING, Any

import click
import httpx
import numpy as np
from psycopg import sql
from rich.console import Console
from rich.table import Table

from pgfolio.config.loading import load_settings
from pgfolio.config.models import embedding_model
from pgfolio.schema.database.connect import connect, database
from pgfolio.schema.vectors import generations
from tests.bench import corpus
from tests.bench.room import new_room
from tests.environment import without_settings
from tests.fakes.openai_server import KEY, vector

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pgfolio.config.models import EmbeddingModel
    from pgfolio.schema.records import Space

ROOT = Path(__file__).resolve().parents[2]
ERR = Console(stderr=True, highlight=False)
MODES = ("vector", "hybrid", "lexical")
LIMIT = 10
IN_FLIGHT = 4
CHUNKS_A_FILE = 29
"""Of the generated documents, at the chunk size used here."""
TOLERANCE = 0.004
"""Of a similarity: stored vectors are of half precision. Two spaces' similarities differ by more in some of ten."""


@dataclass(frozen=True)
class TimedAnswer:
    """One request as its client saw it; `error` is empty when it was answered."""

    at: float
    seconds: float
    query: str
    error: str = ""
    space: str = ""
    similarities: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True)
class PhaseLine:
    """The requests of one phase."""

    phase: str
    seconds: float
    requests: int
    errors: int
    empty: int
    mixed: int
    p50_ms: float
    p95_ms: float
    slowest_ms: float
    spaces: str


@dataclass
class Clients:
    """Several that search all the time, each over a connection of its own."""

    url: str
    queries: Sequence[str]
    pause: float
    answers: list[TimedAnswer] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def searching(self, count: int) -> Iterator[None]:
        threads = [threading.Thread(target=self._loop, args=(number,)) for number in range(count)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()

    def _loop(self, number: int) -> None:
        chosen = random.Random(number)
        with httpx.Client(base_url=self.url, timeout=30) as client:
            while not self._stop.wait(self.pause):
                self.answers.append(_asked(client, chosen.choice(self.queries), chosen.choice(MODES)))


def _asked(client: httpx.Client, query: str, mode: str) -> TimedAnswer:
    at = time.monotonic()
    try:
        answer = client.post("/search", json={"query": query, "mode": mode, "limit": LIMIT})
        took = time.monotonic() - at
        if answer.status_code != httpx.codes.OK:
            return TimedAnswer(at, took, query, error=f"{answer.status_code} {answer.text[:200]}")
        found = answer.json()
    except httpx.HTTPError as error:
        return TimedAnswer(at, time.monotonic() - at, query, error=repr(error))
    similarities = tuple((hit["chunk_id"], hit["similarity"]) for hit in found["results"])
    return TimedAnswer(at, took, query, "", found["space"] or "", similarities)


class Truth:
    """What the similarity of a question and a chunk is in each space: of the stored vectors, in this process."""

    def __init__(self, conninfo: str) -> None:
        self._stored: dict[str, dict[int, np.ndarray]] = {}
        self._spaces: dict[str, Space] = {}
        self._models: dict[str, EmbeddingModel] = {}
        with connect(conninfo) as connection:
            for generation in generations.list_generations(
                connection, "active", "retired", "ready", "building"
            ):
                query = sql.SQL("select chunk_id, embedding from {}").format(sql.Identifier(generation.table))
                rows = connection.execute(query, binary=True)
                self._spaces[generation.space.name] = generation.space
                self._stored[generation.space.name] = {row[0]: row[1].to_numpy() for row in rows}

    def is_mixed(self, answer: TimedAnswer) -> bool:
        """Whether any similarity is not that of the space that the answer names."""
        stored = self._stored.get(answer.space)
        if stored is None:
            return True
        question = self._question(answer.query, answer.space)
        return any(
            chunk not in stored or abs(float(stored[chunk].astype(np.float32) @ question) - told) > TOLERANCE
            for chunk, told in answer.similarities
        )

    def _question(self, text: str, name: str) -> np.ndarray:
        space = self._spaces[name]
        if space.asks_server:
            return vector(text, space.dimensions)
        if name not in self._models:
            self._models[name] = embedding_model(
                load_settings(), space.provider, space.model, space.dimensions
            )
        made: np.ndarray = self._models[name].embed([space.query_prefix + text]).vectors[0]
        length = float(np.linalg.norm(made))
        return made / length


def line(phase: str, answers: Sequence[TimedAnswer], truth: Truth, seconds: float) -> PhaseLine:
    took = sorted(answer.seconds * 1000 for answer in answers)
    return PhaseLine(
        phase,
        round(seconds, 2),
        len(answers),
        sum(bool(answer.error) for answer in answers),
        sum(not answer.error and not answer.similarities for answer in answers),
        sum(not answer.error and truth.is_mixed(answer) for answer in answers),
        round(median(took), 2) if took else 0.0,
        round(quantiles(took, n=20)[-1], 2) if len(took) > 1 else 0.0,
        round(took[-1], 2) if took else 0.0,
        ", ".join(sorted({answer.space for answer in answers if answer.space})),
    )


@dataclass
class ReembedBench:
    """One corpus, its API and its clients, and the phases they went through."""

    conninfo: str
    environment: dict[str, str]
    clients: Clients
    server: str
    phases: list[tuple[str, float, float]] = field(default_factory=list)
    notes: dict[str, Any] = field(default_factory=dict)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        self.phases.append((name, began, time.monotonic()))

    def command(self, *arguments: str) -> dict[str, Any]:
        done = subprocess.run(
            [sys.executable, "-m", "pgfolio.flows", "reembed", *arguments, "--json"],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(
                f"reembed {arguments} ended with {done.returncode}: {done.stderr} {done.stdout}"
            )
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found

    def killed(self, *arguments: str, after: int) -> None:
        """`kill -9` once the server has embedded so many texts."""
        before = self.stats()["texts"]
        process = subprocess.Popen(
            [sys.executable, "-m", "pgfolio.flows", "reembed", *arguments, "--json"],
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        while self.stats()["texts"] - before < after:
            if process.poll() is not None:
                raise RuntimeError("the move was over before it could be killed")
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def stats(self) -> dict[str, Any]:
        found: dict[str, Any] = httpx.get(f"{self.server}/stats", timeout=60).json()
        return found

    def paid_twice(self) -> int:
        found: int = httpx.get(f"{self.server}/paid-twice", timeout=60).json()["requests"]
        return found

    def switch_ms(self) -> float:
        """From the beginning of the last run to its switch."""
        with connect(self.conninfo) as connection:
            row = connection.execute(
                "select (select activated_at from generations where state = 'active') - max(started_at) from runs"
            ).fetchone()
        return row[0].total_seconds() * 1000 if row else 0.0

    def lines(self) -> list[PhaseLine]:
        truth = Truth(self.conninfo)
        return [
            line(name, [a for a in self.clients.answers if start <= a.at < end], truth, end - start)
            for name, start, end in self.phases
        ]


def run(bench: ReembedBench, still: float) -> None:
    """All phases; `still` seconds of searching before and after a move."""
    with bench.phase("before"):
        time.sleep(still)
    with bench.phase("move to 1,536 dimensions"):
        bench.notes["move"] = bench.command("--model", "text-embedding-3-small")
    with bench.phase("after"):
        time.sleep(still)
    with bench.phase("rollback"):
        bench.notes["rollback"] = bench.command("--rollback")
    bench.notes["rollback_switch_ms"] = round(bench.switch_ms(), 1)
    with bench.phase("after the rollback"):
        time.sleep(still)
    third = ("--model", "text-embedding-3-large", "--dimensions", "512")
    texts = bench.notes["move"]["chunks"]["embedded"]
    before = bench.stats()
    with bench.phase("move to 512, killed"):
        bench.killed(*third, after=texts // 2)
    with bench.phase("resumed"):
        bench.notes["resumed"] = bench.command(*third)
    bench.notes["kill"] = {
        "texts": texts,
        "texts_paid_for": bench.stats()["texts"] - before["texts"],
        "requests": bench.stats()["requests"] - before["requests"],
        "requests_paid_twice": bench.paid_twice(),
        "in_flight": IN_FLIGHT,
    }


@contextmanager
def process_of(*arguments: str, environment: dict[str, str]) -> Iterator[str]:
    """A server of ours as a process; yields the URL that it prints first."""
    with subprocess.Popen(
        [sys.executable, "-m", *arguments],
        env=environment,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            said = process.stdout.readline()
            found = re.search(r"http://[\w.:]+", said)
            if found is None:
                raise RuntimeError(f"{arguments[0]} did not start: {said}")
            yield found.group()
        finally:
            process.terminate()


@contextmanager
def opened(room: Path, files: int, clients: int, pause: float) -> Iterator[ReembedBench]:
    """A corpus, synced with the local model, its API, and clients at work."""
    folder = room / "documents"
    corpus.write_markdown(folder, files)
    plain = {**os.environ, "PYTHONPATH": os.fspath(ROOT / ".src"), "PGFOLIO_HOME": os.fspath(room / "home")}
    settings = load_settings(home=room / "home")
    settings.home.mkdir()
    with (
        database(settings) as conninfo,
        process_of("tests.fakes.openai_server", "--latency", "0.03", environment=plain) as server,
    ):
        environment = {
            **plain,
            "PGFOLIO_DATABASE_URL": conninfo,
            "PGFOLIO_CHUNKING__TOKENS": "96",
            "PGFOLIO_CHUNKING__OVERLAP": "8",
            "PGFOLIO_EMBEDDING__IN_FLIGHT": str(IN_FLIGHT),
            "PGFOLIO_EMBEDDING__BATCH_INPUTS": "128",
            # The fake's vectors are near to random: at the shipped 64 the gate measured 0.936 over 40,000 of them.
            "PGFOLIO_INDEX__EF_SEARCH": "128",
            "OPENAI_API_KEY": KEY,
            "OPENAI_BASE_URL": f"{server}/v1",
        }
        subprocess.run(
            [sys.executable, "-m", "pgfolio.flows", "sync", os.fspath(folder), "--json"],
            env=environment,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        with process_of("query_api", "serve", "--port", "0", environment=environment) as url:
            asking = Clients(url, queries_of(folder), pause)
            with asking.searching(clients):
                yield ReembedBench(conninfo, environment, asking, server)


def queries_of(folder: Path) -> list[str]:
    """Sentences of the documents."""
    files = sorted(folder.rglob("*.md"))[:200]
    found = [re.findall(r"[A-Z][a-z ]{30,80}\.", file.read_text()) for file in files]
    return [sentences[0] for sentences in found if sentences]


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--chunks", type=click.IntRange(100), default=20_000, show_default=True)
@click.option("--clients", type=click.IntRange(1), default=4, show_default=True)
@click.option(
    "--pause", type=float, default=0.02, show_default=True, help="Seconds between a client's searches."
)
@click.option("--still", type=float, default=15.0, show_default=True, help="Seconds before and after a move.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
def main(*, chunks: int, clients: int, pause: float, still: float, as_json: bool) -> None:
    """Move a corpus between embedding spaces under search, roll it back, and kill a move in its middle."""
    without_settings()
    room = new_room()
    with opened(room, -(-chunks // CHUNKS_A_FILE), clients, pause) as bench:
        with ERR.status("moving the corpus"):
            run(bench, still)
        time.sleep(0.2)
        lines = bench.lines()
    if as_json:
        print(json.dumps({"lines": [vars(each) for each in lines], **bench.notes}))
        return
    Console(highlight=False, width=160).print(table(lines))
    for name, note in bench.notes.items():
        print(f"{name}: {json.dumps(note)}")


def table(lines: Sequence[PhaseLine]) -> Table:
    made = Table(*PhaseLine.__annotations__, box=None, pad_edge=False)
    for each in lines:
        made.add_row(
            *(f"{value:,}" if not isinstance(value, str) else value for value in vars(each).values())
        )
    return made


if __name__ == "__main__":
    main()
