"""Reads files of a remote place: those of a batch side by side, before each is asked for."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Final

from pgfolio.config.opening import ChangedError
from pgfolio.flows.discovery.reader import Content, NotAnsweringError, Reader
from pgfolio.flows.discovery.remote_tree import signature_of
from pgfolio.flows.discovery.signature import SECOND, distrusted
from pgfolio.flows.remote.opening import open_remote
from pgfolio.flows.remote.records import RemoteUnreachable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pgfolio.flows.discovery.listing import Entry
    from pgfolio.flows.remote.records import Remote, RemoteFile
    from pgfolio.schema.records import Signature

DOWNLOADS: Final = 8
"""At once in a process. The bytes of a batch, or of one large file, are what is in memory for each that is read."""
YOUNG_SECONDS: Final = 60
"""Without a tag, a file as young as this may be written again unseen: clocks of two machines differ."""
PAUSE_SECONDS: Final = 30.0
"""For so long a place that did not answer is not asked again."""


@contextmanager
def remote_reader(url: str, max_bytes: int) -> Iterator[Reader]:
    """Raises ConfigError, NotAnsweringError."""
    try:
        remote = open_remote(url)
    except RemoteUnreachable as error:
        raise NotAnsweringError(str(error)) from error
    with closing(remote), closing(_Downloads(remote, max_bytes)) as downloads:
        yield Reader(downloads.read, downloads.forget, may_skip=True, ahead=downloads.begin)


class _Downloads:
    """Called by several threads, each with paths of its own."""

    def __init__(self, remote: Remote, max_bytes: int) -> None:
        self._remote = remote
        self._max_bytes = max_bytes
        self._pool = ThreadPoolExecutor(DOWNLOADS, thread_name_prefix="download")
        self._begun: dict[str, Future[Content]] = {}
        self._paused = (0.0, "")

    def begin(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            self._begun[entry.path] = self._pool.submit(self._download, entry)

    def read(self, entry: Entry) -> Content:
        begun = self._begun.pop(entry.path, None)
        return begun.result() if begun is not None else self._download(entry)

    def forget(self, paths: Sequence[str]) -> None:
        for path in paths:
            if (begun := self._begun.pop(path, None)) is not None:
                begun.cancel()

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _download(self, entry: Entry) -> Content:
        if not entry.signature.size:
            return Content(b"", entry.signature)
        until, reason = self._paused
        if time.monotonic() < until:
            raise NotAnsweringError(reason)
        try:
            data, file = self._remote.read(entry.path, self._max_bytes)
        except RemoteUnreachable as error:
            self._paused = (time.monotonic() + PAUSE_SECONDS, str(error))
            raise NotAnsweringError(str(error)) from error
        if len(data) != file.size:
            raise ChangedError
        return Content(data, _signature(entry, file))


def _signature(entry: Entry, file: RemoteFile) -> Signature:
    """As it was listed, for a listing may have finer times; one that has changed since, or may change unseen, is read
    again at the next sync."""
    found = signature_of(file)
    if (found.inode, found.size) != (entry.signature.inode, entry.signature.size):
        return distrusted(found)
    if found.inode:
        return entry.signature
    is_young = found.mtime_ns > time.time_ns() - YOUNG_SECONDS * SECOND
    return distrusted(found) if is_young or found != entry.signature else entry.signature
