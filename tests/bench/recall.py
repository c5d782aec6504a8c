"""`python -m tests.bench.recall [FOLDER ...]` prints recall@10 of the index against comparing every vector.

Of folders that are synced with the defaults and the local model, for stored vectors and for questions, before and
after tuning; and of clustered vectors of 1536 dimensions in each kind of storage, with the size of the index and the
time to build it.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import click
import numpy as np
from pgvector import HalfVector, Vector
from rich.console import Console
from rich.table import Table

from pgfolio.config.loading import load_settings
from pgfolio.flows.index import queries
from pgfolio.flows.index.tuning import run_tuning
from pgfolio.flows.ingest.pipeline import run_sync
from pgfolio.flows.run.context import RunContext
from pgfolio.flows.run.options import Options
from pgfolio.schema.corpus import sources
from pgfolio.schema.database.connect import connect, database
from pgfolio.schema.database.statements import statement
from pgfolio.schema.records import Storage
from pgfolio.schema.vectors import generations, hnsw
from pgfolio.schema.vectors.recall import EvaluationQueries, with_literals
from pgfolio.schema.vectors.storage import scan
from tests.bench.indexing import IndexBench, clustered
from tests.bench.room import new_room
from tests.environment import without_settings

if TYPE_CHECKING:
    from pgfolio.config.settings import Settings
    from pgfolio.schema.records import Generation

OUT = Console(highlight=False)
QUERIES = 200
LOOKING = (64, 128, 256, 512)


def of_folder(settings: Settings, conninfo: str, folder: Path, table: Table) -> None:
    """As a user has it after one sync, then after `pgfolio index --tune`."""
    with connect(conninfo) as connection:
        connection.execute("truncate sources, documents, chunks, ledger, generations cascade")
        source = sources.ensure_source(connection, str(folder.resolve()), name=folder.name)
        connection.commit()
        run_sync(settings, conninfo, [source], Options())
        generation = generations.active_generation(connection)
        assert generation is not None
        rows = hnsw.rows(connection, generation)
        wanted = settings.index
        asked = queries.evaluation_queries(
            RunContext(settings, conninfo, Options()), connection, generation, QUERIES
        )
        built = f"{wanted.m}, {wanted.ef_construction}"
        for what, vectors_ in (("stored vectors", []), ("questions", asked)):
            found, p50_ms = EvaluationQueries(connection, generation, QUERIES, queries=vectors_).measure(
                wanted.ef_search
            )
            shown = f"{found:.4f}", f"{p50_ms:.2f}"
            table.add_row(f"{folder.name}: {what}", f"{rows:,}", built, str(wanted.ef_search), *shown)
    tuned = run_tuning(settings, conninfo, wanted.target_recall, tune=True)
    assert tuned.parameters is not None
    chosen = next(one for one in reversed(tuned.measured) if one.ef_search == tuned.ef_search)
    built = f"{tuned.parameters.m}, {tuned.parameters.ef_construction}"
    table.add_row(
        "questions, tuned",
        f"{rows:,}",
        built,
        str(tuned.ef_search),
        f"{tuned.recall:.4f}",
        f"{chosen.p50_ms:.2f}",
    )


def of_storage(bench: IndexBench, rows: int, dimensions: int, storage: Storage, table: Table) -> None:
    made = clustered(rows, dimensions, 1)
    asked = clustered(QUERIES, dimensions, 99)
    nearest = np.argsort(-(asked @ made.T), axis=1)[:, :10] + 1
    generation = bench.generation(dimensions, storage)
    bench.copy(generation, 0, made)
    built = bench.build(generation)
    size = hnsw.state(bench.connection, generation)
    assert size is not None
    for ef_search in LOOKING:
        found, p50_ms = searched(bench, generation, asked, nearest, ef_search)
        table.add_row(
            storage,
            str(ef_search),
            f"{found:.4f}",
            f"{p50_ms:.2f}",
            f"{size.bytes / 2**20:,.0f}",
            f"{built:.1f}",
        )
        if found > 0.999:
            break
    bench.drop(generation)


def searched(
    bench: IndexBench, generation: Generation, asked: np.ndarray, nearest: np.ndarray, ef_search: int
) -> tuple[float, float]:
    """recall@10 and p50 in milliseconds, by the statement that searches use."""
    scan_limit = scan(generation.space, 10, ef_search)
    text = with_literals(bench.connection, "rank_vectors", generation, limit=10, scan=scan_limit)
    bench.connection.execute(statement("force_index"), {"ef_search": str(ef_search)})
    kind = Vector if generation.space.storage == "vector" else HalfVector
    hits, took = 0, []
    for vector, exact in zip(asked, nearest, strict=True):
        began = time.perf_counter()
        rows = bench.connection.execute(
            text, {"vector": kind(vector), "permitted": None}, binary=True
        ).fetchall()
        took.append(time.perf_counter() - began)
        hits += len({row[0] for row in rows} & set(exact.tolist()))
    bench.connection.rollback()
    return hits / QUERIES / 10, float(np.median(took) * 1000)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("folders", nargs=-1, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--rows", type=click.IntRange(1000), default=100_000, show_default=True)
@click.option("--dimensions", type=click.IntRange(8, 2000), default=1536, show_default=True)
def main(*, folders: tuple[Path, ...], rows: int, dimensions: int) -> None:
    """Measure recall on folders of your own, and on clustered random vectors with a fixed seed."""
    without_settings()
    settings = load_settings(home=new_room())
    with database(settings) as conninfo:
        with connect(conninfo) as connection:
            bench = IndexBench(connection, settings.index.m, settings.index.ef_construction)
            made = Table("storage", "ef_search", "recall@10", "p50 ms", "index MB", "build s", box=None)
            for storage in get_args(Storage):
                of_storage(bench, rows, dimensions, storage, made)
            OUT.print(made)
        real = Table("text", "chunks", "m, ef_construction", "ef_search", "recall@10", "p50 ms", box=None)
        for folder in folders:
            of_folder(settings, conninfo, folder, real)
        if folders:
            OUT.print(real)


if __name__ == "__main__":
    main()
