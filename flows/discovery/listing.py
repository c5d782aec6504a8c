"""What the listing of a source comes to, whoever lists it: files by folder, what the rules keep out, what is not
known. Gathers for crawl.py."""

from __future__ import annotations

import hashlib
import marshal
import re
from dataclasses import dataclass, field
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from pathspec import GitIgnoreSpec

from pgfolio.flows.discovery.rules import FolderSpecs, Rules, compiled, makes_sense, printable
from pgfolio.flows.discovery.signature import storable
from pgfolio.schema.records import Problem, Signature

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

MEGABYTE = 1024 * 1024
MAX_PATH_BYTES = 2500
"""Bytes. Paths stand in indexes, and an entry of an index holds at most 2,704."""
MAX_IGNORE_BYTES = MEGABYTE
VALUES_PER_FILE = 1 + len(Signature._fields)
"""Values of one file in a folder's listing."""


class SourceUnreachable(Exception):  # noqa: N818 - the name says what happened
    """The root of a source is missing or cannot be listed: mount it, correct its path, grant read access."""


class Entry(NamedTuple):
    """One regular file; `path` is relative to the root, with forward slashes."""

    path: str
    signature: Signature


@dataclass(frozen=True, slots=True)
class CrawlResult:
    """The files, in the order of paths, and what could not be read.

    The files of `unchanged_folders` (name to number of files) are as they are known: they are not in `entries`.
    Of every other folder with files `digests` has what stands for its listing.

    A document that is missing from both is gone only if its path is not in `unknown` and does not start
    with any of `unreadable_dirs`, prefixes ending with a slash, made for `path.startswith(unreadable_dirs)`.
    """

    entries: tuple[Entry, ...]
    unreadable: tuple[Problem, ...] = ()
    unreadable_dirs: tuple[str, ...] = ()
    unknown: frozenset[str] = frozenset()
    too_large: tuple[Problem, ...] = ()
    litter: int = 0
    """Files that only the default rules keep out."""
    unchanged_folders: Mapping[str, int] = field(default_factory=dict)
    digests: Mapping[str, bytes] = field(default_factory=dict)
    devices: frozenset[int] = frozenset()
    """Of the root and of every file seen."""

    @property
    def files(self) -> int:
        return len(self.entries) + sum(self.unchanged_folders.values())


@dataclass(slots=True)
class Listing:
    """What was found so far. `root`: as users know it."""

    root: str
    rules: Rules
    known: Mapping[str, bytes | None]
    processing_key: bytes
    include: GitIgnoreSpec | None = None
    exclude: GitIgnoreSpec | None = None
    unchanged_folders: dict[str, int] = field(default_factory=dict)
    digests: dict[str, bytes] = field(default_factory=dict)
    devices: set[int] = field(default_factory=set)
    entries: list[Entry] = field(default_factory=list)
    unreadable: list[Problem] = field(default_factory=list)
    unreadable_dirs: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    too_large: list[Problem] = field(default_factory=list)
    litter: int = 0
    """Files that only the default rules keep out."""

    @classmethod
    def of(
        cls, root: str, rules: Rules, known: Mapping[str, bytes | None], processing_fingerprint: str
    ) -> Self:
        """Raises ValueError for a glob that makes no sense."""
        return cls(
            root,
            rules,
            known,
            hashlib.sha256(processing_fingerprint.encode()).digest(),
            include=compiled(rules.include, "include"),
            exclude=compiled(rules.exclude, "exclude"),
        )

    def result(self) -> CrawlResult:
        return CrawlResult(
            entries=tuple(sorted(self.entries, key=attrgetter("path"))),
            unreadable=tuple(sorted(self.unreadable, key=attrgetter("path", "reason"))),
            unreadable_dirs=tuple(sorted(self.unreadable_dirs)),
            unknown=frozenset(self.unknown),
            too_large=tuple(sorted(self.too_large, key=attrgetter("path"))),
            litter=self.litter,
            unchanged_folders=self.unchanged_folders,
            digests=self.digests,
            devices=frozenset(self.devices),
        )

    def finish_folder(self, prefix: str, files: list[Any]) -> None:
        """A listing with the known digest needs no entries. Version 0 of marshal: the same bytes for equal values."""
        if not files:
            return
        self.devices.update(files[1::VALUES_PER_FILE])
        digest = hashlib.blake2b(marshal.dumps(files, 0), digest_size=16, key=self.processing_key).digest()
        if self.known.get(prefix) == digest:
            self.unchanged_folders[prefix] = len(files) // VALUES_PER_FILE
            return
        self.digests[prefix] = digest
        for start in range(0, len(files), VALUES_PER_FILE):
            self.entries.append(
                Entry(prefix + files[start], storable(*files[start + 1 : start + VALUES_PER_FILE]))
            )

    def verdict(self, path: str, specs: FolderSpecs) -> bool | None:
        """Whether rules of the user's keep it out; None where none of them names it."""
        if self.exclude is not None and self.exclude.match_file(path):
            return True
        for start, spec in specs:
            verdict = spec.check_file(path[start:]).include
            if verdict is not None:
                return verdict
        return None

    def has_valid_name(self, path: str) -> bool:
        if path.isascii():
            return True
        try:
            path.encode()
        except UnicodeEncodeError:
            reason = "the name is not valid UTF-8: rename it"
            self.unreadable.append(Problem(printable(path), "crawl", reason))
            return False
        return True

    def is_overlong(self, path: str) -> bool:
        """An earlier release, or a path that compresses well, may have been stored: what is stored is kept."""
        length = len(path.encode())
        if length <= MAX_PATH_BYTES:
            return False
        reason = (
            f"its path has {length:,} bytes, more than {MAX_PATH_BYTES:,}: shorten its name or its folders'"
        )
        self.unknown_file(path, reason)
        return True

    def too_large_file(self, path: str, size: int) -> None:
        reason = f"{_megabytes(size)} MB is more than crawl.max_file_mb = {_megabytes(self.rules.max_bytes)}"
        self.too_large.append(Problem(path, "crawl", reason))

    def unknown_folder(self, prefix: str, reason: str) -> None:
        if not prefix:
            raise SourceUnreachable(
                f"cannot list the source folder {self.root}: {reason}. Nothing was changed."
            )
        self.unreadable.append(Problem(printable(prefix.rstrip("/")), "crawl", reason))
        self.unreadable_dirs.append(prefix)

    def unknown_file(self, path: str, reason: str) -> None:
        self.unreadable.append(Problem(printable(path), "crawl", reason))
        self.unknown.append(path)

    def spec(self, path: str, lines: list[str]) -> GitIgnoreSpec:
        """As git does, a pattern that makes no sense is passed over; unlike git, it is reported."""
        try:
            return GitIgnoreSpec.from_lines(lines)
        except (ValueError, re.error) as error:
            self.unreadable.append(Problem(printable(path), "crawl", f"a pattern was passed over: {error}"))
        return GitIgnoreSpec.from_lines([line for line in lines if makes_sense(line)])


def _megabytes(size: int) -> str:
    return f"{size / MEGABYTE:.1f}".removesuffix(".0")
