"""Supplies a batch with its vectors: those stored or kept for the same text, those that another batch is paying
for, and the model's for the rest. Nothing that is paid for is dropped because its document could not be finished."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from pgfolio.flows.chunking.embedded_text import embedded_text
from pgfolio.flows.embedding.batching import Postponed, RejectedInput
from pgfolio.flows.ingest import store
from pgfolio.flows.ingest.prepare import Deferred, Failed
from pgfolio.flows.ingest.single_flight import InFlight
from pgfolio.schema.vectors import reuse

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pgfolio.flows.embedding.embedder import Embedder
    from pgfolio.flows.ingest.prepare import Batch, Prepared
    from pgfolio.flows.ingest.single_flight import EmbeddingOutcome
    from pgfolio.flows.run.report import Report
    from pgfolio.schema.database.connect import Connection
    from pgfolio.schema.records import Chunk, Generation

_TextsByHash = dict[bytes, tuple[str | None, "Chunk"]]


class VectorSupply:
    """Used by several threads at once; `reader` is theirs, in autocommit, and used by one at a time."""

    def __init__(
        self, embedder: Embedder, generation: Generation, reader: Connection, report: Report
    ) -> None:
        self._embedder = embedder
        self._generation = generation
        self._reader = reader
        self._reader_lock = Lock()
        self._report = report
        self._in_flight = InFlight()
        self._paid_for = generation.space.provider != "local"

    def supply(self, batch: Batch) -> store.Ready:
        """The batch with its vectors, ready to be stored. Raises FatalModelError or TransientError."""
        texts = {chunk.hash: (item.document.title, chunk) for item in batch.prepared for chunk in item.chunks}
        if not texts:
            return store.Ready(batch, [store.storable(item, []) for item in batch.prepared])
        with self._report.timed("embed"):
            return self._ready(batch, texts)

    def stored(self, ready: store.Ready) -> None:
        """The batch is in the database: whoever needs its vectors finds them there."""
        self._in_flight.forget(ready.claimed)

    def _ready(self, batch: Batch, texts: _TextsByHash) -> store.Ready:
        claimed, awaited = self._in_flight.claim(texts)
        prestored: set[bytes] = set()
        try:
            made, stored = self._answers({key: texts[key] for key in claimed}, prestored)
            # Before others' answers are waited for: batches that share texts never wait for each other.
            self._in_flight.answer({**made, **stored})
        except BaseException as error:  # an interrupt as well, or those that wait would wait for ever
            self._in_flight.fail(claimed, error)
            raise
        answers = {**made, **stored, **{key: future.result() for key, future in awaited.items()}}
        ready = _assembled(batch, answers)
        paid = {key: answer for key, answer in made.items() if isinstance(answer, np.ndarray)}
        placed = {item.chunk.hash for storable in ready.storables for item in storable.chunks}
        ready.claimed = tuple(claimed)
        ready.spare = {
            key: vector for key, vector in paid.items() if key not in placed and key not in prestored
        }
        ready.release = tuple((prestored | stored.keys()) & placed)
        ready.embedded = len(paid)
        total = sum(len(storable.chunks) for storable in ready.storables)
        ready.reused = max(total - len(paid.keys() & placed), 0)
        return ready

    def _answers(
        self, texts: _TextsByHash, prestored: set[bytes]
    ) -> tuple[dict[bytes, EmbeddingOutcome], Mapping[bytes, EmbeddingOutcome]]:
        """What the model made now, and what was found."""
        if not texts:
            return {}, {}
        with self._reader_lock:
            stored = reuse.reuse(self._reader, self._generation, list(texts))
        missing = {key: value for key, value in texts.items() if key not in stored}
        prefix = self._generation.space.document_prefix
        keys = list(missing)
        to_embed = [
            prefix + embedded_text(title, chunk.heading, chunk.content) for title, chunk in missing.values()
        ]

        def keep(positions: Sequence[int], batch: Sequence[np.ndarray]) -> None:
            """At once: a kill before the batch is stored loses no more than the requests in flight."""
            if not self._paid_for:
                return
            paid = {keys[at]: vector for at, vector in zip(positions, batch, strict=True)}
            with self._reader_lock:
                reuse.keep(self._reader, self._generation, paid)
            prestored.update(paid)

        tokens = [chunk.tokens for _, chunk in missing.values()]
        answers = self._embedder.embed(to_embed, tokens, keep)
        return dict(zip(keys, answers, strict=True)), stored


def _assembled(batch: Batch, answers: Mapping[bytes, EmbeddingOutcome]) -> store.Ready:
    """Documents that have all their vectors, and what becomes of the others."""
    ready = store.Ready(batch)
    for item in batch.prepared:
        outcomes = [answers[chunk.hash] for chunk in item.chunks]
        rejected = next((answer for answer in outcomes if isinstance(answer, RejectedInput)), None)
        if rejected is not None:
            ready.failed.append(_rejected(item, rejected))
        elif any(isinstance(answer, Postponed) for answer in outcomes):
            ready.postponed.append(Deferred(item.work_item, "the cost allowed for this run is spent"))
        else:
            ready.storables.append(store.storable(item, outcomes))
    return ready


def _rejected(item: Prepared, rejected: RejectedInput) -> Failed:
    return Failed(
        item.work_item,
        item.document.signature,
        item.document.content_hash,
        stage="embed",
        reason=rejected.reason,
        transient=rejected.transient,
    )
