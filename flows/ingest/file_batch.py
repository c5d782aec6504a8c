"""What is handed out: files of about as much work each, with their bytes where a worker does not see the folder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgfolio.config.opening import ChangedError
from pgfolio.flows.discovery.reader import Content, Reader

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pgfolio.flows.discovery.listing import Entry
    from pgfolio.flows.discovery.reader import Read
    from pgfolio.schema.records import LedgerEntry

MAX_BATCH_BYTES = 256 * 1024
MIN_BATCH_BYTES = 64 * 1024
BATCH_FILES = 64

BATCHES_PER_WORKER = 16
"""So many at least, as far as they are not too small: who is done first does not wait for long."""


@dataclass(frozen=True, slots=True)
class WorkItem:
    """A file to read, and what the ledger knows of it."""

    entry: Entry
    known: LedgerEntry | None = None


@dataclass(frozen=True, slots=True)
class FileBatch:
    """`contents`: by path what reading each came to; None: the worker reads them."""

    work_items: Sequence[WorkItem]
    contents: Mapping[str, Content | OSError | ChangedError] | None = None

    def parts(self) -> list[FileBatch]:
        """One for each file; empty where it is one."""
        if len(self.work_items) == 1:
            return []
        return [
            FileBatch(
                [item], None if self.contents is None else {item.entry.path: self.contents[item.entry.path]}
            )
            for item in self.work_items
        ]

    def reader(self) -> Reader:
        """Of the bytes that it carries."""
        return Reader(self._read, may_skip=True)

    def _read(self, entry: Entry) -> Content:
        content = (self.contents or {})[entry.path]
        if isinstance(content, Content):
            return content
        raise content


def file_batches(work_items: Sequence[WorkItem], workers: int) -> Iterator[FileBatch]:
    """A file over the bound stands alone."""
    total = sum(item.entry.signature.size for item in work_items)
    max_bytes = min(max(total // (workers * BATCHES_PER_WORKER), MIN_BATCH_BYTES), MAX_BATCH_BYTES)
    group: list[WorkItem] = []
    size = 0
    for work_item in work_items:
        if group and (len(group) >= BATCH_FILES or size + work_item.entry.signature.size > max_bytes):
            yield FileBatch(group)
            group, size = [], 0
        group.append(work_item)
        size += work_item.entry.signature.size
    if group:
        yield FileBatch(group)


def carried(batches: Iterable[FileBatch], read: Read) -> Iterator[FileBatch]:
    """With their bytes, each read when it is handed out."""
    for batch in batches:
        contents = {item.entry.path: _content(read, item.entry) for item in batch.work_items}
        yield FileBatch(batch.work_items, contents)


def _content(read: Read, entry: Entry) -> Content | OSError | ChangedError:
    try:
        return read(entry)
    except (OSError, ChangedError) as error:
        return error
