"""What became of one batch: counted where it was done, told to the run, which touches no text."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pgfolio.flows.embedding.spending import Spending
from pgfolio.schema.records import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pgfolio.flows.ingest.file_batch import WorkItem
    from pgfolio.flows.ingest.store import Ready
    from pgfolio.schema.corpus.documents import Written
    from pgfolio.schema.records import LedgerEntry


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one batch, once it is in the database. `incomplete` and `skipped`: (path, reason). `seconds`: by stage.
    `process`: whose `spending` this is, which is of all that it has done in this run until now."""

    files: int = 0
    added: int = 0
    changed: int = 0
    unchanged: int = 0
    failed: tuple[Problem, ...] = ()
    deferred: tuple[Problem, ...] = ()
    incomplete: tuple[tuple[str, str], ...] = ()
    skipped: tuple[tuple[str, str], ...] = ()
    embedded: int = 0
    reused: int = 0
    postponed: int = 0
    waiting: int = 0
    vectors: int = 0
    vector_seconds: float = 0.0
    seconds: Mapping[str, float] = field(default_factory=dict)
    process: str = ""
    spending: Spending = field(default_factory=Spending)

    @classmethod
    def of(
        cls, ready: Ready, written: Written, seconds: Mapping[str, float], process: str, spending: Spending
    ) -> Outcome:
        batch = ready.batch
        earlier = [_is_new(item) for item, entry in ready.superseded if _is_stored(item, entry)]
        return cls(
            files=batch.files + len(ready.superseded),
            added=sum(item.document_id is None for item in ready.storables) + earlier.count(True),
            changed=sum(item.document_id is not None for item in ready.storables) + earlier.count(False),
            unchanged=len(batch.unchanged_content),
            failed=tuple(
                Problem(item.work_item.entry.path, item.stage, item.reason)
                for item in (*batch.failed, *ready.failed)
            ),
            deferred=tuple(
                Problem(item.work_item.entry.path, "crawl", item.reason) for item in batch.deferred
            ),
            incomplete=tuple(_incomplete(ready)),
            skipped=tuple((item.work_item.entry.path, item.reason) for item in batch.skipped),
            embedded=ready.embedded,
            reused=ready.reused,
            postponed=len(ready.postponed),
            waiting=len(ready.waiting),
            vectors=written.vectors,
            vector_seconds=written.seconds,
            seconds=dict(seconds),
            process=process,
            spending=spending,
        )


def _is_new(item: WorkItem) -> bool:
    return item.known is None or item.known.document_id is None


def _is_stored(item: WorkItem, entry: LedgerEntry) -> bool:
    """Whether a document was made of it, and not only its stat noted."""
    return entry.state == "ok" and (item.known is None or item.known.content_hash != entry.content_hash)


def _incomplete(ready: Ready) -> Iterator[tuple[str, str]]:
    for storable in ready.storables:
        if storable.document.incomplete:
            yield storable.document.path, storable.document.incomplete
