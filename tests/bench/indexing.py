"""`python -m tests.bench.indexing` prints what the choice between the live index and a segment beside it is worth,
and what loading and indexing costs beside its floor."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click
import numpy as np
from pgvector import HalfVector
from psycopg import sql
from rich.console import Console
from rich.table import Table

from pgfolio.config.loading import load_settings
from pgfolio.flows.index import maintenance
from pgfolio.schema.database.connect import connect, database
from pgfolio.schema.records import Space
from pgfolio.schema.vectors import generations, hnsw, reuse, segments
from tests.bench.room import new_room
from tests.environment import without_settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgfolio.schema.database.connect import Connection
    from pgfolio.schema.records import Generation, Storage

OUT = Console(highlight=False)
SEED = 7
CENTRES = 500
CHANGES = (0.001, 0.01, 0.1, 0.5)
PLACES = """
insert into chunks (id, document_id, collection_id, ordinal, content, heading, start_at, end_at, tokens, hash,
                    language)
select i, 1, 1, i, '', '', 0, 0, 0, '', 'simple' from generate_series(%s::bigint, %s::bigint) i
"""


def clustered(count: int, dimensions: int, seed: int) -> np.ndarray:
    """Shape (count, dimensions), float32, length 1: around centres that are the same for every seed."""
    centres = np.random.default_rng(SEED).normal(size=(CENTRES, dimensions)).astype(np.float32)
    chosen = np.random.default_rng(seed)
    made = centres[chosen.integers(0, CENTRES, count)]
    made += chosen.normal(scale=0.8, size=(count, dimensions)).astype(np.float32)
    made /= np.linalg.norm(made, axis=1, keepdims=True)
    return made


class IndexBench:
    """A database with chunks to hang vectors on."""

    def __init__(self, connection: Connection, m: int, ef_construction: int) -> None:
        self.connection = connection
        self.m, self.ef_construction = m, ef_construction
        self.chunks = 0
        connection.execute("insert into collections (name) values ('bench')")
        connection.execute("insert into sources (name, root, collection_id) values ('bench', '/bench', 1)")
        connection.execute(
            "insert into documents (source_id, collection_id, path, mime, language, content_hash, text, updated_at) "
            "values (1, 1, 'a', 'text/plain', 'simple', '', '', now())"
        )
        connection.commit()

    def ids(self, first: int, count: int) -> range:
        """Chunks of these numbers, made where they are not there yet."""
        if first + count > self.chunks:
            self.connection.execute(PLACES, [self.chunks + 1, first + count])
            self.chunks = first + count
            self.connection.commit()
        return range(first + 1, first + count + 1)

    def generation(self, dimensions: int, storage: Storage = "halfvec") -> Generation:
        space = Space("local", f"bench {time.time_ns()}", dimensions, storage=storage)
        made = generations.create_generation(self.connection, space, "building")
        self.connection.commit()
        return made

    def copy(self, place: Generation, first: int, made: np.ndarray) -> float:
        rows = [(i, 1, vector) for i, vector in zip(self.ids(first, len(made)), made, strict=True)]
        return self.timed(lambda: reuse.add_vectors(self.connection, place, rows))

    def build(self, place: Generation) -> float:
        return self.timed(lambda: hnsw.build(self.connection, place, self.m, self.ef_construction))

    def drop(self, generation: Generation) -> None:
        generations.drop_generation(self.connection, generation)

    def timed(self, work: Callable[[], object]) -> float:
        began = time.perf_counter()
        work()
        self.connection.commit()
        return time.perf_counter() - began


def choices(bench: IndexBench, rows: int, dimensions: int) -> Table:
    """Each way of adding vectors to an index, predicted and measured."""
    table = Table(
        "changed",
        "vectors",
        "insert: predicted s",
        "took s",
        "beside: predicted s",
        "took s",
        "chosen",
        box=None,
    )
    generation = bench.generation(dimensions)
    bench.copy(generation, 0, clustered(rows, dimensions, 1))
    built = bench.build(generation)
    segments.record_cost(bench.connection, generation, "build", rows, built)
    added = rows
    for seed, share in enumerate(CHANGES, 2):
        count = round(rows * share)
        choice = maintenance.predict(count, rows, maintenance.costs(bench.connection, generation))
        new = clustered(count, dimensions, seed)
        segment = segments.create(bench.connection, generation)
        beside = bench.copy(segment, added, new) + bench.build(segment)
        bench.connection.execute(sql.SQL("drop table {}").format(sql.Identifier(segment.segment_table)))
        bench.connection.commit()
        live = bench.copy(generation, added, new)
        if count >= maintenance.MIN_MEASURED_VECTORS:
            segments.record_cost(bench.connection, generation, "insert", count, live)
        bench.connection.execute(
            sql.SQL("delete from {} where chunk_id > %s").format(sql.Identifier(generation.table)), [rows]
        )
        bench.connection.commit()
        table.add_row(
            f"{share:.1%}",
            f"{count:,}",
            f"{choice.insert:.2f}",
            f"{live:.2f}",
            f"{choice.build:.2f}",
            f"{beside:.2f}",
            choice.way,
        )
    bench.drop(generation)
    return table


def loading(bench: IndexBench, rows: int, dimensions: int) -> Table:
    """Rows a second: our load and index, its floor, and through the live index."""
    made = clustered(rows, dimensions, 1)
    generation = bench.generation(dimensions)
    ours = bench.copy(generation, 0, made) + bench.build(generation)
    bench.drop(generation)
    floor_table = sql.Identifier("floor")
    bench.connection.execute(
        sql.SQL("create table {} (chunk_id bigint, collection_id int, embedding halfvec({}))").format(
            floor_table, sql.Literal(dimensions)
        )
    )
    bench.connection.commit()

    def floor() -> None:
        with bench.connection.cursor().copy("copy floor from stdin (format binary)") as copy:
            copy.set_types(["int8", "int4", "halfvec"])
            for i, vector in enumerate(made):
                copy.write_row((i, 1, HalfVector(vector)))
        bench.connection.execute("set local maintenance_work_mem = '1GB'")
        bench.connection.execute("set local min_parallel_table_scan_size = 0")
        bench.connection.execute(
            sql.SQL(
                "create index on floor using hnsw (embedding halfvec_cosine_ops) with (m = {}, ef_construction = {})"
            ).format(sql.Literal(bench.m), sql.Literal(bench.ef_construction))
        )

    bare = bench.timed(floor)
    bench.connection.execute("drop table floor")
    bench.connection.commit()
    few = rows // 10
    generation = bench.generation(dimensions)
    bench.copy(generation, 0, made[:-few])
    bench.build(generation)
    live = bench.copy(generation, rows - few, made[-few:])
    bench.drop(generation)
    table = Table("load and index", "rows/s", "of bare COPY and CREATE INDEX", box=None)
    table.add_row(f"ours, {rows:,} rows", f"{rows / ours:,.0f}", f"{bare / ours:.2f}")
    table.add_row("bare COPY and CREATE INDEX", f"{rows / bare:,.0f}", "1.00")
    table.add_row(f"the last {few:,} through the live index", f"{few / live:,.0f}", "")
    return table


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--rows", type=click.IntRange(1000), default=100_000, show_default=True)
@click.option("--dimensions", type=click.IntRange(8, 2000), default=256, show_default=True)
@click.option("--only", type=click.Choice(["choices", "loading"]), help="One of the tables.")
def main(*, rows: int, dimensions: int, only: str | None) -> None:
    """Measure what looks after the index, on clustered random vectors with a fixed seed."""
    without_settings()
    settings = load_settings(home=new_room())
    with database(settings) as conninfo, connect(conninfo) as connection:
        bench = IndexBench(connection, settings.index.m, settings.index.ef_construction)
        if only in (None, "choices"):
            OUT.print(choices(bench, rows, dimensions))
        if only in (None, "loading"):
            OUT.print(loading(bench, rows, dimensions))


if __name__ == "__main__":
    main()
