"""Which sources may have changed: by the kernel's events, where there are such, else by looking again and again.
Events are hints: what has changed is for a sync to find out."""

from __future__ import annotations

import errno
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pgfolio.config.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

SCAN_SECONDS: Final = 30.0
"""Between two looks where no events come."""
GATHER_MS, MAX_GATHER_MS = 150, 1000
"""A burst is over after so long without another event, or after so long in all."""
SILENT_TYPES: Final = (
    "nfs",
    "cifs",
    "smb",
    "9p",
    "virtiofs",
    "vboxsf",
    "vmhgfs",
    "fuse",
    "afs",
    "ceph",
    "gluster",
)
"""File systems whose changes elsewhere are no events here, by how their types begin."""
MOUNTS: Final = Path("/proc/self/mountinfo")


@dataclass(frozen=True, slots=True)
class Watched:
    """Roots by the ids of their sources: those whose events come, and why the others' do not."""

    by_events: Mapping[int, str]
    by_scans: Mapping[int, str]
    reasons: Sequence[str] = ()


def sort_out(roots: Mapping[int, str]) -> Watched:
    """By their file systems. Raises ConfigError where watchfiles is not installed."""
    try:
        import watchfiles  # noqa: F401, PLC0415 -- an extra
    except ImportError as error:
        raise ConfigError("--watch needs `pip install 'pgfolio[watch]'`") from error
    events, scans, reasons = {}, {}, []
    for source_id, root in roots.items():
        if not Path(root).is_dir():
            scans[source_id] = root
            reasons.append(f"{root} is not there now")
        elif (kind := _type_of(root)).startswith(SILENT_TYPES):
            scans[source_id] = root
            reasons.append(f"{root} is on a {kind} file system, whose changes elsewhere are no events here")
        else:
            events[source_id] = root
    return Watched(events, scans, tuple(reasons))


def changed(
    watched: Watched, ignored: Sequence[str], *, hidden: bool, note: Callable[[str], None]
) -> Iterator[set[int]]:
    """Ids of sources that may have changed, every second, mostly none; all of them where there are no events. Below
    `ignored` nothing counts."""
    last_scan = time.monotonic()
    for batch in _events(watched, _Filter(ignored, hidden=hidden), note):
        due = _sources_of(watched.by_events, batch)
        if batch is None or time.monotonic() - last_scan >= SCAN_SECONDS:
            last_scan = time.monotonic()
            due |= watched.by_scans.keys() | (watched.by_events.keys() if batch is None else set())
        yield due


def _events(watched: Watched, event_filter: Any, note: Callable[[str], None]) -> Iterator[set[str] | None]:
    """Paths, an empty set now and then; None: there are no events, look at everything."""
    from watchfiles import watch  # noqa: PLC0415 -- an extra

    if watched.by_events:
        try:
            for batch in watch(
                *watched.by_events.values(),
                watch_filter=event_filter,
                debounce=MAX_GATHER_MS,
                step=GATHER_MS,
                rust_timeout=1000,
                yield_on_timeout=True,
                raise_interrupt=True,
                ignore_permission_denied=True,
            ):
                yield {path for _, path in batch}
        except OSError as error:
            note(f"{_explained(error)}: folders are looked at every {SCAN_SECONDS:.0f} s instead")
    while True:
        time.sleep(SCAN_SECONDS)
        yield None


class _Filter:
    """What may be a document, by its path alone."""

    def __init__(self, ignored: Sequence[str], *, hidden: bool) -> None:
        self._ignored = tuple(path.rstrip("/") + "/" for path in ignored)
        self._hidden = hidden

    def __call__(self, change: Any, path: str) -> bool:
        del change
        if f"{path}/".startswith(self._ignored):
            return False
        if "/.git/" in f"{path}/":
            return False
        name = path.rpartition("/")[2]
        return self._hidden or not name.startswith(".") or name in (".gitignore", ".pgfolioignore")


def _sources_of(roots: Mapping[int, str], batch: set[str] | None) -> set[int]:
    return {
        source_id
        for source_id, root in roots.items()
        if any(path == root or path.startswith(root.rstrip("/") + "/") for path in batch or ())
    }


def _explained(error: OSError) -> str:
    said = str(error)
    if error.errno == errno.ENOSPC or "watch limit" in said or "No space left" in said:
        return "the system's limit of watched folders is reached (sysctl fs.inotify.max_user_watches)"
    if error.errno == errno.EMFILE or "Too many open files" in said:
        return "the system's limit of watchers is reached (sysctl fs.inotify.max_user_instances)"
    return f"folders cannot be watched ({' '.join(said.split())[:200]})"


def _type_of(root: str) -> str:
    """Of the file system that a folder is on; empty: it cannot be known."""
    try:
        lines = MOUNTS.read_text().splitlines()
    except OSError:
        return ""
    best, kind = "", ""
    path = os.path.realpath(root) + "/"
    for line in lines:
        fields, _, rest = line.partition(" - ")
        point = fields.split(" ")[4].encode().decode("unicode_escape", "replace")
        if path.startswith(point.rstrip("/") + "/") and len(point) >= len(best):
            best, kind = point, rest.split(" ")[0]
    return kind
