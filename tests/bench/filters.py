"""`python -m tests.bench.filters` measures filtered vector search: recall@10 against exact, shortness, latency.

Vectors are clustered random ones of a fixed seed, ten chunks to a document, a document in one cluster. That is harder
for an index than real text, where clusters shade into each other: with m 16 and ef_construction 64 some builds leave
a cluster that no search finds, filtered or not. So what a filter costs is read beside the plain search.

A filter is independent of the question (a random part of the documents), near (the clusters next to the question's),
or far (those that are farthest from it).
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from statistics import mean, median
from typing import TYPE_CHECKING, Any

import click
import numpy as np
from psycopg.types.json import Jsonb
from rich.console import Console
from rich.table import Table

from pgfolio.config.loading import load_settings
from pgfolio.query_api.retrieval.filter_parser import parse
from pgfolio.query_api.retrieval.vector_search import nearest_matching
from pgfolio.schema.corpus import sources, statistics
from pgfolio.schema.database.connect import connect, database
from pgfolio.schema.records import Space
from pgfolio.schema.search.access import EVERYTHING, Scope
from pgfolio.schema.search.pool import in_snapshot, open_pool
from pgfolio.schema.search.vector import nearest, rank_exact
from pgfolio.schema.vectors import generations, hnsw, reuse
from tests.bench.room import new_room
from tests.environment import without_settings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from pgfolio.config.settings import Settings
    from pgfolio.schema.database.connect import AsyncConnection, Connection
    from pgfolio.schema.records import Generation, Source
    from pgfolio.schema.search.pool import Pool
    from pgfolio.schema.search.vector import Candidate

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
class FilterLine:
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
class QueryVector:
    vector: np.ndarray
    clusters: list[int]
    """All of them, the nearest first."""


@dataclass(frozen=True, slots=True)
class Taken:
    """One question."""

    milliseconds: float
    exact_milliseconds: float
    recall: float
    short: bool


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--chunks", type=click.IntRange(1000), default=100_000, show_default=True)
@click.option("--m", type=click.IntRange(2, 100), default=24, show_default=True, help="Of the index.")
@click.option(
    "--ef-construction", type=click.IntRange(4, 1000), default=128, show_default=True, help="Of the index."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
def main(*, chunks: int, m: int, ef_construction: int, as_json: bool) -> None:
    """Measure filters of several selectivities beside a plain search, on a Postgres of its own."""
    without_settings()
    room = new_room()
    settings = load_settings(home=room / "home", index={"m": m, "ef_construction": ef_construction})
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
    generation = generations.ensure_active(connection, Space("local", "wordllama-256", DIMENSIONS))
    source = sources.ensure_source(connection, "/bench", name="bench")
    _copy_documents(connection, source, clusters, random.random(len(clusters)))
    _copy_chunks(connection, source)
    found = connection.execute("select id from chunks order by document_id, ordinal").fetchall()
    made = _around(random, centres[np.repeat(clusters, PER_DOCUMENT)])
    rows = [(row[0], source.collection_id, vector) for row, vector in zip(found, made, strict=True)]
    reuse.add_vectors(connection, generation, rows)
    hnsw.build(connection, generation, settings.index.m, settings.index.ef_construction)
    statistics.analyze(connection, generation)
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
    made: np.ndarray = (centres + noise).astype(np.float32)
    return made


def _questions(centres: np.ndarray) -> list[QueryVector]:
    random = np.random.default_rng(SEED + 1)
    chosen = centres[random.integers(0, CLUSTERS, QUESTIONS)]
    return [
        QueryVector(vector, np.argsort(-(centres @ centre)).tolist())
        for vector, centre in zip(_around(random, chosen), chosen, strict=True)
    ]


def _filters(question: QueryVector) -> dict[str, dict[str, Any]]:
    """By name: what part of the chunks matches, and how that lies to the question."""
    clusters = question.clusters
    few = {"part": {"$lt": 0.2}}
    return {
        **{f"{part:.1%}, independent": {"part": {"$lt": part}} for part in PARTS},
        **{
            f"{part:.1%}, near": {"cluster": {"$in": clusters[: round(part * CLUSTERS)]}}
            for part in PARTS[:3]
        },
        "0.1%, near": {**few, "cluster": clusters[0]},
        **{
            f"{part:.1%}, far": {"cluster": {"$in": clusters[-round(part * CLUSTERS) :]}}
            for part in PARTS[:3]
        },
        "0.1%, far": {**few, "cluster": clusters[-1]},
        "50%, a text": {"category": "even"},
        "14%, in an array": {"tags": "tag3"},
        "8%, a date": {"date": {"$gte": "2026-12-01"}},
        "11%, a path": {"path": {"$like": "1%"}},
    }


async def _measured(
    conninfo: str, settings: Settings, generation: Generation, centres: np.ndarray, chunks: int
) -> list[FilterLine]:
    questions = _questions(centres)
    async with open_pool(conninfo, 1, settings.index.ef_search) as pool:
        bench = _Bench(pool, generation, settings.index.ef_search, chunks)
        plain = await bench.plain(questions)
        names = _filters(questions[0])
        return [plain, *[await bench.filtered(name, questions, plain.p50) for name in names]]


@dataclass(frozen=True, slots=True)
class _Bench:
    """One connection, so that its statements are prepared as in a server that runs for long."""

    pool: Pool
    generation: Generation
    ef_search: int
    chunks: int

    async def plain(self, questions: list[QueryVector]) -> FilterLine:
        """The API's own statement, which reads what an answer shows, too."""
        taken = []
        for question in questions:
            search = partial(
                nearest,
                generation=self.generation,
                vector=question.vector,
                limit=LIMIT,
                ef_search=self.ef_search,
                permitted=None,
            )
            taken.append(await self._compared(search, question, EVERYTHING))
        return _summary("none: the plain search", 1.0, taken, None)

    async def filtered(self, name: str, questions: list[QueryVector], plain: float) -> FilterLine:
        taken: list[Taken] = []
        matching: list[float] = []
        for question in questions:
            scope = Scope(None, None, parse(_filters(question)[name]))
            taken.append(await self._compared(partial(self._within, question, scope), question, scope))
            if len(matching) < 3:
                matching.append(len((await self._exact(question, scope, self.chunks))[0]) / self.chunks)
        return _summary(name, mean(matching), taken, plain)

    async def _within(
        self, question: QueryVector, scope: Scope, connection: AsyncConnection
    ) -> list[Candidate]:
        found, _how = await nearest_matching(
            connection, self.generation, question.vector, LIMIT, LIMIT, self.ef_search, scope
        )
        return found

    async def _compared(
        self, search: Callable[[AsyncConnection], Awaitable[Any]], question: QueryVector, scope: Scope
    ) -> Taken:
        found, took = await self._timed(search)
        truth, long = await self._exact(question, scope, LIMIT)
        both = {f.chunk_id for f in found} & {t.chunk_id for t in truth}
        return Taken(took, long, len(both) / len(truth) if truth else 1.0, len(found) < len(truth))

    async def _exact(self, question: QueryVector, scope: Scope, limit: int) -> tuple[Any, float]:
        return await self._timed(
            partial(rank_exact, generation=self.generation, vector=question.vector, limit=limit, scope=scope)
        )

    async def _timed(self, work: Callable[[AsyncConnection], Awaitable[Any]]) -> tuple[Any, float]:
        began = time.perf_counter()
        found = await in_snapshot(self.pool, work)
        return found, (time.perf_counter() - began) * 1000


def _summary(name: str, matching: float, taken: list[Taken], plain: float | None) -> FilterLine:
    times, right = [t.milliseconds for t in taken], [t.recall for t in taken]
    p50, p95 = median(times), float(np.percentile(times, 95))
    exact = median(t.exact_milliseconds for t in taken)
    return FilterLine(
        name, matching, mean(right), min(right), sum(t.short for t in taken), p50, p95, exact, plain or p50
    )


def _table(lines: list[FilterLine]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("filter", no_wrap=True)
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
