"""Lists a remote place as a folder is crawled: by the same rules, with what stands for a file's `stat` in its
signature."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

from pgfolio.flows.discovery.folder_rules import FolderRules
from pgfolio.flows.discovery.listing import MAX_PATH_BYTES, CrawlResult, Listing, SourceUnreachable
from pgfolio.flows.discovery.rules import is_litter
from pgfolio.flows.discovery.signature import storable
from pgfolio.flows.remote.records import RemoteFile, RemoteUnreachable

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from pgfolio.flows.discovery.listing import Entry
    from pgfolio.flows.discovery.rules import FolderSpecs, Rules
    from pgfolio.flows.remote.records import Presence, Remote
    from pgfolio.schema.records import LedgerEntry, Signature

REQUESTS: Final = 16
"""At once."""
DOWNLOADS: Final = 4
"""At once, of files whose content is compared: each may be as large as files may be."""
DEVICE: Final = 0

Files = dict[str, "RemoteFile"]
"""Of one folder, by their names."""


def signature_of(file: RemoteFile) -> Signature:
    return storable(*_values(file))


def _values(file: RemoteFile) -> tuple[int, int, int, int, int]:
    """Of its signature: a hash of the tag stands where a file of this machine has its inode."""
    tag = hashlib.blake2b(file.tag.encode(), digest_size=8).digest() if file.tag else b""
    return DEVICE, int.from_bytes(tag, "big"), file.size, file.mtime_ns, 0


class RemoteTree:
    """Files below a URL."""

    def __init__(self, url: str, remote: Remote, rules: Rules) -> None:
        self._url = url
        self._remote = remote
        self._rules = rules
        self._folder_rules: FolderRules | None = None

    def crawl(self, known: Mapping[str, bytes | None], processing_fingerprint: str) -> CrawlResult:
        listing = Listing.of(self._url, self._rules, known, processing_fingerprint)
        listing.devices.add(DEVICE)
        try:
            folders = self._listed(listing)
        except RemoteUnreachable as error:
            raise SourceUnreachable(f"{error}. Nothing was changed.") from error
        self._folder_rules = FolderRules(listing)
        self._folder_rules.read(self._remote, folders)
        for folder in sorted(folders):
            self._examine(listing, folder, folders)
        return listing.result()

    def presence(self, paths: Sequence[str]) -> dict[str, Presence]:
        with ThreadPoolExecutor(REQUESTS, thread_name_prefix="presence") as pool:
            return dict(zip(paths, pool.map(self._remote.presence, paths), strict=True))

    def ruled_out(self, visible: Collection[str]) -> set[str]:
        """By the rules alone: what a narrowed permission hides from a listing is there still."""
        return {path for path in visible if self._rules_out(path)}

    def content_hashes(self, entries: Sequence[Entry], missing: Sequence[LedgerEntry]) -> dict[str, bytes]:
        """By their tags, where these are made of the content; else by reading them."""
        if self._remote.has_content_tags:
            known = {_tag(each.signature): each.content_hash for each in missing if each.signature.inode}
            return {
                entry.path: content_hash
                for entry in entries
                if (content_hash := known.get(_tag(entry.signature))) is not None
            }
        with ThreadPoolExecutor(DOWNLOADS, thread_name_prefix="hash") as pool:
            hashes = pool.map(self._content_hash, entries)
            return {entry.path: found for entry, found in zip(entries, hashes, strict=True) if found}

    def _listed(self, listing: Listing) -> dict[str, Files]:
        """By folders. Raises RemoteUnreachable."""
        folders: dict[str, Files] = defaultdict(dict)
        for each in self._remote.list_files():
            if isinstance(each, RemoteFile):
                folder, name = parted(each.path)
                folders[folder][name] = each
            else:
                listing.unknown_folder(each.path, each.reason)
        return folders

    def _examine(self, listing: Listing, folder: str, folders: Mapping[str, Files]) -> None:
        assert self._folder_rules is not None  # noqa: S101
        specs = self._folder_rules.of(folder)
        if specs is None:
            return
        files: list[Any] = []
        for name, file in sorted(folders[folder].items()):
            # Consoles of object stores make empty objects in the place of folders.
            is_folder = not name or (not file.size and f"{file.path}/" in folders)
            if not is_folder and self._belongs(listing, file, name, specs):
                files += (name, *_values(file))
        listing.finish_folder(folder, files)

    def _belongs(self, listing: Listing, file: RemoteFile, name: str, specs: FolderSpecs) -> bool:
        if name.startswith(".") and not self._rules.hidden:
            return False
        is_plain = len(file.path) <= MAX_PATH_BYTES and file.path.isascii() and not is_litter(name)
        has_rules = specs or listing.exclude is not None or listing.include is not None
        if (has_rules or not is_plain) and not self._passes_rules(listing, file, name, specs):
            return False
        if file.size > self._rules.max_bytes:
            listing.too_large_file(file.path, file.size)
            return False
        return True

    def _passes_rules(self, listing: Listing, file: RemoteFile, name: str, specs: FolderSpecs) -> bool:
        verdict = listing.verdict(file.path, specs)
        if verdict or not listing.has_valid_name(file.path):
            return False
        if verdict is None and is_litter(name):
            listing.litter += 1
            return False
        return (listing.include is None or listing.include.match_file(file.path)) and not listing.is_overlong(
            file.path
        )

    def _rules_out(self, path: str) -> bool:
        """Whether the rules of the last crawl keep it out."""
        assert self._folder_rules is not None  # noqa: S101
        folder, name = parted(path)
        specs = self._folder_rules.of(folder)
        aside = Listing.of(self._url, self._rules, {}, "")
        return specs is None or not self._belongs(aside, RemoteFile(path, 0, 0, ""), name, specs)

    def _content_hash(self, entry: Entry) -> bytes | None:
        try:
            data, file = self._remote.read(entry.path, self._rules.max_bytes)
        except (OSError, RemoteUnreachable):
            return None
        return hashlib.sha256(data).digest() if file.size == len(data) else None


def parted(path: str) -> tuple[str, str]:
    """The folder with its slash, empty for the root, and the name."""
    folder, slash, name = path.rpartition("/")
    return folder + slash, name


def _tag(signature: Signature) -> tuple[int, int]:
    return signature.inode, signature.size
