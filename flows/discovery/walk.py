"""Walks a folder: lists what belongs to a source, and notes what cannot be listed. Gathers for crawl.py."""

from __future__ import annotations

import hashlib
import marshal
import os
import re
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from pathspec import GitIgnoreSpec

from pgfolio.config.opening import ChangedError, open_file
from pgfolio.flows.discovery.rules import (
    IGNORE_FILES,
    FolderSpecs,
    Rules,
    is_litter,
    makes_sense,
    printable,
)
from pgfolio.flows.discovery.signature import signature_of, storable
from pgfolio.schema.records import Problem, Signature

if TYPE_CHECKING:
    from collections.abc import Mapping

MEGABYTE = 1024 * 1024
MAX_PATH_BYTES = 2500
"""Bytes. Paths stand in indexes, and an entry of an index holds at most 2,704."""
MAX_NAME_BYTES = 255
MAX_IGNORE_BYTES = MEGABYTE
VALUES_PER_FILE = 1 + len(Signature._fields)
"""Values of one file in a folder's listing."""


class SourceUnreachable(Exception):  # noqa: N818 - the name says what happened
    """The root of a source is missing or cannot be listed: mount it, correct its path, grant read access."""


class Entry(NamedTuple):
    """One regular file; `path` is relative to the root, with forward slashes."""

    path: str
    signature: Signature


@dataclass(slots=True)
class Walk:
    """The state of one walk: what is still to be listed and what was found."""

    root: str
    rules: Rules
    include: GitIgnoreSpec | None
    exclude: GitIgnoreSpec | None
    known: Mapping[str, bytes | None]
    processing_key: bytes
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
    folders: list[tuple[str, FolderSpecs]] = field(default_factory=lambda: [("", ())])
    links: list[tuple[str, FolderSpecs]] = field(default_factory=list)
    seen: set[tuple[int, int]] = field(default_factory=set)

    def run(self) -> None:
        """Real folders first, then linked ones in order: the answer does not depend on the disk's order."""
        while self.folders or self.links:
            if not self.folders:
                self.links.sort(reverse=True)
                self.folders.append(self.links.pop())
            prefix, specs = self.folders.pop()
            try:
                self.list_folder(prefix, specs)
            except (FileNotFoundError, NotADirectoryError):
                if not prefix:
                    raise SourceUnreachable(
                        f"{self.root} vanished while it was listed. Sync again."
                    ) from None
            except OSError as error:
                self.unknown_folder(prefix, f"folder cannot be listed: {explanation(error)}")

    def list_folder(self, prefix: str, specs: FolderSpecs) -> None:
        path = f"{self.root}/{prefix}"
        if self.rules.follow_symlinks and not self.first_visit(path):
            return
        with os.scandir(path) as listing:
            entries = list(listing)
        names = [entry.name for entry in entries if entry.name in IGNORE_FILES]
        if names:
            specs = self.ignore_rules(prefix, sorted(names), specs)
        if self.rules.hidden:
            entries = [entry for entry in entries if entry.name != ".git"]
        else:
            entries = [entry for entry in entries if entry.name[0] != "."]
        files: list[Any] = []
        self.scan(entries, prefix, specs, files)
        self.finish_folder(prefix, files)

    def scan(
        self, entries: list[os.DirEntry[str]], prefix: str, specs: FolderSpecs, files: list[Any]
    ) -> None:
        """The hot loop: for a plain file in a folder without rules, one stat and nothing else that costs. Name
        and signature of each file go flat into one list: objects for files that nobody asks for cost half a walk."""
        short = len(prefix) + MAX_NAME_BYTES <= MAX_PATH_BYTES
        plain = short and prefix.isascii() and not specs and self.exclude is None and self.include is None
        extend, limit = files.extend, self.rules.max_bytes
        for entry in entries:
            name = entry.name
            try:
                if not (plain and entry.is_file(follow_symlinks=False) and name.isascii()) or is_litter(name):
                    self.examine(entry, prefix + name, specs, files)
                    continue
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue  # it vanished between the listing and the stat
            except OSError as error:
                self.unknown_file(prefix + name, f"cannot be looked at: {explanation(error)}")
                continue
            size = status.st_size
            if size > limit:
                self.too_large_file(prefix + name, size)
                continue
            extend((name, status.st_dev, status.st_ino, size, status.st_mtime_ns, status.st_ctime_ns))

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

    def examine(self, entry: os.DirEntry[str], path: str, specs: FolderSpecs, files: list[Any]) -> None:
        """What is not a plain file: folders, links, other kinds, strange names, whatever meets a rule."""
        is_link = entry.is_symlink()
        if is_link and not self.rules.follow_symlinks:
            return
        try:
            is_folder = entry.is_dir()
            verdict = self.verdict(path + "/" if is_folder else path, specs)
            if verdict or not self.has_valid_name(path):
                return
            if verdict is None and not is_folder and is_litter(entry.name):
                self.litter += 1
                return
            if is_folder:
                (self.links if is_link else self.folders).append((path + "/", specs))
                return
            status = entry.stat()
        except OSError as error:
            if not is_link:
                raise
            self.unknown_link(path, f"broken link: {explanation(error)}")
            return
        if not stat.S_ISREG(status.st_mode) or (self.include and not self.include.match_file(path)):
            return
        if self.is_overlong(path):
            return
        if status.st_size > self.rules.max_bytes:
            self.too_large_file(path, status.st_size)
            return
        files += (entry.name, *signature_of(status))

    def first_visit(self, path: str) -> bool:
        status = os.stat(path)  # noqa: PTH116 - no Path objects in the walk
        key = (status.st_dev, status.st_ino)
        new = key not in self.seen
        self.seen.add(key)
        return new

    def ignore_rules(self, prefix: str, names: list[str], specs: FolderSpecs) -> FolderSpecs:
        """Rules that cannot be read may hide secrets: the folder is then left out, as unreadable."""
        lines: list[str] = []
        for name in names:
            lines += self.read_ignore_file(prefix, name).decode("utf-8-sig", "surrogateescape").splitlines()
        return ((len(prefix), self.spec(prefix + names[-1], lines)), *specs)

    def read_ignore_file(self, prefix: str, name: str) -> bytes:
        try:
            with open_file(self.root, prefix + name, follow_symlinks=self.rules.follow_symlinks) as file:
                rules = file.read(MAX_IGNORE_BYTES + 1)
        except (ChangedError, FileNotFoundError) as error:
            raise OSError(f"its {name} is no file, or leads nowhere (crawl.follow_symlinks)") from error
        if len(rules) > MAX_IGNORE_BYTES:
            raise OSError(f"its {name} has more than {MAX_IGNORE_BYTES // MEGABYTE} MB")
        return rules

    def spec(self, path: str, lines: list[str]) -> GitIgnoreSpec:
        """As git does, a pattern that makes no sense is passed over; unlike git, it is reported."""
        try:
            return GitIgnoreSpec.from_lines(lines)
        except (ValueError, re.error) as error:
            self.unreadable.append(Problem(printable(path), "crawl", f"a pattern was passed over: {error}"))
        return GitIgnoreSpec.from_lines([line for line in lines if makes_sense(line)])

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

    def unknown_link(self, path: str, reason: str) -> None:
        """Its target may have been a file or a folder: both are unknown now."""
        self.unknown_file(path, reason)
        self.unreadable_dirs.append(path + "/")


def explanation(error: OSError) -> str:
    return (error.strerror or str(error) or type(error).__name__).lower()


def _megabytes(size: int) -> str:
    return f"{size / MEGABYTE:.1f}".removesuffix(".0")
