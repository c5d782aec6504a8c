"""Gathers: which files a source folder holds, and what `stat` says of each.

Reads names, stats and ignore files, never a document. What cannot be known is told apart from what is gone, so that
an unreadable folder is never taken for an empty one. Comparing with the ledger is plan's work.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from operator import attrgetter
from typing import TYPE_CHECKING

from pathspec import GitIgnoreSpec

from schema.records import Problem, Signature

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

IGNORE_FILES = (".gitignore", ".pgfolioignore")  # the later one has the last word
MEGABYTE = 1024 * 1024

_Specs = tuple[tuple[int, GitIgnoreSpec], ...]  # (length of the folder's prefix, its rules), deepest folder first


class SourceUnreachable(Exception):
    """The root of a source is not there or cannot be listed: mount it, correct its path, or grant read access."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What belongs to a source. Globs are written as in `.gitignore`, relative to the root."""

    max_bytes: int
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    hidden: bool = False
    follow_symlinks: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """One regular file; `path` is relative to the root, with forward slashes."""

    path: str
    signature: Signature


@dataclass(frozen=True, slots=True)
class Crawl:
    """What was found, in the order of paths, and what could not be looked at.

    A document that is missing from `entries` is gone only if its path is not in `unknown` and does not start with
    any of `unreadable_dirs`. Those are prefixes that end with a slash, made for `path.startswith(unreadable_dirs)`.
    """

    entries: tuple[Entry, ...]
    unreadable: tuple[Problem, ...] = ()
    unreadable_dirs: tuple[str, ...] = ()
    unknown: frozenset[str] = frozenset()
    too_large: tuple[Problem, ...] = ()


def crawl(root: Path, rules: Rules) -> Crawl:
    """List `root`. A folder that is reachable twice through symlinks is listed once, by its real path if it has one.

    Raises SourceUnreachable if the root itself cannot be listed, ValueError for a glob that cannot be understood.
    The folder `.git` is never entered.
    """
    walk = _Walk(os.fspath(root), rules, _globs(rules.include, "include"), _globs(rules.exclude, "exclude"))
    _check(walk.root)
    walk.run()
    return Crawl(
        entries=tuple(sorted(walk.entries, key=attrgetter("path"))),
        unreadable=tuple(sorted(walk.unreadable, key=attrgetter("path"))),
        unreadable_dirs=tuple(sorted(walk.unreadable_dirs)),
        unknown=frozenset(walk.unknown),
        too_large=tuple(sorted(walk.too_large, key=attrgetter("path"))),
    )


def printable(path: str) -> str:
    """The path with bytes that are not UTF-8 written as escapes, fit for a report and for the database."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _check(root: str) -> None:
    try:
        os.scandir(root).close()
    except OSError as error:
        raise SourceUnreachable(
            f"cannot list the source folder {printable(root)}: {_why(error)}. Nothing was changed. "
            "Mount it, correct its path, or grant read access, then sync again."
        ) from error


def _globs(globs: Sequence[str], setting: str) -> GitIgnoreSpec | None:
    try:
        return GitIgnoreSpec.from_lines(globs) if globs else None
    except ValueError as error:
        raise ValueError(f"crawl.{setting}: {error}") from error


def _why(error: OSError) -> str:
    return (error.strerror or str(error) or type(error).__name__).lower()


@dataclass(slots=True)
class _Walk:
    """The state of one walk: what is still to be listed and what was found."""

    root: str
    rules: Rules
    include: GitIgnoreSpec | None
    exclude: GitIgnoreSpec | None
    entries: list[Entry] = field(default_factory=list)
    unreadable: list[Problem] = field(default_factory=list)
    unreadable_dirs: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    too_large: list[Problem] = field(default_factory=list)
    folders: list[tuple[str, _Specs]] = field(default_factory=lambda: [("", ())])
    links: list[tuple[str, _Specs]] = field(default_factory=list)
    seen: set[tuple[int, int]] = field(default_factory=set)

    def run(self) -> None:
        """Real folders first, then linked ones in order, so that the answer does not depend on the disk's order."""
        while self.folders or self.links:
            if not self.folders:
                self.links.sort(reverse=True)
                self.folders.append(self.links.pop())
            prefix, specs = self.folders.pop()
            try:
                self.folder(prefix, specs)
            except (FileNotFoundError, NotADirectoryError):
                if not prefix:
                    raise SourceUnreachable(f"{self.root} vanished while it was listed. Sync again.") from None
            except OSError as error:
                self.lost_folder(prefix, f"folder cannot be listed: {_why(error)}")

    def folder(self, prefix: str, specs: _Specs) -> None:
        path = f"{self.root}/{prefix}"
        if self.rules.follow_symlinks and not self.first_visit(path):
            return
        with os.scandir(path) as listing:
            found = list(listing)
        names = [entry.name for entry in found if entry.name in IGNORE_FILES]
        if names:
            specs = self.ignore_rules(prefix, sorted(names), specs)
        hidden = self.rules.hidden
        for entry in found:
            name = entry.name
            if name[0] == "." and (not hidden or name == ".git"):
                continue
            self.entry(entry, prefix + name, specs)

    def first_visit(self, path: str) -> bool:
        status = os.stat(path)
        key = (status.st_dev, status.st_ino)
        new = key not in self.seen
        self.seen.add(key)
        return new

    def ignore_rules(self, prefix: str, names: list[str], specs: _Specs) -> _Specs:
        """Rules that cannot be read may hide secrets: the folder is then left out, as unreadable."""
        lines: list[str] = []
        for name in names:
            with open(f"{self.root}/{prefix}{name}", encoding="utf-8-sig", errors="surrogateescape") as file:
                lines += file.read().splitlines()
        return ((len(prefix), self.spec(prefix + names[-1], lines)), *specs)

    def spec(self, path: str, lines: list[str]) -> GitIgnoreSpec:
        """As git does, a pattern that makes no sense is passed over; unlike git, it is reported."""
        try:
            return GitIgnoreSpec.from_lines(lines)
        except ValueError as error:
            self.unreadable.append(Problem(printable(path), "crawl", f"a pattern was passed over: {error}"))
        return GitIgnoreSpec.from_lines([line for line in lines if _makes_sense(line)])

    def entry(self, entry: os.DirEntry[str], path: str, specs: _Specs) -> None:
        link = False
        try:
            if entry.is_symlink():
                if not self.rules.follow_symlinks:
                    return
                link = True
            folder = entry.is_dir()
            if (specs or self.exclude is not None) and self.ignored(path + "/" if folder else path, specs):
                return
            if not path.isascii() and not self.named_well(path):
                return
            if folder:
                (self.links if link else self.folders).append((path + "/", specs))
            elif self.include is None or self.include.match_file(path):
                self.file(path, entry.stat())
        except FileNotFoundError:
            if link:
                self.lost_link(path, "broken link")
        except OSError as error:
            reason = f"cannot be looked at: {_why(error)}"
            if link:
                self.lost_link(path, reason)
            else:
                self.lost_file(path, reason)

    def ignored(self, path: str, specs: _Specs) -> bool:
        if self.exclude is not None and self.exclude.match_file(path):
            return True
        for start, spec in specs:
            verdict = spec.check_file(path[start:]).include
            if verdict is not None:
                return verdict
        return False

    def named_well(self, path: str) -> bool:
        try:
            path.encode()
        except UnicodeEncodeError:
            reason = "the name is not valid UTF-8: rename it"
            self.unreadable.append(Problem(printable(path), "crawl", reason))
            return False
        return True

    def file(self, path: str, status: os.stat_result) -> None:
        if not stat.S_ISREG(status.st_mode):
            return
        if status.st_size > self.rules.max_bytes:
            reason = f"{_megabytes(status.st_size)} MB is more than crawl.max_file_mb = {_megabytes(self.rules.max_bytes)}"
            self.too_large.append(Problem(path, "crawl", reason))
            return
        signature = Signature(
            status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
        )
        self.entries.append(Entry(path, signature))

    def lost_folder(self, prefix: str, reason: str) -> None:
        if not prefix:
            raise SourceUnreachable(f"cannot list the source folder {self.root}: {reason}. Nothing was changed.")
        self.unreadable.append(Problem(printable(prefix.rstrip("/")), "crawl", reason))
        self.unreadable_dirs.append(prefix)

    def lost_file(self, path: str, reason: str) -> None:
        self.unreadable.append(Problem(printable(path), "crawl", reason))
        self.unknown.append(path)

    def lost_link(self, path: str, reason: str) -> None:
        """Its target may have been a file or a folder: both are unknown now."""
        self.lost_file(path, reason)
        self.unreadable_dirs.append(path + "/")


def _makes_sense(line: str) -> bool:
    try:
        GitIgnoreSpec.from_lines([line])
    except ValueError:
        return False
    return True


def _megabytes(size: int) -> str:
    return f"{size / MEGABYTE:.1f}".removesuffix(".0")
