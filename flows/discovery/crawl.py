"""Gathers: which files a source folder holds, and what `stat` says of each.

Reads names, stats and ignore files, never a document. What cannot be known is distinguished from what is gone:
an unreadable folder is never taken for an empty one. Comparing with the ledger is plan's work.
"""

from __future__ import annotations

import gc
import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from pgfolio.flows.discovery.listing import CrawlResult, SourceUnreachable
from pgfolio.flows.discovery.rules import Rules, printable
from pgfolio.flows.discovery.walk import Walk, explanation

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


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
    walk = Walk.of(os.fspath(root), rules, known or {}, processing_fingerprint)
    walk.devices.add(_root_device(walk.root))
    with without_garbage_collection():
        walk.run()
    return walk.result()


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
