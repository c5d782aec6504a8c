"""Moves the corpus to another embedding space while search stays up: a new generation is filled from the stored
chunk text, indexed, and made the active one in one transaction; then the old one is dropped.

A killed run leaves its generation `building`; the next one goes on with it. Nothing here imports prefect.
"""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

from flows.chunk import embedded_text
from flows.embed import POSTPONED, BudgetSpentError, Refusal
from flows.overlap import ahead, workers
from flows.run import Options, Run, at_once
from schema import index, sources, vectors
from schema.connect import connect
from schema.records import Problem
from schema.sql import fetch_one, statement

if TYPE_CHECKING:
    from collections.abc import Iterator

    from config.settings import Settings
    from flows.embed import Embedder
    from flows.report import Report
    from flows.run import Progress, Step
    from schema.connect import Connection
    from schema.records import Generation, Space

BATCH = 1024


def run_reembed(
    settings: Settings,
    conninfo: str,
    options: Options,
    *,
    progress: Progress | None = None,
    step: Step = at_once,
) -> Report:
    """Bring all vectors into the space that the settings ask for. Raises FailedError; the old space then stays."""
    run = Reembedding(settings, conninfo, options, progress)
    with run.recorded("reembed") as connection:
        if options.plan_only:
            run.plan(connection)
        else:
            run.all(connection, step)
    return run.report


class Reembedding(Run):
    """The parts of a move from one space to another."""

    def plan(self, connection: Connection) -> None:
        """What would be embedded, and what it would cost; changes nothing."""
        space = self.wanted_space()
        chunks, tokens = _whole(connection)
        if not self._is_there(connection, space):
            self.report.chunks.total, self.report.tokens = chunks, tokens
            self.report.cost_usd = tokens * self.price(space) / 1_000_000

    def all(self, connection: Connection, step: Step) -> None:
        space = self.wanted_space()
        if self._is_there(connection, space):
            return
        with ExitStack() as held:
            # No sync may write meanwhile: it would write to the old space only.
            for source in sources.list_sources(connection):
                held.enter_context(sources.owned(connection, source))
            generation = self._building(connection, space)
            step(f"embed into {space.name}", self.fill, connection, generation)
            step("index", self.index_generation, connection, generation)
            step("switch", self.switch, connection, generation)

    def fill(self, connection: Connection, generation: Generation) -> None:
        """Vectors for every chunk that lacks one, batch by batch, each in a transaction of its own."""
        missing, _ = _missing(connection, generation)
        connection.commit()
        self.progress.begin(missing)
        with (
            self.embedder(generation) as embedder,
            connect(self.conninfo, autocommit=True) as reader,
            workers(embedder.in_flight, "embed") as pool,
        ):
            work = partial(self._embed, embedder, generation)
            try:
                for done in ahead(pool, work, _batches(reader, generation), embedder.in_flight + 1):
                    self._add(connection, generation, done)
                    if any(answer is POSTPONED for _, answer in done):
                        raise BudgetSpentError(
                            f"the next batch would cost more than the ${self.options.max_cost:.2f} allowed: the "
                            "old space stays; what is done is kept, and the next reembed goes on from there"
                        )
            finally:
                embedder.stop()

    def _embed(self, embedder: Embedder, generation: Generation, batch: list[Any]) -> list[tuple[Any, Any]]:
        """Each row of the batch with its vector or a Refusal."""
        prefix = generation.space.document_prefix
        texts = [prefix + embedded_text(row[4], row[3], row[2]) for row in batch]
        with self.report.timed("embed"):
            return list(zip(batch, embedder.embed(texts, [row[6] for row in batch]), strict=True))

    def index_generation(self, connection: Connection, generation: Generation) -> None:
        self.progress.stage("building the index")
        with self.report.timed("index"):
            index.build(connection, generation, self.settings.index.m, self.settings.index.ef_construction)
            connection.commit()

    def switch(self, connection: Connection, generation: Generation) -> None:
        """One row in one transaction, and only if nothing is missing."""
        old = vectors.active_generation(connection)
        missing, _ = _missing(connection, generation)
        if missing:
            raise IncompleteError(
                f"{missing} chunks have no vector in {generation.space.name}: the old space stays"
            )
        vectors.activate(connection, generation)
        connection.commit()
        if old is not None and not vectors.drop_generation(connection, old):
            name = old.space.name
            self.report.problem(
                Problem("", "store", f"the old space {name} is in use: the next reembed drops it")
            )
        self.report.chunks.total = _whole(connection)[0]

    def _add(self, connection: Connection, generation: Generation, done: list[tuple[Any, Any]]) -> None:
        rows = [(row[0], row[1], v) for row, v in done if not isinstance(v, Refusal) and v is not POSTPONED]
        for row, answer in done:
            if isinstance(answer, Refusal):
                self.report.problem(Problem(f"chunk {row[0]}", "embed", answer.reason))
        with self.report.timed("store"), connection.transaction():
            vectors.add_vectors(connection, generation, rows)
        self.report.chunks.embedded += len(rows)
        self.progress.advance(len(rows), len(rows))

    def _building(self, connection: Connection, space: Space) -> Generation:
        """The generation to fill: one that a killed run left in this space, or a new one."""
        for left in vectors.generations(connection, "retired"):
            vectors.drop_generation(connection, left)
        for left in vectors.generations(connection, "building"):
            if left.space == space:
                return left
            vectors.drop_generation(connection, left)
        generation = vectors.create_generation(connection, space, "building")
        connection.commit()
        return generation

    def _is_there(self, connection: Connection, space: Space) -> bool:
        active = vectors.active_generation(connection)
        return active is not None and active.space == space


class IncompleteError(Exception):
    """The new space lacks vectors; the old one stays active."""


def with_model(
    settings: Settings, provider: str | None, model: str | None, dimensions: int | None
) -> Settings:
    """The settings with the space that the command line names."""
    if provider is None and model is None and dimensions is None:
        return settings
    wanted = settings.embedding.model_copy(
        update={"provider": provider or "auto", "model": model or "", "dimensions": dimensions}
    )
    return settings.model_copy(update={"embedding": wanted})


def _batches(reader: Connection, generation: Generation) -> Iterator[list[Any]]:
    after = 0
    while True:
        rows = reader.execute(
            statement("chunks_without_vector", generation), {"after": after, "limit": BATCH}
        ).fetchall()
        if not rows:
            return
        yield rows
        after = rows[-1][0]


def _missing(connection: Connection, generation: Generation) -> tuple[int, int]:
    row = fetch_one(connection, "count_missing_vectors", generation=generation)
    return row[0], row[1]


def _whole(connection: Connection) -> tuple[int, int]:
    row = fetch_one(connection, "count_all_chunks")
    return row[0], row[1]
