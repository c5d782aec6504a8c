"""The files of a source, wherever they are: a folder of this machine or a remote place."""

from __future__ import annotations

from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pgfolio.flows.discovery import crawl as crawling
from pgfolio.flows.discovery.listing import MEGABYTE, SourceUnreachable
from pgfolio.flows.discovery.reader import folder_reader, hash_file, push_reader
from pgfolio.flows.discovery.remote_reader import remote_reader
from pgfolio.flows.discovery.remote_tree import RemoteTree
from pgfolio.flows.remote.opening import open_remote
from pgfolio.flows.remote.records import RemoteUnreachable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from pgfolio.config.settings import Crawl
    from pgfolio.flows.discovery.listing import CrawlResult, Entry
    from pgfolio.flows.discovery.reader import Reader
    from pgfolio.flows.discovery.rules import Rules
    from pgfolio.flows.remote.records import Presence
    from pgfolio.schema.records import LedgerEntry, Source


class Tree(Protocol):
    """What a survey and the removals after it ask."""

    def crawl(self, known: Mapping[str, bytes | None], processing_fingerprint: str) -> CrawlResult:
        """Raises SourceUnreachable."""

    def presence(self, paths: Sequence[str]) -> dict[str, Presence]:
        """Whether files that a crawl missed are there after all."""

    def ruled_out(self, visible: Collection[str]) -> set[str]:
        """Of missing files that are there: those that a rule keeps out now. The others were not listed, whatever
        the reason, and are not gone."""

    def content_hashes(self, entries: Sequence[Entry], missing: Sequence[LedgerEntry]) -> dict[str, bytes]:
        """Of new files that may be missing ones under another name, SHA-256; those that can be had now."""


class FolderTree:
    """A folder of this machine."""

    def __init__(self, root: str, rules: Rules) -> None:
        self._root = root
        self._rules = rules

    def crawl(self, known: Mapping[str, bytes | None], processing_fingerprint: str) -> CrawlResult:
        return crawling.crawl(Path(self._root), self._rules, known, processing_fingerprint)

    def presence(self, paths: Sequence[str]) -> dict[str, Presence]:
        return {path: crawling.probe(self._root, path) for path in paths}

    def ruled_out(self, visible: Collection[str]) -> set[str]:
        """A second crawl shows which the first one caught at a bad moment."""
        return set(visible) - {entry.path for entry in crawling.crawl(Path(self._root), self._rules).entries}

    def content_hashes(
        self,
        entries: Sequence[Entry],
        missing: Sequence[LedgerEntry],  # noqa: ARG002 -- as the protocol has it
    ) -> dict[str, bytes]:
        follow_symlinks = self._rules.follow_symlinks
        return {
            entry.path: content_hash
            for entry in entries
            if (content_hash := hash_file(self._root, entry.path, follow_symlinks=follow_symlinks))
        }


def reader(conninfo: str, source: Source, crawl: Crawl) -> AbstractContextManager[Reader]:
    """Of the source's documents, by the settings of crawls."""
    if source.kind == "pushed":
        return push_reader(conninfo, source)
    if source.kind == "remote":
        return remote_reader(source.root, int(crawl.max_file_mb * MEGABYTE))
    return folder_reader(source, follow_symlinks=crawl.follow_symlinks)


@contextmanager
def open_tree(source: Source, rules: Rules) -> Iterator[Tree]:
    """Raises SourceUnreachable, and ConfigError where an extra is not installed."""
    if source.kind != "remote":
        yield FolderTree(source.root, rules)
        return
    try:
        remote = open_remote(source.root)
    except RemoteUnreachable as error:
        raise SourceUnreachable(f"{error}. Nothing was changed.") from error
    with closing(remote):
        yield RemoteTree(source.root, remote, rules)
