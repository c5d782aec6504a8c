"""The rules that ignore files of a remote place give to the folders below them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from pgfolio.flows.discovery.listing import MAX_IGNORE_BYTES, MEGABYTE
from pgfolio.flows.discovery.rules import IGNORE_FILES
from pgfolio.flows.remote.records import RemoteUnreachable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pathspec import GitIgnoreSpec

    from pgfolio.flows.discovery.listing import Listing
    from pgfolio.flows.discovery.rules import FolderSpecs
    from pgfolio.flows.remote.records import Remote, RemoteFile

REQUESTS: Final = 16


class FolderRules:
    """Of the folders of one listing. A folder whose ignore file cannot be read is left out, as unreadable: its rules
    may hide secrets."""

    def __init__(self, listing: Listing) -> None:
        self._listing = listing
        self._own: dict[str, GitIgnoreSpec | None] = {}
        self._known: dict[str, FolderSpecs | None] = {}

    def read(self, remote: Remote, folders: Mapping[str, Mapping[str, RemoteFile]]) -> None:
        """The ignore files among these. Raises SourceUnreachable for one of the root."""
        named = [
            (folder, [files[name] for name in sorted(IGNORE_FILES) if name in files])
            for folder, files in folders.items()
            if not files.keys().isdisjoint(IGNORE_FILES)
        ]
        with ThreadPoolExecutor(REQUESTS, thread_name_prefix="ignore") as pool:
            texts = pool.map(lambda of: _lines(remote, of[1]), named)
            for (folder, files), lines in zip(named, texts, strict=True):
                if isinstance(lines, str):
                    self._own[folder] = None
                    self._listing.unknown_folder(folder, lines)
                else:
                    self._own[folder] = self._listing.spec(files[-1].path, lines)

    def of(self, folder: str) -> FolderSpecs | None:
        """None: it does not belong to the source."""
        missing = []
        at = folder
        while at not in self._known and at:
            missing.append(at)
            at = at[: at.rfind("/", 0, -1) + 1]
        if not at and at not in self._known:
            self._known[""] = self._with_own("", ())
        for each in reversed(missing):
            above = self._known[each[: each.rfind("/", 0, -1) + 1]]
            self._known[each] = (
                None if above is None or self._is_out(each, above) else self._with_own(each, above)
            )
        return self._known[folder]

    def _is_out(self, folder: str, above: FolderSpecs) -> bool:
        name = folder.rstrip("/").rpartition("/")[2]
        if name == ".git" or (name.startswith(".") and not self._listing.rules.hidden):
            return True
        return bool(self._listing.verdict(folder, above))

    def _with_own(self, folder: str, above: FolderSpecs) -> FolderSpecs | None:
        if folder not in self._own:
            return above
        spec = self._own[folder]
        return None if spec is None else ((len(folder), spec), *above)


def _lines(remote: Remote, files: Sequence[RemoteFile]) -> list[str] | str:
    """Of all of them; a text says why they cannot be read."""
    lines: list[str] = []
    for file in files:
        name = file.path.rpartition("/")[2]
        try:
            data, _ = remote.read(file.path, MAX_IGNORE_BYTES)
        except FileNotFoundError:
            continue  # it is gone meanwhile
        except (OSError, RemoteUnreachable) as error:
            return f"its {name} cannot be read: {error}"
        if len(data) > MAX_IGNORE_BYTES:
            return f"its {name} has more than {MAX_IGNORE_BYTES // MEGABYTE} MB"
        lines += data.decode("utf-8-sig", "surrogateescape").splitlines()
    return lines
