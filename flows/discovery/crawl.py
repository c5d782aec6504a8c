"""Gathers: which files a source folder holds, and what `stat` says of each.

Reads names, stats and ignore files, never a document. What cannot be known is told apart from what is gone:
an unreadable folder is never taken for an empty one. Comparing with the ledger is plan's work.
"""

from __future__ import annotations

import gc
import hashlib
import marshal
import os
import re
import stat
from contextlib import contextmanager
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pathspec import GitIgnoreSpec

from pgfolio.schema.records import Problem, Signature

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

IGNORE_FILES = (".gitignore", ".pgfolioignore")  # the later one has the last word
MEGABYTE = 1024 * 1024
MAX_PATH_BYTES = 2500
"""Bytes. Paths stand in indexes, and an entry of an index holds at most 2,704."""
MAX_NAME_BYTES = 255
VALUES_PER_FILE = 1 + len(Signature._fields)
"""Values of one file in a folder's listing."""

_Specs = tuple[
    tuple[int, GitIgnoreSpec], ...
]  # (length of the folder's prefix, its rules), deepest folder first


class SourceUnreachable(Exception):  # noqa: N818 - the name says what happened
    """The root of a source is missing or cannot be listed: mount it, correct its path, grant read access."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What belongs to a source. Globs are written as in `.gitignore`, relative to the root."""

    max_bytes: int
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    hidden: bool = False
    follow_symlinks: bool = False


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
    unchanged_folders: Mapping[str, int] = field(default_factory=dict)
    digests: Mapping[str, bytes] = field(default_factory=dict)
    devices: frozenset[int] = frozenset()
    """Of the root and of every file seen."""

    @property
    def files(self) -> int:
        return len(self.entries) + sum(self.unchanged_folders.values())


def crawl(
    root: Path,
    rules: Rules,
    known: Mapping[str, bytes | None] | None = None,
    processing_fingerprint: str = "",
) -> CrawlResult:
    """List `root`. The folder `.git` is never entered.

    A folder whose listing has the digest that `known` has for it, under the same fingerprint, is
    unchanged.
    A folder that symlinks make reachable twice is listed once, by its real path if that is below the root.
    Raises SourceUnreachable if the root itself cannot be listed, ValueError for a glob that makes no sense.
    """
    globs = _globs(rules.include, "include"), _globs(rules.exclude, "exclude")
    walk = _Walk(
        os.fspath(root), rules, *globs, known or {}, hashlib.sha256(processing_fingerprint.encode()).digest()
    )
    walk.devices.add(_root_device(walk.root))
    with without_garbage_collection():
        walk.run()
    return CrawlResult(
        entries=tuple(sorted(walk.entries, key=attrgetter("path"))),
        unreadable=tuple(sorted(walk.unreadable, key=attrgetter("path", "reason"))),
        unreadable_dirs=tuple(sorted(walk.unreadable_dirs)),
        unknown=frozenset(walk.unknown),
        too_large=tuple(sorted(walk.too_large, key=attrgetter("path"))),
        unchanged_folders=walk.unchanged_folders,
        digests=walk.digests,
        devices=frozenset(walk.devices),
    )


def printable(path: str) -> str:
    """The path with bytes that are not UTF-8 written as escapes, fit for a report and for the database."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


@contextmanager
def without_garbage_collection() -> Iterator[None]:
    """Without garbage collection. A walk, and what compares it, make many small objects and no cycles: collecting
    took a sixth of a walk's time, and almost half of a sync's that found nothing to do."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _root_device(root: str) -> int:
    """The root's device."""
    try:
        os.scandir(root).close()
        return os.stat(root).st_dev  # noqa: PTH116 - no Path objects in the walk
    except OSError as error:
        raise SourceUnreachable(
            f"cannot list the source folder {printable(root)}: {_explanation(error)}. Nothing was changed. "
            "Mount it, correct its path, or grant read access, then sync again."
        ) from error


def _globs(globs: Sequence[str], setting: str) -> GitIgnoreSpec | None:
    try:
        return GitIgnoreSpec.from_lines(globs) if globs else None
    except (ValueError, re.error) as error:
        raise ValueError(f"crawl.{setting}: {error}") from error


def _explanation(error: OSError) -> str:
    return (error.strerror or str(error) or type(error).__name__).lower()


@dataclass(slots=True)
class _Walk:
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
    folders: list[tuple[str, _Specs]] = field(default_factory=lambda: [("", ())])
    links: list[tuple[str, _Specs]] = field(default_factory=list)
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
                self.unknown_folder(prefix, f"folder cannot be listed: {_explanation(error)}")

    def list_folder(self, prefix: str, specs: _Specs) -> None:
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

    def scan(self, entries: list[os.DirEntry[str]], prefix: str, specs: _Specs, files: list[Any]) -> None:
        """The hot loop: for a plain file in a folder without rules, one stat and nothing else that costs. Name
        and signature of each file go flat into one list: objects for files that nobody asks for cost half a walk."""
        short = len(prefix) + MAX_NAME_BYTES <= MAX_PATH_BYTES
        plain = short and prefix.isascii() and not specs and self.exclude is None and self.include is None
        extend, limit = files.extend, self.rules.max_bytes
        for entry in entries:
            name = entry.name
            try:
                if not (plain and entry.is_file(follow_symlinks=False) and name.isascii()):
                    self.examine(entry, prefix + name, specs, files)
                    continue
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue  # it vanished between the listing and the stat
            except OSError as error:
                self.unknown_file(prefix + name, f"cannot be looked at: {_explanation(error)}")
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
                Entry(prefix + files[start], _signature(*files[start + 1 : start + VALUES_PER_FILE]))
            )

    def examine(self, entry: os.DirEntry[str], path: str, specs: _Specs, files: list[Any]) -> None:
        """What is not a plain file: folders, links, other kinds, strange names, whatever meets a rule."""
        is_link = entry.is_symlink()
        if is_link and not self.rules.follow_symlinks:
            return
        try:
            is_folder = entry.is_dir()
            if self.ignored(path + "/" if is_folder else path, specs) or not self.has_valid_name(path):
                return
            if is_folder:
                (self.links if is_link else self.folders).append((path + "/", specs))
                return
            status = entry.stat()
        except OSError as error:
            if not is_link:
                raise
            self.unknown_link(path, f"broken link: {_explanation(error)}")
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

    def ignore_rules(self, prefix: str, names: list[str], specs: _Specs) -> _Specs:
        """Rules that cannot be read may hide secrets: the folder is then left out, as unreadable."""
        lines: list[str] = []
        for name in names:
            path = Path(f"{self.root}/{prefix}{name}")
            # A pipe would be waited for without end, and a link may lead to what is not mounted.
            if not path.is_file():
                raise OSError(f"its {name} is no file, or leads nowhere")
            lines += path.read_text("utf-8-sig", "surrogateescape").splitlines()
        return ((len(prefix), self.spec(prefix + names[-1], lines)), *specs)

    def spec(self, path: str, lines: list[str]) -> GitIgnoreSpec:
        """As git does, a pattern that makes no sense is passed over; unlike git, it is reported."""
        try:
            return GitIgnoreSpec.from_lines(lines)
        except (ValueError, re.error) as error:
            self.unreadable.append(Problem(printable(path), "crawl", f"a pattern was passed over: {error}"))
        return GitIgnoreSpec.from_lines([line for line in lines if _makes_sense(line)])

    def ignored(self, path: str, specs: _Specs) -> bool:
        if self.exclude is not None and self.exclude.match_file(path):
            return True
        for start, spec in specs:
            verdict = spec.check_file(path[start:]).include
            if verdict is not None:
                return verdict
        return False

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


def signature_of(status: os.stat_result) -> Signature:
    """What is compared of a file's stat."""
    return _signature(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _signature(device: int, inode: int, size: int, mtime_ns: int, ctime_ns: int) -> Signature:
    """Some filesystems use all 64 bits of an inode, and have times that nobody has seen yet; PostgreSQL's bigint has
    63 and a sign."""
    return Signature(_as_signed(device), _as_signed(inode), size, _bounded(mtime_ns), _bounded(ctime_ns))


def _as_signed(number: int) -> int:
    return number if number < 1 << 63 else number - (1 << 64)


def _bounded(time_ns: int) -> int:
    return max(-(1 << 63), min(time_ns, (1 << 63) - 1))


def _makes_sense(line: str) -> bool:
    try:
        GitIgnoreSpec.from_lines([line])
    except (ValueError, re.error):
        return False
    return True


def _megabytes(size: int) -> str:
    return f"{size / MEGABYTE:.1f}".removesuffix(".0")


def probe(root: str, path: str) -> Literal["there", "gone", "unknown"]:
    """Whether a file that a crawl missed is there after all; unknown when that cannot be seen now."""
    try:
        status = os.lstat(os.path.join(root, path))  # noqa: PTH118
    except (FileNotFoundError, NotADirectoryError):
        return "gone"
    except OSError:
        return "unknown"
    return "gone" if stat.S_ISDIR(status.st_mode) else "there"
