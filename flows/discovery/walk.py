"""Walks a folder: lists what belongs to a source, and notes what cannot be listed. Gathers for crawl.py."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from typing import Any

from pgfolio.config.opening import ChangedError, open_file
from pgfolio.flows.discovery.listing import (
    MAX_IGNORE_BYTES,
    MAX_PATH_BYTES,
    MEGABYTE,
    Listing,
    SourceUnreachable,
)
from pgfolio.flows.discovery.rules import IGNORE_FILES, FolderSpecs, is_litter
from pgfolio.flows.discovery.signature import signature_of

MAX_NAME_BYTES = 255


@dataclass(slots=True)
class Walk(Listing):
    """The state of one walk: what is still to be listed beside what was found."""

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

    def unknown_link(self, path: str, reason: str) -> None:
        """Its target may have been a file or a folder: both are unknown now."""
        self.unknown_file(path, reason)
        self.unreadable_dirs.append(path + "/")


def explanation(error: OSError) -> str:
    return (error.strerror or str(error) or type(error).__name__).lower()
