"""Gives chunks that lack a vector theirs: a stored one of the same text, or else the model's, which is asked once for
each text. Syncs may add and delete chunks meanwhile. What is paid for is stored as soon as it comes; no transaction
is open while the model works.
"""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Self

from pgfolio.flows.chunking.embedded_text import embedded_text
from pgfolio.flows.embedding.batching import Postponed, RejectedInput
from pgfolio.flows.run.concurrency import ahead, workers
from pgfolio.flows.run.progress import ShowsSpending
from pgfolio.schema.database.connect import connect
from pgfolio.schema.records import Problem
from pgfolio.schema.vectors import missing, reuse

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType

    import numpy as np

    from pgfolio.flows.embedding.batching import EmbeddingOutcome
    from pgfolio.flows.embedding.embedder import Embedder
    from pgfolio.flows.run.context import RunContext
    from pgfolio.schema.database.connect import Connection
    from pgfolio.schema.records import Generation
    from pgfolio.schema.vectors.missing import Text

BATCH_TEXTS = 500
PAGE_CHUNKS = 2000
"""Chunks that are looked at in one transaction, of those whose text has a vector already."""


def backfill(run: RunContext, connection: Connection, generation: Generation) -> None:
    """Once. Counts, and texts that the model rejects, go into the run's report. Raises ModelError."""
    with Backfill(run, generation) as rounds:
        rounds.run_round(connection)


class Backfill:
    """Of one generation, in as many rounds as it takes. One embedder serves all of them: the cost that is allowed
    is that of the whole run."""

    def __init__(self, run: RunContext, generation: Generation) -> None:
        self.postponed = 0
        """Texts that the allowed cost did not cover."""
        self._run = run
        self._generation = generation
        self._rejected: set[bytes] = set()
        self._lock = Lock()
        self._opened = ExitStack()
        self._opened_tools: tuple[Embedder, Connection] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.close()

    def run_round(self, connection: Connection) -> None:
        """One round: what is stored of the same text first, for it is free."""
        self._run.progress.stage("giving chunks their vectors")
        for give_stored in (reuse.take, reuse.place_stored):
            for placed in give_stored(connection, self._generation, PAGE_CHUNKS):
                self._run.report.chunks.reused += placed
        texts = missing.count_texts_without_vector(connection, self._generation)
        connection.commit()
        if texts > len(self._rejected):
            self._run.progress.begin(texts - len(self._rejected))
            self._embed_all()

    def _embed_all(self) -> None:
        embedder, store = self._open()
        with (
            connect(self._run.conninfo, autocommit=True) as reader,
            workers(embedder.in_flight, "embed") as pool,
        ):
            work = partial(self._embed, embedder, store)
            try:
                for batch, answers in ahead(pool, work, self._batches(reader), embedder.in_flight + 1):
                    self._count(embedder, batch, answers)
            except BaseException:
                embedder.stop()  # a retry's long wait would hold up the pool's end
                raise

    def _open(self) -> tuple[Embedder, Connection]:
        """The embedder, which loads a model, and where its vectors are stored: made when first needed."""
        if self._opened_tools is None:
            store = self._opened.enter_context(connect(self._run.conninfo, autocommit=True))
            embedder = self._opened.enter_context(self._run.embedder(self._generation))
            self._opened_tools = embedder, store
        return self._opened_tools

    def _batches(self, reader: Connection) -> Iterator[list[Text]]:
        """Texts to embed; what the model rejected once is not sent again in this run."""
        for batch in missing.texts_without_vector(reader, self._generation, BATCH_TEXTS):
            if remaining := [text for text in batch if text.hash not in self._rejected]:
                yield remaining

    def _embed(
        self, embedder: Embedder, store: Connection, batch: Sequence[Text]
    ) -> tuple[Sequence[Text], list[EmbeddingOutcome]]:
        """In a thread. Vectors are stored as they come: a kill loses no more than the requests in flight."""

        def paid(positions: Sequence[int], made: list[np.ndarray]) -> None:
            by_hash = {batch[at].hash: vector for at, vector in zip(positions, made, strict=True)}
            with self._lock, self._run.report.timed("store"):
                placed = reuse.place(store, self._generation, by_hash)
                self._run.report.chunks.embedded += len(by_hash)
                self._run.report.chunks.reused += max(placed - len(by_hash), 0)

        prefix = self._generation.space.document_prefix
        texts = [prefix + embedded_text(text.title, text.heading, text.content) for text in batch]
        with self._run.report.timed("embed"):
            return batch, embedder.embed(texts, [text.tokens for text in batch], paid)

    def _count(self, embedder: Embedder, batch: Sequence[Text], answers: Sequence[EmbeddingOutcome]) -> None:
        for text, answer in zip(batch, answers, strict=True):
            if isinstance(answer, RejectedInput):
                self._rejected.add(text.hash)
                self._run.report.problem(Problem(f"chunk {text.chunk_id}", "embed", answer.reason))
            self.postponed += isinstance(answer, Postponed)
        embedded = sum(not isinstance(answer, RejectedInput | Postponed) for answer in answers)
        self._run.progress.advance(len(batch), embedded)
        if isinstance(self._run.progress, ShowsSpending):
            self._run.progress.spent(embedder.spending.tokens, embedder.spending.cost_usd)
