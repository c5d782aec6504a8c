"""`python -m tests.bench.concurrency`: the API under many clients at once, in a process of its own.

A vector search is held against the sum of its three floors in the same run: the bare SQL through psycopg, the
question's embedding, and an HTTP echo of the same size; by one client and by as many as there are. Meanwhile
/health/live is asked all the time, held against the echo, which does nothing else, and against a sleep: what the
machine itself is late by.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import socket
import ssl
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click
import httpx
import numpy as np

from pgfolio.config.loading import load_settings
from pgfolio.config.models.wordllama import LocalModel
from pgfolio.schema.database.connect import connect, database
from pgfolio.schema.vectors import generations
from tests.bench import corpus, floors
from tests.bench.place import SyncedFolder
from tests.bench.room import new_room
from tests.environment import without_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pgfolio.schema.database.connect import Connection

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 10
TURNS = 8
ECHO = """
import sys, uvicorn
from litestar import Litestar, Response, post
BODY = open(sys.argv[1], "rb").read()
@post("/search", status_code=200)
async def echo(data: dict[str, object]) -> Response[bytes]:
    return Response(BODY, media_type="application/json")
uvicorn.run(Litestar([echo], logging_config=None), port=int(sys.argv[2]), log_level="warning", access_log=False)
"""

MEANWHILE = """
import json, select, sys, time
import httpx
SLEEP = 0.002
taken = {"live": [], "echo": [], "late": []}
def timed(name, work):
    began = time.perf_counter()
    work()
    taken[name].append(time.perf_counter() - began - SLEEP * (name == "late"))
with httpx.Client() as client:
    works = {"live": lambda: client.get(sys.argv[1] + "/health/live").raise_for_status(),
             "echo": lambda: client.post(sys.argv[2] + "/search", json={}).raise_for_status(),
             "late": lambda: time.sleep(SLEEP)}
    [work() for work in works.values()]
    print("ready", flush=True)
    while not select.select([sys.stdin], [], [], 0.003)[0]:
        [timed(name, work) for name, work in works.items()]
print(json.dumps(taken))
"""


@click.command()
@click.option("--files", type=click.IntRange(1), default=4000, show_default=True, help="Generated Markdown.")
@click.option("--clients", type=click.IntRange(1), default=16, show_default=True)
@click.option("--requests", type=click.IntRange(10), default=2000, show_default=True)
@click.option("--code", type=click.Path(exists=True, file_okay=False, path_type=Path), default=ROOT,
              help="The checkout whose API is measured.  [default: this one]")  # fmt: skip
def main(*, files: int, clients: int, requests: int, code: Path) -> None:
    """Prints one JSON object."""
    without_settings()
    room = new_room()
    corpus.write_markdown(room / "documents", files)
    settings = load_settings(home=room / "home")
    settings.home.mkdir()
    with database(settings) as conninfo:
        place = SyncedFolder(settings, conninfo, room / "documents")
        place.first_sync()
        print(json.dumps(measured(place, room, clients, requests, code), indent=1))


def measured(place: SyncedFolder, room: Path, clients: int, requests: int, code: Path) -> dict[str, Any]:
    numbers = itertools.count()

    def question() -> str:
        words = place.texts[next(numbers) * 37 % len(place.texts)].split()
        middle = len(words) // 2
        return f"{' '.join(words[middle : middle + 9])[:200]} {next(numbers)}"

    found: dict[str, Any] = {"chunks": len(place.texts)}
    with serving(code, place.conninfo) as url:
        body = {"query": question(), "mode": "vector", "limit": LIMIT}
        answer = httpx.post(f"{url}/search", json=body).raise_for_status().content
        (room / "answer.json").write_bytes(answer)
        with echoing(room / "answer.json") as echo_url:
            found |= one_client(place, url, echo_url, requests, question)

            def loaded(load: Callable[[], dict[str, Any]]) -> dict[str, Any]:
                return beside(url, echo_url, load)

            def clients_of(url: str, mode: str) -> Callable[[], dict[str, Any]]:
                return lambda: asyncio.run(many(url, mode, clients, requests, question)).shown()

            for mode in ("vector", "hybrid"):
                found[f"{mode}, {clients} clients"] = loaded(clients_of(url, mode))
            found[f"floors, {clients} clients"] = many_clients(
                place, url, echo_url, clients, requests, question
            )
            found["burst of 200"] = loaded(lambda: asyncio.run(burst(url, question)))
    return found


def one_client(
    place: SyncedFolder, url: str, echo_url: str, requests: int, question: Callable[[], str]
) -> dict[str, float]:
    """Medians in milliseconds; all take turns, so that each has the machine as the others have it."""
    model = LocalModel()
    taken: dict[str, list[float]] = {"sql and embedding": [], "embedding": [], "echo": [], "vector": []}
    with (
        connect(place.conninfo, autocommit=True) as connection,
        httpx.Client(base_url=url) as client,
        httpx.Client(base_url=echo_url) as echo,
    ):
        generation = generations.active_generation(connection)
        assert generation is not None
        bare = floors.bare_search(connection, generation, place.settings.index.ef_search, LIMIT)

        def over(client: httpx.Client, text: str) -> bytes:
            body = {"query": text, "mode": "vector", "limit": LIMIT}
            return client.post("/search", json=body).raise_for_status().content

        works: dict[str, Callable[[str], object]] = {
            "sql and embedding": bare,
            "embedding": lambda text: model.embed([text]),
            "echo": lambda text: over(echo, text),
            "vector": lambda text: over(client, text),
        }
        for _ in range(requests // 2):
            for name, work in works.items():
                text = question()
                began = time.perf_counter()
                work(text)
                taken[name].append((time.perf_counter() - began) * 1000)
    p50 = {name: float(np.median(values)) for name, values in taken.items()}
    sql = p50["sql and embedding"] - p50["embedding"]
    floor = p50["sql and embedding"] + p50["echo"]
    return {
        "sql_ms": round(sql, 3),
        "embedding_ms": round(p50["embedding"], 3),
        "echo_ms": round(p50["echo"], 3),
        "vector_ms": round(p50["vector"], 3),
        "ratio": round(p50["vector"] / floor, 3),
    }


def many_clients(
    place: SyncedFolder, url: str, echo_url: str, clients: int, requests: int, question: Callable[[], str]
) -> dict[str, float]:
    """As one_client, by so many at once; in turns, for what a machine gives changes within seconds."""
    works: dict[str, Callable[[int], list[float]]] = {
        "sql and embedding": lambda each: bare_many(place, clients, each, question),
        "echo": lambda each: asyncio.run(many(echo_url, "vector", clients, each, question)).taken,
        "vector": lambda each: asyncio.run(many(url, "vector", clients, each, question)).taken,
    }
    taken: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(TURNS):
        for name, work in works.items():
            taken[name] += work(-(-requests // TURNS))
    p50 = {name: float(np.median(values)) * 1000 for name, values in taken.items()}
    ratio = p50["vector"] / (p50["sql and embedding"] + p50["echo"])
    return {f"{name}_ms": round(value, 2) for name, value in p50.items()} | {"ratio": round(ratio, 3)}


def bare_many(place: SyncedFolder, clients: int, requests: int, question: Callable[[], str]) -> list[float]:
    """Seconds of each request of as many clients, each embedding its question and asking PostgreSQL by itself."""

    def one(bare: Callable[[str], object]) -> list[float]:
        taken = []
        for _ in range(-(-requests // clients)):
            began = time.perf_counter()
            bare(question())
            taken.append(time.perf_counter() - began)
        return taken

    def ready(connection: Connection) -> Callable[[str], object]:
        generation = generations.active_generation(connection)
        assert generation is not None
        bare = floors.bare_search(connection, generation, place.settings.index.ef_search, LIMIT)
        bare(question())
        return bare

    with ExitStack() as stack, ThreadPoolExecutor(clients) as threads:
        each = [ready(stack.enter_context(connect(place.conninfo, autocommit=True))) for _ in range(clients)]
        return [seconds for taken in threads.map(one, each) for seconds in taken]


class Load(NamedTuple):
    """Seconds of each request, the answers' status codes, and the seconds of all together."""

    taken: list[float]
    codes: Counter[int]
    seconds: float

    def shown(self) -> dict[str, Any]:
        per_second = round(len(self.taken) / self.seconds)
        return {"per_second": per_second, **quantiles(self.taken), "codes": self.codes}


async def many(url: str, mode: str, clients: int, requests: int, question: Callable[[], str]) -> Load:
    """Each with its own connection: in a pool that they share, httpx lets some wait longer than others."""
    taken: list[float] = []
    codes: Counter[int] = Counter()
    trusted = ssl.create_default_context()  # made once: each client would take 20 ms for its own

    async def one(client: httpx.AsyncClient) -> None:
        for _ in range(-(-requests // clients)):
            began = time.perf_counter()
            answer = await client.post("/search", json={"query": question(), "mode": mode, "limit": LIMIT})
            taken.append(time.perf_counter() - began)
            codes[answer.status_code] += 1

    async with AsyncExitStack() as stack:
        each = [
            await stack.enter_async_context(httpx.AsyncClient(base_url=url, timeout=30, verify=trusted))
            for _ in range(clients)
        ]
        began = time.perf_counter()
        await asyncio.gather(*(one(client) for client in each))
        return Load(taken, codes, time.perf_counter() - began)


async def burst(url: str, question: Callable[[], str]) -> dict[str, Any]:
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=url, timeout=30, limits=limits) as client:
        began = time.perf_counter()
        answers = await asyncio.gather(
            *(client.post("/search", json={"query": question()}) for _ in range(200))
        )
        seconds = time.perf_counter() - began
    return {"seconds": round(seconds, 2), "codes": Counter(answer.status_code for answer in answers)}


def beside(url: str, echo_url: str, load: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What the load found, and how /health/live and its floors answered meanwhile: asked by a process of its own, for
    a client that shares its loop with hundreds of others would measure itself."""
    command = [sys.executable, "-c", MEANWHILE, url, echo_url]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        found = load()
        said = process.communicate("end\n", timeout=30)[0]
    return found | {name: quantiles(taken) for name, taken in json.loads(said).items()}


def quantiles(taken: list[float]) -> dict[str, float]:
    values = np.percentile(taken, [50, 95, 99, 100]) * 1000
    return dict(
        zip(("p50_ms", "p95_ms", "p99_ms", "max_ms"), (round(float(v), 2) for v in values), strict=True)
    )


@contextmanager
def serving(code: Path, conninfo: str) -> Iterator[str]:
    environment = {**os.environ, "PYTHONPATH": os.fspath(code / ".src"), "PGFOLIO_DATABASE_URL": conninfo}
    command = [sys.executable, "-m", "pgfolio.query_api", "serve", "--port", "0"]
    with subprocess.Popen(command, env=environment, cwd=code, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            yield process.stderr.readline().split()[2].rstrip(",")
        finally:
            process.terminate()
            process.communicate(timeout=30)


@contextmanager
def echoing(answer: Path) -> Iterator[str]:
    """An HTTP server that answers with the same bytes and does nothing."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with subprocess.Popen([sys.executable, "-c", ECHO, os.fspath(answer), str(port)]) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            deadline = time.monotonic() + 20
            while time.monotonic() < deadline:
                try:
                    httpx.post(f"{url}/search", json={}).raise_for_status()
                    break
                except httpx.HTTPError:
                    time.sleep(0.1)
            yield url
        finally:
            process.terminate()


if __name__ == "__main__":
    main()
