"""Gathers: which files a source folder holds, and what `stat` says of each.

Reads names, stats and ignore files, never a document. What cannot be known is distinguished from what is gone:
an unreadable folder is never taken for an empty one. Comparing with the ledger is plan's work.
"""

from __future__ import annotations

import gc
import hashlib
import os
import stat
from contextlib import contextmanager
from dataclasses import dataclass, field
from operator import attrgetter
from typing import TYPE_CHECKING, Literal

from pgfolio.flows.discovery.rules import Rules, compiled, printable
from pgfolio.flows.discovery.walk import Entry, SourceUnreachable, Walk, explanation

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from pgfolio.schema.records import Problem


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


def crawl(
    root: Path,
    rules: Rules,
    known: Mapping[str, bytes | None] | None = None,
    processing_fingerprint: str = "",
) -> CrawlResult:
    """List `root`. The folder `.git` is never entered.

    A folder whose listing has the digest that `known` has for it, under the same fingerprint, is unchanged.
    A folder that symlinks make reachable twice is listed once, by its real path if that is below the root.
    Raises SourceUnreachable if the root itself cannot be listed, ValueError for a glob that makes no sense.
    """
    globs = compiled(rules.include, "include"), compiled(rules.exclude, "exclude")
    walk = Walk(
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
        litter=walk.litter,
        unchanged_folders=walk.unchanged_folders,
        digests=walk.digests,
        devices=frozenset(walk.devices),
    )


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
            f"cannot list the source folder {printable(root)}: {explanation(error)}. Nothing was changed. "
            "Mount it, correct its path, or grant read access, then sync again."
        ) from error


def probe(root: str, path: str) -> Literal["there", "gone", "unknown"]:
    """Whether a file that a crawl missed is there after all; unknown when that cannot be seen now."""
    try:
        status = os.lstat(os.path.join(root, path))  # noqa: PTH118
    except (FileNotFoundError, NotADirectoryError):
        return "gone"
    except OSError:
        return "unknown"
    return "gone" if stat.S_ISDIR(status.st_mode) else "there"
