"""Applies: writes one batch, or the removals and moves of a plan, each in one short transaction."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from pgfolio.flows.discovery.signature import distrusted, racy
from pgfolio.flows.ingest.prepare import Batch, Failed
from pgfolio.schema.corpus import collections as collecting
from pgfolio.schema.corpus import documents, ledger, push_queue, sources
from pgfolio.schema.database.locks import with_deadlock_retries
from pgfolio.schema.records import EmbeddedChunk
from pgfolio.schema.vectors import reuse

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

    from pgfolio.flows.discovery.plan import KnownFile
    from pgfolio.flows.ingest.file_batch import WorkItem
    from pgfolio.flows.ingest.prepare import Deferred, Prepared, Skipped, UnchangedContent
    from pgfolio.schema.database.connect import Connection
    from pgfolio.schema.records import Generation, LedgerEntry, Source

_Item = TypeVar("_Item", bound="Prepared | UnchangedContent | Failed | Deferred | Skipped")


@dataclass(slots=True)
class Ready:
    """A batch with its vectors: what can be stored, what has failed on the way, what has to wait.

    `waiting`: for vectors that are handed in to a Batch API. `spare`: vectors that were paid for and that no document
    of the batch has now, by hash. `release`: those that were kept and have their place now. `superseded`: files of it
    that were done already, by a worker that ended before it could say so, each with what became of it.
    """

    batch: Batch
    storables: list[documents.Storable] = field(default_factory=list)
    failed: list[Failed] = field(default_factory=list)
    postponed: list[Deferred] = field(default_factory=list)
    waiting: list[Deferred] = field(default_factory=list)
    spare: Mapping[bytes, np.ndarray] = field(default_factory=dict)
    release: Sequence[bytes] = ()
    superseded: list[tuple[WorkItem, LedgerEntry]] = field(default_factory=list)
    embedded: int = 0
    reused: int = 0


def collect(connection: Connection, source: Source) -> None:
    """Documents whose source has another collection now go there, with their chunks and their vectors: who may see
    them goes by it. Some at a time, each in one transaction."""
    more = True
    while more:
        with connection.transaction():
            sources.prove_owner(connection, source)
            more = collecting.collect(connection, source) > 0
    connection.commit()


def store_batch(
    connection: Connection, source: Source, generation: Generation, ready: Ready, processing_fingerprint: str
) -> documents.Written:
    """One transaction: documents, chunks, vectors, ledger; then unchanged content and what failed. A document that
    the database rejects has failed, too, and stops no other."""
    store = partial(_store, connection, source, generation, ready, processing_fingerprint)
    try:
        return with_deadlock_retries(store)
    except documents.UnstorableError:
        _set_aside(connection, source, generation, ready, processing_fingerprint)
        return with_deadlock_retries(store)


def _store(
    connection: Connection, source: Source, generation: Generation, ready: Ready, processing_fingerprint: str
) -> documents.Written:
    written = documents.Written()
    with connection.transaction():
        sources.prove_owner(connection, source)
        if source.kind == "pushed":
            _drop_deleted(connection, source, ready)
        _drop_superseded(connection, source, ready)
        if ready.storables:
            written = documents.store(connection, source, generation, ready.storables, processing_fingerprint)
        if ready.batch.unchanged_content:
            files = [(item.work_item.entry.path, item.signature) for item in ready.batch.unchanged_content]
            ledger.touch(connection, source, files)
        for skipped in ready.batch.skipped:
            ledger.skip(
                connection,
                source,
                skipped.work_item.entry.path,
                signature=skipped.signature,
                content_hash=skipped.content_hash,
                processing_fingerprint=processing_fingerprint,
                reason=skipped.reason,
                transient=skipped.transient,
            )
        for item in (*ready.batch.failed, *ready.failed):
            ledger.fail(
                connection,
                source,
                item.work_item.entry.path,
                signature=item.signature,
                content_hash=item.content_hash,
                processing_fingerprint=processing_fingerprint,
                stage=item.stage,
                reason=item.reason,
                transient=item.transient,
                tries=item.tries,
            )
        if ready.spare:
            reuse.keep(connection, generation, ready.spare)
        if ready.release:
            reuse.release(connection, generation, ready.release)
    return written


def _set_aside(
    connection: Connection, source: Source, generation: Generation, ready: Ready, processing_fingerprint: str
) -> None:
    """Tries each document by itself, and takes that back: one that is rejected moves from `storables` to `failed`. As
    transient: where it is not the document's fault after all, time may help."""
    work_items = {item.work_item.entry.path: item.work_item for item in ready.batch.prepared}
    storables, failed = [], []
    for item in ready.storables:
        try:
            with connection.transaction(force_rollback=True):
                documents.store(connection, source, generation, [item], processing_fingerprint)
            storables.append(item)
        except documents.UnstorableError as error:
            document = item.document
            reason = f"cannot be stored: {error}"
            identity = work_items[document.path], document.signature, document.content_hash
            failed.append(Failed(*identity, "store", reason, transient=True))
    ready.storables, ready.failed = storables, [*ready.failed, *failed]
    ready.release = ()  # vectors of what has failed are among them


def _drop_deleted(connection: Connection, source: Source, ready: Ready) -> None:
    """Takes out pushes that were deleted on the way; each of the others gets the id that it was promised."""
    batch = ready.batch
    ids = push_queue.lock(connection, source, [work_item.entry.path for work_item in _work_items(batch)])
    if len(ids) < batch.files:
        ready.release = ()  # what they are of may not be stored
    failed = [item for item in batch.failed if item.work_item.entry.path in ids]
    ready.batch = replace(batch, failed=failed, deferred=())  # what could not be read was deleted, too
    ready.failed = [item for item in ready.failed if item.work_item.entry.path in ids]
    ready.storables = [
        replace(item, reserved=ids[item.document.path])
        for item in ready.storables
        if item.document.path in ids
    ]


def _drop_superseded(connection: Connection, source: Source, ready: Ready) -> None:
    """Takes out what is no longer as the run planned with it: it was stored by the same run, for no other can."""
    work_items = _work_items(ready.batch)
    known = ledger.of_paths(connection, source, [item.entry.path for item in work_items])
    superseded = {item.entry.path for item in work_items if known.get(item.entry.path) != item.known}
    if not superseded:
        return
    ready.release = ()  # what they are of may be stored as something else
    ready.superseded += [
        (item, known[item.entry.path]) for item in work_items if item.entry.path in superseded & known.keys()
    ]
    ready.batch = _without(ready.batch, superseded)
    ready.failed = [item for item in ready.failed if item.work_item.entry.path not in superseded]
    ready.postponed = [item for item in ready.postponed if item.work_item.entry.path not in superseded]
    ready.storables = [item for item in ready.storables if item.document.path not in superseded]


def _without(batch: Batch, paths: set[str]) -> Batch:
    def others(items: Sequence[_Item]) -> list[_Item]:
        return [item for item in items if item.work_item.entry.path not in paths]

    return Batch(
        prepared=others(batch.prepared),
        unchanged_content=others(batch.unchanged_content),
        failed=others(batch.failed),
        deferred=others(batch.deferred),
        skipped=others(batch.skipped),
    )


def _work_items(batch: Batch) -> list[WorkItem]:
    items = (batch.prepared, batch.unchanged_content, batch.failed, batch.deferred, batch.skipped)
    return [item.work_item for group in items for item in group]


def move(connection: Connection, source: Source, moves: Sequence[KnownFile], crawled_at_ns: int) -> None:
    """`looked_at_ns`: when the crawl began that found them."""
    moved = [
        (
            move.known.path,
            move.entry.path,
            distrusted(move.entry.signature)
            if racy(move.entry.signature, crawled_at_ns)
            else move.entry.signature,
        )
        for move in moves
    ]
    with connection.transaction():
        sources.prove_owner(connection, source)
        ledger.move(connection, source, moved)


def remove(
    connection: Connection, source: Source, generation: Generation | None, paths: Sequence[str]
) -> None:
    """Files that are gone. Their vectors are kept for a time: a folder that is put back costs nothing."""
    with connection.transaction():
        sources.prove_owner(connection, source)
        if generation is not None:
            reuse.retain_of_documents(connection, generation, source.id, paths)
        ledger.remove(connection, source, paths)


def storable(item: Prepared, vectors: Sequence[object]) -> documents.Storable:
    """A prepared document with a vector for each of its chunks."""
    chunks = [EmbeddedChunk(chunk, vector) for chunk, vector in zip(item.chunks, vectors, strict=True)]  # type: ignore[arg-type]
    return documents.Storable(
        item.document, chunks, item.work_item.known.document_id if item.work_item.known else None
    )
