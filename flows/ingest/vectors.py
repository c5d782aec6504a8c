"""Gives a parcel its vectors: those that are stored or kept for the same text, those that another parcel is paying
for, and the model's for the rest. Nothing that is paid for is dropped because its document could not be finished."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from pgfolio.flows.chunking.chunk import embedded_text
from pgfolio.flows.embedding.embedder import Postponed, Refusal
from pgfolio.flows.ingest import store
from pgfolio.flows.ingest.prepare import Failed, Left
from pgfolio.flows.ingest.single_flight import InFlight
from pgfolio.schema.vectors import generations

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pgfolio.flows.embedding.embedder import Embedder
    from pgfolio.flows.ingest.prepare import Parcel, Prepared
    from pgfolio.flows.ingest.single_flight import Answer
    from pgfolio.flows.run.report import Report
    from pgfolio.schema.database.connect import Connection
    from pgfolio.schema.records import Chunk, Generation

_Wanted = dict[bytes, tuple[str | None, "Chunk"]]


class Supply:
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

    def give(self, parcel: Parcel) -> store.Ready:
        """The parcel with its vectors, ready to be stored. Raises FatalModelError or TransientError."""
        wanted = {
            chunk.hash: (item.document.title, chunk) for item in parcel.prepared for chunk in item.chunks
        }
        if not wanted:
            return store.Ready(parcel, [store.storable(item, []) for item in parcel.prepared])
        with self._report.timed("embed"):
            return self._ready(parcel, wanted)

    def stored(self, ready: store.Ready) -> None:
        """The parcel is in the database: who needs its vectors finds them there."""
        self._in_flight.forget(ready.claimed)

    def _ready(self, parcel: Parcel, wanted: _Wanted) -> store.Ready:
        mine, others = self._in_flight.claim(wanted)
        early: set[bytes] = set()
        try:
            made, found = self._answers({key: wanted[key] for key in mine}, early)
            self._in_flight.answer({**made, **found})
        except BaseException as error:
            self._in_flight.fail(mine, error)
            raise
        answers = {**made, **found, **{key: future.result() for key, future in others.items()}}
        ready = _sorted_out(parcel, answers)
        paid = {key: answer for key, answer in made.items() if isinstance(answer, np.ndarray)}
        placed = {item.chunk.hash for storable in ready.storables for item in storable.chunks}
        ready.claimed = tuple(mine)
        ready.spare = {key: vector for key, vector in paid.items() if key not in placed and key not in early}
        ready.release = tuple((early | found.keys()) & placed)
        ready.embedded = len(paid)
        total = sum(len(storable.chunks) for storable in ready.storables)
        ready.reused = max(total - len(paid.keys() & placed), 0)
        return ready

    def _answers(
        self, wanted: _Wanted, early: set[bytes]
    ) -> tuple[dict[bytes, Answer], Mapping[bytes, Answer]]:
        """What the model made now, and what was found."""
        if not wanted:
            return {}, {}
        with self._reader_lock:
            found = generations.reuse(self._reader, self._generation, list(wanted))
        missing = {key: value for key, value in wanted.items() if key not in found}
        prefix = self._generation.space.document_prefix
        keys = list(missing)
        texts = [
            prefix + embedded_text(title, chunk.heading, chunk.content) for title, chunk in missing.values()
        ]

        def keep(positions: Sequence[int], batch: Sequence[np.ndarray]) -> None:
            """At once: a kill before the parcel is stored loses no more than the requests in flight."""
            if not self._paid_for:
                return
            paid = {keys[at]: vector for at, vector in zip(positions, batch, strict=True)}
            with self._reader_lock:
                generations.keep(self._reader, self._generation, paid)
            early.update(paid)

        tokens = [chunk.tokens for _, chunk in missing.values()]
        answers = self._embedder.embed(texts, tokens, keep)
        return dict(zip(keys, answers, strict=True)), found


def _sorted_out(parcel: Parcel, answers: Mapping[bytes, Answer]) -> store.Ready:
    """Documents that have all their vectors, and what becomes of the others."""
    ready = store.Ready(parcel)
    for item in parcel.prepared:
        whole = [answers[chunk.hash] for chunk in item.chunks]
        refused = next((answer for answer in whole if isinstance(answer, Refusal)), None)
        if refused is not None:
            ready.failed.append(_refused(item, refused))
        elif any(isinstance(answer, Postponed) for answer in whole):
            ready.postponed.append(Left(item.todo, "the cost allowed for this run is spent"))
        else:
            ready.storables.append(store.storable(item, whole))
    return ready


def _refused(item: Prepared, refusal: Refusal) -> Failed:
    return Failed(
        item.todo,
        item.document.signature,
        item.document.content_hash,
        "embed",
        refusal.reason,
        refusal.transient,
    )
