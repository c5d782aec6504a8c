"""Decides: what a sync has to do, from a crawl and the ledger. Pure: nothing here reads or writes.

A path that is not in the crawl is *missing*. It is removed only if the crawl could look everywhere it might be,
and only as many at once as the limits allow: what is unknown or too much is blocked.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from pgfolio.flows.discovery.listing import Entry

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from pgfolio.flows.discovery.listing import CrawlResult
    from pgfolio.schema.records import LedgerEntry


@dataclass(frozen=True, slots=True)
class KnownFile:
    """A file that the crawl lists, and the ledger's row of it; of a file that moved, the row of its old path."""

    entry: Entry
    known: LedgerEntry


@dataclass(frozen=True, slots=True)
class Comparison:
    """The crawl against the ledger by stat alone, before any file is read."""

    new: tuple[Entry, ...]
    to_verify: tuple[KnownFile, ...]
    """To be read again: their stat, the processing fingerprint or the user says so."""
    unchanged: int
    """Documents that stay."""
    quarantined: tuple[LedgerEntry, ...]
    missing: tuple[LedgerEntry, ...]
    unknown: tuple[LedgerEntry, ...]
    documents: int
    """All that are stored of the source."""
    emptied: bool
    """Nothing was found where documents were: more likely a mount gone stale than a decision."""
    unmounted: frozenset[str] = frozenset()
    """Missing paths whose filesystem is nowhere to be seen: more likely unmounted than deleted."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do. `changed` are files to verify: whether their content changed is known once they are read."""

    added: tuple[Entry, ...] = ()
    changed: tuple[KnownFile, ...] = ()
    moved: tuple[KnownFile, ...] = ()
    removed: tuple[LedgerEntry, ...] = ()
    blocked_deletions: tuple[LedgerEntry, ...] = ()
    unmounted: tuple[LedgerEntry, ...] = ()
    unknown: tuple[LedgerEntry, ...] = ()
    quarantined: tuple[LedgerEntry, ...] = ()
    unchanged: int = 0
    approved: int = 0
    """Removals that pass because they were approved."""

    @property
    def to_read(self) -> int:
        return len(self.added) + len(self.changed)


@dataclass(frozen=True, slots=True)
class DeletionLimits:
    """How many removals pass without approval: up to `documents`, or up to `fraction` of the source, or as
    many as were approved."""

    documents: int
    fraction: float
    approved: int = field(default=0)


def compare(
    crawl: CrawlResult,
    ledger: Mapping[str, LedgerEntry],
    *,
    processing_fingerprint: str,
    now: datetime,
    full: bool = False,
    documents: int | None = None,
    skipped: Mapping[str, int] | None = None,
) -> Comparison:
    """Sort every path into one of the comparison's groups. `full` verifies every known file.

    `ledger` has the rows of all folders that have changed, and those of failed files wherever they are;
    `documents` is how many are stored of the whole source (None: the ledger is all of it), `skipped` how many files
    of each folder are none that we read.
    """
    in_unchanged_folders = [
        known
        for path, known in ledger.items()
        if crawl.unchanged_folders and folder_of(path) in crawl.unchanged_folders
    ]
    entries = [*crawl.entries, *(Entry(known.path, known.signature) for known in in_unchanged_folders)]
    new, to_verify, unchanged, quarantined = _grouped(entries, ledger, processing_fingerprint, now, full=full)
    unchanged += sum(crawl.unchanged_folders.values()) - len(in_unchanged_folders)
    unchanged += sum(known.state == "skipped" for known in in_unchanged_folders)
    unchanged -= sum(files for folder, files in (skipped or {}).items() if folder in crawl.unchanged_folders)
    listed = {entry.path for entry in crawl.entries}
    listed.update(known.path for known in in_unchanged_folders)
    missing, unknown = _absent(crawl, ledger, listed) if len(listed) - len(new) < len(ledger) else ((), ())
    if documents is None:
        documents = sum(known.document_id is not None for known in ledger.values())
    return Comparison(
        new=tuple(new),
        to_verify=tuple(to_verify),
        unchanged=unchanged,
        quarantined=tuple(quarantined),
        missing=missing,
        unknown=unknown,
        documents=documents,
        emptied=not crawl.files and bool(ledger),
        unmounted=_unmounted(crawl, ledger, missing),
    )


def _grouped(
    entries: Sequence[Entry],
    ledger: Mapping[str, LedgerEntry],
    processing_fingerprint: str,
    now: datetime,
    *,
    full: bool,
) -> tuple[list[Entry], list[KnownFile], int, list[LedgerEntry]]:
    """Listed files that are new, to be verified, unchanged (their number), and in quarantine."""
    new: list[Entry] = []
    to_verify: list[KnownFile] = []
    quarantined: list[LedgerEntry] = []
    unchanged = 0
    for entry in entries:
        path, signature = entry
        known = ledger.get(path)
        if known is None:
            new.append(entry)
        elif full or known.signature != signature or known.processing_fingerprint != processing_fingerprint:
            to_verify.append(KnownFile(entry, known))
        elif known.state == "ok":
            unchanged += 1
        elif known.retry_at is not None and known.retry_at <= now:
            to_verify.append(KnownFile(entry, known))
        elif known.state == "failed":
            quarantined.append(known)
    return new, to_verify, unchanged, quarantined


def agrees(entries: Collection[Entry], known: Mapping[str, LedgerEntry], processing_fingerprint: str) -> bool:
    """Whether the ledger's rows of a folder are just what the crawl lists there: the next sync need not look."""
    return len(entries) == len(known) and all(
        (row := known.get(path)) is not None
        and row.signature == signature
        and row.processing_fingerprint == processing_fingerprint
        for path, signature in entries
    )


def without(comparison: Comparison, seen: Collection[str]) -> Comparison:
    """The comparison with paths that a second crawl found no longer missing but unknown: the next sync sees
    them."""
    missing = tuple(known for known in comparison.missing if known.path not in seen)
    unknown_again = tuple(known for known in comparison.missing if known.path in seen)
    return replace(
        comparison,
        missing=missing,
        unknown=comparison.unknown + unknown_again,
        emptied=comparison.emptied and not seen,
    )


def possible_moves(comparison: Comparison) -> list[Entry]:
    """New files whose size and suffix are those of a missing one: only these need their hash for the plan."""
    shapes = {_shape(known.path, known.signature.size) for known in comparison.missing if known.content_hash}
    return [entry for entry in comparison.new if _shape(entry.path, entry.signature.size) in shapes]


def decide(comparison: Comparison, hashes: Mapping[str, bytes], limits: DeletionLimits) -> Plan:
    """The plan. `hashes` has the content hashes of `possible_moves` that could be read.

    A missing document whose content stands in a new file was moved there. Where several fit, the one of the same
    file name is taken first, then the first in order.
    """
    moved = _moves(comparison, hashes)
    departed = {move.known.path for move in moved}
    arrived = {move.entry.path for move in moved}
    removed = tuple(known for known in comparison.missing if known.path not in departed)
    unmounted: tuple[LedgerEntry, ...] = ()
    if documents(removed) > limits.approved:
        unmounted = tuple(known for known in removed if known.path in comparison.unmounted)
        removed = tuple(known for known in removed if known.path not in comparison.unmounted)
    blocked = _too_many(removed, comparison, limits)
    needs_approval = _too_many(removed, comparison, replace(limits, approved=0)) or any(
        known.path in comparison.unmounted for known in removed
    )
    return Plan(
        approved=documents(removed) if needs_approval and not blocked else 0,
        added=tuple(entry for entry in comparison.new if entry.path not in arrived),
        changed=comparison.to_verify,
        moved=moved,
        removed=() if blocked else removed,
        blocked_deletions=removed if blocked else (),
        unmounted=unmounted,
        unknown=comparison.unknown,
        quarantined=comparison.quarantined,
        unchanged=comparison.unchanged,
    )


def documents(entries: Collection[LedgerEntry]) -> int:
    """How many of the files are stored."""
    return sum(known.document_id is not None for known in entries)


def _unmounted(
    crawl: CrawlResult, ledger: Mapping[str, LedgerEntry], missing: Collection[LedgerEntry]
) -> frozenset[str]:
    """Missing paths on a device that nothing found is on, unless a file known there is found on another device
    now: then the device was given another number, as after a restart."""
    if not missing:
        return frozenset()
    renumbered = {ledger[entry.path].signature.device for entry in crawl.entries if entry.path in ledger}
    there = crawl.devices | renumbered
    return frozenset(known.path for known in missing if known.signature.device not in there)


def _absent(
    crawl: CrawlResult, ledger: Mapping[str, LedgerEntry], listed: Collection[str]
) -> tuple[tuple[LedgerEntry, ...], tuple[LedgerEntry, ...]]:
    """Known paths that the crawl did not list, in their order: missing, and unknown."""
    too_large = {problem.path for problem in crawl.too_large}
    missing: list[LedgerEntry] = []
    unknown: list[LedgerEntry] = []
    for path, known in sorted((path, known) for path, known in ledger.items() if path not in listed):
        unseen = path in crawl.unknown or path in too_large or path.startswith(crawl.unreadable_dirs)
        (unknown if unseen else missing).append(known)
    return tuple(missing), tuple(unknown)


def _moves(comparison: Comparison, hashes: Mapping[str, bytes]) -> tuple[KnownFile, ...]:
    by_hash: dict[tuple[bytes, str], list[LedgerEntry]] = {}
    for known in comparison.missing:
        if known.content_hash is None or known.state != "ok":
            continue
        by_hash.setdefault((known.content_hash, _suffix(known.path)), []).append(known)
    moves: dict[str, KnownFile] = {}
    for same_name in (True, False):
        for entry in possible_moves(comparison):
            candidates = by_hash.get((hashes.get(entry.path, b""), _suffix(entry.path)), [])
            origin = next(
                (k for k in candidates if not same_name or _name(k.path) == _name(entry.path)), None
            )
            if origin is not None and entry.path not in moves:
                candidates.remove(origin)
                moves[entry.path] = KnownFile(entry, origin)
    return tuple(moves.values())


def _too_many(removed: tuple[LedgerEntry, ...], comparison: Comparison, limits: DeletionLimits) -> bool:
    removals = documents(removed)
    if removals <= limits.approved:
        return False
    over = removals > limits.documents and removals > limits.fraction * comparison.documents
    return over or comparison.emptied


def _shape(path: str, size: int) -> tuple[int, str]:
    return size, _suffix(path)


def _suffix(path: str) -> str:
    """A file of another suffix would be extracted otherwise: it is no move."""
    return PurePosixPath(path).suffix.lower()


def folder_of(path: str) -> str:
    """With its slash; of a file in the root the empty string."""
    return path[: path.rfind("/") + 1]


def _name(path: str) -> str:
    return path.rpartition("/")[2]
