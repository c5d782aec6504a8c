"""Gives chunks that lack a vector theirs: a stored one of the same text, or else the model's, which is asked once for
each text. The texts are handed out; what became of them is counted."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Self

from pgfolio.flows.embedding.spending import Spending
from pgfolio.flows.execution.workforce import Workforce
from pgfolio.flows.reembedding.backfill_job import BackfillJob
from pgfolio.flows.run.exclusive import wait_for_syncs
from pgfolio.flows.run.progress import ShowsSpending
from pgfolio.schema.database.connect import connect
from pgfolio.schema.records import Problem
from pgfolio.schema.vectors import missing, reuse

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from pgfolio.flows.reembedding.backfill_job import BackfillOutcome
    from pgfolio.flows.run.context import RunContext
    from pgfolio.schema.database.connect import Connection
    from pgfolio.schema.records import Generation
    from pgfolio.schema.vectors.missing import Text

BATCH_TEXTS = 500
BACKGROUND_BATCH_TEXTS = 64
"""Of a model in this process, in the background: after so many it gives way to a sync."""
TEXT_BYTES = 1500
"""Of one, about."""
PAGE_CHUNKS = 2000
"""Chunks that are looked at in one transaction, of those whose text has a vector already."""


def backfill(run: RunContext, connection: Connection, generation: Generation) -> None:
    """Once. Counts, and texts that the model rejects, go into the run's report. Raises ModelError."""
    with Backfill(run, generation) as rounds:
        rounds.run_round(connection)


class Backfill:
    """Of one generation, in as many rounds as it takes, by the same workers."""

    def __init__(self, run: RunContext, generation: Generation) -> None:
        self.postponed = 0
        """Texts that the allowed cost did not cover."""
        self._run = run
        self._generation = generation
        self._rejected: set[bytes] = set()
        self._workforce = Workforce(None if run.options.in_background else run.settings)

    def __enter__(self) -> Self:
        self._workforce.connect()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._workforce.close()

    def run_round(self, connection: Connection, *, gives_way: bool = False) -> None:
        """One round: what is stored of the same text first, for it is free. `gives_way`: to syncs, between two
        batches."""
        self._run.progress.stage("giving chunks their vectors")
        for give_stored in (reuse.take, reuse.place_stored):
            for placed in give_stored(connection, self._generation, PAGE_CHUNKS):
                self._run.report.chunks.reused += placed
        texts = missing.count_texts_without_vector(connection, self._generation)
        connection.commit()
        if texts > len(self._rejected):
            self._run.progress.begin(texts - len(self._rejected))
            self._embed_all(texts, gives_way=gives_way)

    def _embed_all(self, texts: int, *, gives_way: bool) -> None:
        metered = self._generation.space.asks_server
        executor = self._workforce.executor(texts * TEXT_BYTES, metered=metered)
        share = self._workforce.share(executor, self._run.settings.embedding.in_flight, metered=metered)
        job = BackfillJob(
            conninfo=self._run.conninfo,
            generation=self._generation,
            embedder=self._run.embedder_plan(self._generation, share.requests),
            slots=share.slots,
        )
        spending: dict[str, Spending] = {}
        try:
            with (
                connect(self._run.conninfo, autocommit=True) as reader,
                closing(executor.run(job, self._batches(reader, gives_way=gives_way))) as outcomes,
            ):
                for done in outcomes:
                    spending[done.result.process] = done.result.spending
                    self._count(done.result, sum(spending.values(), Spending()))
        finally:
            self._run.record_spending(sum(spending.values(), Spending()))

    def _batches(self, reader: Connection, *, gives_way: bool) -> Iterator[list[Text]]:
        """Texts to embed; what the model rejected once is not sent again in this run."""
        is_small = self._run.options.in_background and not self._generation.space.asks_server
        size = BACKGROUND_BATCH_TEXTS if is_small else BATCH_TEXTS
        for batch in missing.texts_without_vector(reader, self._generation, size):
            if remaining := [text for text in batch if text.hash not in self._rejected]:
                if gives_way:
                    wait_for_syncs(reader)
                yield remaining

    def _count(self, outcome: BackfillOutcome, spending: Spending) -> None:
        report = self._run.report
        report.seconds["embed"] += outcome.embed_seconds
        report.seconds["store"] += outcome.store_seconds
        report.chunks.embedded += outcome.embedded
        report.chunks.reused += max(outcome.placed - outcome.embedded, 0)
        for rejected in outcome.rejected:
            self._rejected.add(rejected.hash)
            report.problem(Problem(f"chunk {rejected.chunk_id}", "embed", rejected.reason))
        self.postponed += outcome.postponed
        self._run.progress.advance(outcome.texts, outcome.embedded)
        if isinstance(self._run.progress, ShowsSpending):
            self._run.progress.spent(report.tokens + spending.tokens, report.cost_usd + spending.cost_usd)
