"""Supplies a batch with its vectors: those stored or kept for the same text, those that another worker is paying for,
and the model's for the rest. Nothing that is paid for is dropped because its document could not be finished."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pgfolio.flows.chunking.embedded_text import embedded_text
from pgfolio.flows.embedding.batching import HANDED_IN, HandedIn, Postponed, RejectedInput
from pgfolio.flows.ingest import store
from pgfolio.flows.ingest.prepare import Deferred, Failed
from pgfolio.schema.vectors import batches, claims, reuse

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from pgfolio.flows.embedding.batching import EmbeddingOutcome
    from pgfolio.flows.embedding.embedder import Embedder
    from pgfolio.flows.ingest.prepare import Batch, Prepared
    from pgfolio.flows.run.report import Report
    from pgfolio.schema.database.connect import Connection
    from pgfolio.schema.records import Chunk, Generation

_TextsByHash = dict[bytes, tuple[str | None, "Chunk"]]


class VectorSupply:
    """Used by several threads at once, each with a connection of its own in autocommit. `is_metered`: a text that
    another worker is asking for is waited for, whatever process it is. `awaits_batches`: a document of which a text
    is handed in waits for the next sync."""

    def __init__(
        self, embedder: Embedder, generation: Generation, *, is_metered: bool, awaits_batches: bool = True
    ) -> None:
        self._embedder = embedder
        self._generation = generation
        self._is_metered = is_metered
        self._awaits_batches = awaits_batches

    def supply(self, connection: Connection, batch: Batch, report: Report) -> store.Ready:
        """The batch with its vectors, ready to be stored. Raises FatalModelError or TransientError."""
        texts = {chunk.hash: (item.document.title, chunk) for item in batch.prepared for chunk in item.chunks}
        if not texts:
            return store.Ready(batch, [store.storable(item, []) for item in batch.prepared])
        with report.timed("embed"):
            return self._ready(connection, batch, texts)

    def _ready(self, connection: Connection, batch: Batch, texts: _TextsByHash) -> store.Ready:
        stored: dict[bytes, EmbeddingOutcome] = dict(self._stored(connection, texts))
        made: dict[bytes, EmbeddingOutcome] = {}
        while lacking := [key for key in texts if key not in stored and key not in made]:
            made |= self._made(connection, {key: texts[key] for key in lacking})
            if others := [key for key in lacking if key not in made]:
                claims.wait(connection, self._generation, others)
                stored |= self._stored(connection, others)
        ready = _assembled(batch, {**made, **stored})
        paid = {key: answer for key, answer in made.items() if isinstance(answer, np.ndarray)}
        placed = {item.chunk.hash for storable in ready.storables for item in storable.chunks}
        prestored = paid.keys() if self._is_metered else set()
        ready.spare = {
            key: vector for key, vector in paid.items() if key not in placed and key not in prestored
        }
        ready.release = tuple((prestored | stored.keys()) & placed)
        ready.embedded = len(paid)
        total = sum(len(storable.chunks) for storable in ready.storables)
        ready.reused = max(total - len(paid.keys() & placed), 0)
        return ready

    def _stored(self, connection: Connection, hashes: Collection[bytes]) -> dict[bytes, np.ndarray]:
        return reuse.reuse(connection, self._generation, list(hashes))

    def _made(self, connection: Connection, texts: _TextsByHash) -> dict[bytes, EmbeddingOutcome]:
        """The model's, of those that no other worker has claimed."""
        if not self._is_metered:
            return self._embedded(connection, texts)
        with claims.claimed(connection, self._generation, list(texts)) as claimed:
            # Whoever had claimed one may have stored it since it was looked for.
            stored = self._stored(connection, claimed)
            lacking = [key for key in claimed if key not in stored]
            waiting = (
                batches.waiting(connection, self._generation, lacking) if self._awaits_batches else set()
            )
            made = self._embedded(connection, {key: texts[key] for key in lacking if key not in waiting})
            return {**made, **dict.fromkeys(waiting, HANDED_IN)}

    def _embedded(self, connection: Connection, texts: _TextsByHash) -> dict[bytes, EmbeddingOutcome]:
        if not texts:
            return {}
        prefix = self._generation.space.document_prefix
        keys = list(texts)
        to_embed = [
            prefix + embedded_text(title, chunk.heading, chunk.content) for title, chunk in texts.values()
        ]

        def keep(positions: Sequence[int], batch: Sequence[np.ndarray]) -> None:
            """At once: a kill before the batch is stored loses no more than the requests in flight, and whoever waits
            for it finds it."""
            if self._is_metered:
                paid = {keys[at]: vector for at, vector in zip(positions, batch, strict=True)}
                reuse.keep(connection, self._generation, paid)

        tokens = [chunk.tokens for _, chunk in texts.values()]
        return dict(zip(keys, self._embedder.embed(to_embed, tokens, keep), strict=True))


def _assembled(batch: Batch, answers: Mapping[bytes, EmbeddingOutcome]) -> store.Ready:
    """Documents that have all their vectors, and what becomes of the others."""
    ready = store.Ready(batch)
    for item in batch.prepared:
        outcomes = [answers[chunk.hash] for chunk in item.chunks]
        rejected = next((answer for answer in outcomes if isinstance(answer, RejectedInput)), None)
        if rejected is not None:
            ready.failed.append(_rejected(item, rejected))
        elif any(isinstance(answer, HandedIn) for answer in outcomes):
            ready.waiting.append(Deferred(item.work_item, "its texts are handed in to the Batch API"))
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
