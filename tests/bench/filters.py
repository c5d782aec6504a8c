"""`python -m tests.bench.filters` measures filtered vector search: recall@10 against exact, shortness, latency.

Vectors are clustered random ones of a fixed seed, ten chunks to a document, a document in one cluster: harder for
an index than real text, where clusters shade into each other. A filter is independent of the question (a random
part of the documents), near (the clusters next to the question's), or far (those that are farthest from it).
"""

from __future__ import annotations

import asyncio
import atexit
import hashlib
import json
import os
import shutil
import tempfile
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import mean, median
from typing import TYPE_CHECKING, Any

import click
import numpy as np
from psycopg.types.json import Jsonb
from rich.console import Console
from rich.table import Table

from config.settings import load_settings
from query_api.filter import parse
from query_api.within import nearest_within
from schema import index, sources, vectors
from schema.connect import connect, database
from schema.records import Space
from schema.search import EVERYTHING, Scope, nearest, open_pool, rank_exact, reading

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from config.settings import Settings
    from schema.connect import Connection
    from schema.records import Generation, Source
    from schema.search import AsyncConnection, Candidate, Pool

SEED = 7
DIMENSIONS = 256
CLUSTERS = 200
SPREAD = 0.9
"""Of a vector around its cluster's centre, which has length 1."""

PER_DOCUMENT = 10
QUESTIONS = 100
LIMIT = 10
PARTS = (0.5, 0.1, 0.01, 0.001)
ERR = Console(stderr=True, highlight=False)


@dataclass(frozen=True, slots=True)
class Line:
    """One filter over all questions. Times in milliseconds; `plain` is the same questions without a filter."""

    name: str
    matching: float
    recall: float
    lowest: float
    short: int
    p50: float
    p95: float
    exact_p50: float
    plain_p50: float


@dataclass(frozen=True, slots=True)
class Question:
    vector: np.ndarray
    clusters: list[int]
    """All of them, the nearest first."""


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--chunks", type=click.IntRange(1000), default=100_000, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
def main(*, chunks: int, as_json: bool) -> None:
    """Measure filters of several selectivities beside a plain search, on a Postgres of its own."""
    for name in [name for name in os.environ if name.startswith(("PGFOLIO_", "OPENAI_"))]:
        del os.environ[name]  # the developer's own settings
    # Not below the user's home: as root, Postgres runs under a system user that must be able to walk there.
    room = Path(tempfile.mkdtemp(prefix="pgfolio-bench-"))
    room.chmod(0o755)
    atexit.register(shutil.rmtree, room, ignore_errors=True)
    settings = load_settings(home=room / "home")
    settings.home.mkdir()
    with database(settings) as conninfo:
        with ERR.status("loading"), connect(conninfo) as connection:
            centres, generation = _load(connection, settings, chunks)
        with ERR.status("measuring"):
            lines = asyncio.run(_measured(conninfo, settings, generation, centres, chunks))
    if as_json:
        print(json.dumps({"chunks": chunks, "lines": [asdict(line) for line in lines]}))
    else:
        Console(highlight=False).print(_table(lines))


def _load(connection: Connection, settings: Settings, chunks: int) -> tuple[np.ndarray, Generation]:
    """The centres of the clusters, shape (CLUSTERS, DIMENSIONS), and the indexed generation."""
    random = np.random.default_rng(SEED)
    centres = random.standard_normal((CLUSTERS, DIMENSIONS))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    clusters = random.integers(0, CLUSTERS, chunks // PER_DOCUMENT)
    generation = vectors.ensure_active(connection, Space("local", "wordllama-256", DIMENSIONS))
    source = sources.ensure_source(connection, "/bench", name="bench")
    _copy_documents(connection, source, clusters, random.random(len(clusters)))
    _copy_chunks(connection, source)
    found = connection.execute("select id from chunks order by document_id, ordinal").fetchall()
    made = _around(random, centres[np.repeat(clusters, PER_DOCUMENT)])
    rows = [(row[0], source.collection_id, vector) for row, vector in zip(found, made, strict=True)]
    vectors.add_vectors(connection, generation, rows)
    index.build(connection, generation, settings.index.m, settings.index.ef_construction)
    index.settle(connection, generation)
    return centres, generation


def _copy_documents(connection: Connection, source: Source, clusters: np.ndarray, part: np.ndarray) -> None:
    columns = (
        "source_id, collection_id, path, title, mime, language, content_hash, text, metadata, updated_at"
    )
    with connection.cursor().copy(f"copy documents ({columns}) from stdin") as copy:
        for number, (cluster, share) in enumerate(zip(clusters.tolist(), part.tolist(), strict=True)):
            metadata = {
                "cluster": cluster,
                "part": round(share, 6),
                "category": "even" if share < 0.5 else "odd",
                "tags": [f"tag{number % 7}", "bench"],
                "date": f"2026-{number % 12 + 1:02}-01",
            }
            digest = hashlib.sha256(str(number).encode()).digest()
            copy.write_row(
                (source.id, source.collection_id, f"{number}.md", None, "text/markdown", "english", digest,
                 "", Jsonb(metadata), datetime(2026, 1, 1, tzinfo=UTC))
            )  # fmt: skip


def _copy_chunks(connection: Connection, source: Source) -> None:
    connection.execute(
        "insert into chunks (document_id, collection_id, ordinal, content, heading, start_at, end_at, tokens, hash,"
        " language) select d.id, %s, n, 'chunk ' || n, '', 0, 7, 2, '', 'english' from documents d,"
        " generate_series(0, %s) n",
        [source.collection_id, PER_DOCUMENT - 1],
    )


def _around(random: np.random.Generator, centres: np.ndarray) -> np.ndarray:
    noise = random.standard_normal(centres.shape) * (SPREAD / np.sqrt(DIMENSIONS))
    return (centres + noise).astype(np.float32)


def _questions(centres: np.ndarray) -> list[Question]:
    random = np.random.default_rng(SEED + 1)
    chosen = centres[random.integers(0, CLUSTERS, QUESTIONS)]
    return [
        Question(vector, np.argsort(-(centres @ centre)).tolist())
        for vector, centre in zip(_around(random, chosen), chosen, strict=True)
    ]


def _filters() -> Iterator[tuple[str, Callable[[Question], dict[str, Any]]]]:
    for part in PARTS:
        yield f"{part:.1%}, independent", lambda _, part=part: {"part": {"$lt": part}}
    for part in (0.5, 0.1, 0.01):
        count = round(part * CLUSTERS)
        yield f"{part:.1%}, near", lambda q, n=count: {"cluster": {"$in": q.clusters[:n]}}
        yield f"{part:.1%}, far", lambda q, n=count: {"cluster": {"$in": q.clusters[-n:]}}
    narrow = {"part": {"$lt": 0.2}}
    yield "0.1%, near", lambda q: {**narrow, "cluster": q.clusters[0]}
    yield "0.1%, far", lambda q: {**narrow, "cluster": q.clusters[-1]}
    yield "50.0%, by equality", lambda _: {"category": "even"}
    yield "14.3%, of an array", lambda _: {"tags": "tag3"}
    yield "8.3%, by date", lambda _: {"date": {"$gte": "2026-12-01"}}
    yield "11.1%, by path", lambda _: {"path": {"$like": "1%"}}


async def _measured(
    conninfo: str, settings: Settings, generation: Generation, centres: np.ndarray, chunks: int
) -> list[Line]:
    questions = _questions(centres)
    async with open_pool(conninfo, 1, settings.index.ef_search) as pool:
        plain = await _plain(pool, settings, generation, questions)
        lines = [plain]
        for name, make in _filters():
            scopes = [Scope(None, parse(make(question))) for question in questions]
            lines.append(await _line(pool, settings, generation, name, questions, scopes, plain.p50, chunks))
    return lines


async def _plain(pool: Pool, settings: Settings, generation: Generation, questions: list[Question]) -> Line:
    """The API's own statement without a filter, which reads what an answer shows, too."""
    ef_search = settings.index.ef_search
    times, right, exact = [], [], []
    for question in questions:
        found, took = await _timed(
            pool, lambda c, q=question: nearest(c, generation, q.vector, LIMIT, ef_search)
        )
        truth, long = await _timed(pool, lambda c, q=question: rank_exact(c, generation, q.vector, LIMIT))
        times.append(took)
        exact.append(long)
        right.append(len({h.chunk_id for h in found} & {t.chunk_id for t in truth}) / LIMIT)
    return _summary("plain search", 1.0, right, 0, times, exact, median(times))


async def _line(
    pool: Pool, settings: Settings, generation: Generation, name: str, questions: list[Question],
    scopes: list[Scope], plain: float, chunks: int,
) -> Line:  # fmt: skip
    ef_search = settings.index.ef_search
    times, right, exact, short, matching = [], [], [], 0, []
    for question, scope in zip(questions, scopes, strict=True):

        def search(
            c: AsyncConnection, q: Question = question, s: Scope = scope
        ) -> Awaitable[list[Candidate]]:
            return nearest_within(c, generation, q.vector, LIMIT, LIMIT, ef_search, s)

        def compare(
            c: AsyncConnection, q: Question = question, s: Scope = scope
        ) -> Awaitable[list[Candidate]]:
            return rank_exact(c, generation, q.vector, LIMIT, s)

        found, took = await _timed(pool, search)
        truth, long = await _timed(pool, compare)
        times.append(took)
        exact.append(long)
        short += len(found) < len(truth)
        if truth:
            right.append(len({f.chunk_id for f in found} & {t.chunk_id for t in truth}) / len(truth))
    for question, scope in list(zip(questions, scopes, strict=True))[:5]:
        everything, _ = await _timed(
            pool, lambda c, q=question, s=scope: rank_exact(c, generation, q.vector, chunks, s)
        )
        matching.append(len(everything) / chunks)
    return _summary(name, mean(matching), right, short, times, exact, plain)


def _summary(
    name: str,
    matching: float,
    right: list[float],
    short: int,
    times: list[float],
    exact: list[float],
    plain: float,
) -> Line:
    p95 = float(np.percentile(times, 95))
    return Line(name, matching, mean(right), min(right), short, median(times), p95, median(exact), plain)


async def _timed(pool: Pool, work: Callable[[AsyncConnection], Awaitable[Any]]) -> tuple[Any, float]:
    began = time.perf_counter()
    found = await reading(pool, work)
    return found, (time.perf_counter() - began) * 1000


def _table(lines: list[Line]) -> Table:
    table = Table("filter", box=None, pad_edge=False)
    for heading in (
        "matching",
        "recall@10",
        "lowest",
        "short",
        "p50 ms",
        "p95 ms",
        "all compared ms",
        "to plain",
    ):
        table.add_column(heading, justify="right")
    for line in lines:
        table.add_row(
            line.name,
            f"{line.matching:.2%}",
            f"{line.recall:.3f}",
            f"{line.lowest:.1f}",
            str(line.short),
            f"{line.p50:.1f}",
            f"{line.p95:.1f}",
            f"{line.exact_p50:.1f}",
            f"{line.p50 / line.plain_p50:.1f}x",
        )
    return table


if __name__ == "__main__":
    main()
