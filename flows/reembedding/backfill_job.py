"""Embeds a batch of texts that no chunk has a vector for, and stores what is paid for as it comes: the unit of
work. Syncs may add and delete chunks meanwhile; no transaction is open while the model works."""

from __future__ import annotations

import time
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pgfolio.flows.chunking.embedded_text import embedded_text
from pgfolio.flows.embedding.batching import Postponed, RejectedInput
from pgfolio.flows.embedding.spending import Spending
from pgfolio.flows.execution.job import process_name
from pgfolio.schema.database.per_thread import ThreadConnections
from pgfolio.schema.vectors import reuse

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np

    from pgfolio.flows.embedding.embedder import Embedder
    from pgfolio.flows.embedding.opening import EmbedderPlan
    from pgfolio.schema.records import Generation
    from pgfolio.schema.vectors.missing import Text


@dataclass(frozen=True, slots=True)
class Rejection:
    """A text that the model does not take."""

    chunk_id: int
    hash: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class BackfillOutcome:
    """What became of a batch of texts. `placed`: chunks that got a vector; `postponed`: texts that the allowed cost
    did not cover. `process`: whose `spending` this is, of all that it has done until now."""

    texts: int
    embedded: int = 0
    placed: int = 0
    postponed: int = 0
    rejected: Sequence[Rejection] = ()
    embed_seconds: float = 0.0
    store_seconds: float = 0.0
    process: str = ""
    spending: Spending = field(default_factory=Spending)


@dataclass(frozen=True)
class BackfillJob:
    """Of one generation, with the segment that its vectors go to. Items are lists of texts."""

    conninfo: str
    generation: Generation
    embedder: EmbedderPlan
    slots: int

    @contextmanager
    def open(self) -> Iterator[BackfillWorker]:
        with closing(ThreadConnections(self.conninfo)) as connections, self.embedder.open() as embedder:
            yield BackfillWorker(self.generation, embedder, connections)

    def weight(self, item: list[Text]) -> int:
        return sum(len(text.content) for text in item)

    def parts(self, item: list[Text]) -> list[list[Text]]:
        return [[text] for text in item] if len(item) > 1 else []

    def give_up(self, item: list[Text]) -> BackfillOutcome:
        reason = "the process that embedded it ended, each time"
        return BackfillOutcome(
            len(item), rejected=[Rejection(text.chunk_id, text.hash, reason) for text in item]
        )


class BackfillWorker:
    """The job in one process. Each of its threads has a connection of its own, in autocommit."""

    def __init__(self, generation: Generation, embedder: Embedder, connections: ThreadConnections) -> None:
        self._generation = generation
        self._embedder = embedder
        self._connections = connections
        self._process = process_name()

    def __call__(self, item: list[Text]) -> BackfillOutcome:
        """Raises ModelError and what the database raises."""
        connection = self._connections.get()
        began = time.perf_counter()
        # A worker that ended may have had them before, and paid for some.
        stored = reuse.reuse(connection, self._generation, [text.hash for text in item])
        placed = reuse.place(connection, self._generation, stored) if stored else 0
        lacking = [text for text in item if text.hash not in stored]
        store_seconds, embedded = time.perf_counter() - began, 0

        def paid(positions: Sequence[int], made: list[np.ndarray]) -> None:
            nonlocal placed, embedded, store_seconds
            storing = time.perf_counter()
            by_hash = {lacking[at].hash: vector for at, vector in zip(positions, made, strict=True)}
            placed += reuse.place(connection, self._generation, by_hash)
            embedded += len(by_hash)
            store_seconds += time.perf_counter() - storing

        prefix = self._generation.space.document_prefix
        texts = [prefix + embedded_text(text.title, text.heading, text.content) for text in lacking]
        answers = self._embedder.embed(texts, [text.tokens for text in lacking], paid) if texts else []
        return BackfillOutcome(
            texts=len(item),
            embedded=embedded,
            placed=placed,
            postponed=sum(isinstance(answer, Postponed) for answer in answers),
            rejected=[
                Rejection(text.chunk_id, text.hash, answer.reason)
                for text, answer in zip(lacking, answers, strict=True)
                if isinstance(answer, RejectedInput)
            ],
            embed_seconds=time.perf_counter() - began - store_seconds,
            store_seconds=store_seconds,
            process=self._process,
            spending=self._embedder.spending,
        )

    def stop(self) -> None:
        self._embedder.stop()
