"""Decides: what a sync has to do, from a crawl and the ledger. Pure: nothing here reads or writes.

A path that is not in the crawl is *missing*. It is removed only if the crawl could look everywhere it might be,
and only as many at once as the limits allow: what is unknown or too much is held.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from pgfolio.flows.discovery.crawl import Entry

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime

    from pgfolio.flows.discovery.crawl import Crawl
    from pgfolio.schema.records import LedgerEntry, Signature

SECOND = 1_000_000_000
FINE_GRAIN = SECOND // 50
"""Linux stamps files at the ticks of its timer, 1 to 10 ms apart."""
COARSE_GRAIN = 2 * SECOND


@dataclass(frozen=True, slots=True)
class Suspect:
    """A known file that must be read again: its stat, its recipe or the user says so."""

    entry: Entry
    known: LedgerEntry


@dataclass(frozen=True, slots=True)
class Move:
    known: LedgerEntry
    entry: Entry


@dataclass(frozen=True, slots=True)
class Comparison:
    """The crawl against the ledger by stat alone, before any file is read."""

    new: tuple[Entry, ...]
    suspects: tuple[Suspect, ...]
    unchanged: int
    quarantined: tuple[LedgerEntry, ...]
    missing: tuple[LedgerEntry, ...]
    unknown: tuple[LedgerEntry, ...]
    documents: int
    """All that are stored of the source."""
    emptied: bool
    """Nothing was found where documents were: more likely a mount gone stale than a decision."""
    detached: frozenset[str] = frozenset()
    """Missing paths whose filesystem is nowhere to be seen: more likely unmounted than deleted."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do. `changed` are suspects: whether their content changed is known once they are read."""

    added: tuple[Entry, ...] = ()
    changed: tuple[Suspect, ...] = ()
    moved: tuple[Move, ...] = ()
    removed: tuple[LedgerEntry, ...] = ()
    held: tuple[LedgerEntry, ...] = ()
    detached: tuple[LedgerEntry, ...] = ()
    unknown: tuple[LedgerEntry, ...] = ()
    quarantined: tuple[LedgerEntry, ...] = ()
    unchanged: int = 0
    approved: int = 0
    """Removals that pass because they were approved."""

    @property
    def to_read(self) -> int:
        return len(self.added) + len(self.changed)


@dataclass(frozen=True, slots=True)
class Limits:
    """How many removals pass without being asked: up to `documents`, or up to `fraction` of the source, or as
    many as were approved."""

    documents: int
    fraction: float
    approved: int = field(default=0)


def compare(
    crawl: Crawl,
    ledger: Mapping[str, LedgerEntry],
    *,
    recipe: str,
    now: datetime,
    full: bool = False,
    documents: int | None = None,
) -> Comparison:
    """Sort every path into one of the comparison's groups. `full` suspects every known file.

    `ledger` has the rows of all folders that are not settled, and those of failed files wherever they are;
    `documents` is how many are stored of the whole source (None: the ledger is all of it).
    """
    new: list[Entry] = []
    suspects: list[Suspect] = []
    quarantined: list[LedgerEntry] = []
    settled = [known for path, known in ledger.items() if crawl.settled and folder_of(path) in crawl.settled]
    unchanged = sum(crawl.settled.values()) - len(settled)
    for entry in (*crawl.entries, *(Entry(known.path, known.signature) for known in settled)):
        path, signature = entry
        known = ledger.get(path)
        if known is None:
            new.append(entry)
        elif full or known.signature != signature or known.recipe != recipe:
            suspects.append(Suspect(entry, known))
        elif known.state == "ok":
            unchanged += 1
        elif known.retry_at is not None and known.retry_at <= now:
            suspects.append(Suspect(entry, known))
        else:
            quarantined.append(known)
    here = {entry.path for entry in crawl.entries}
    here.update(known.path for known in settled)
    missing, unknown = _absent(crawl, ledger, here) if len(here) - len(new) < len(ledger) else ((), ())
    if documents is None:
        documents = sum(known.document_id is not None for known in ledger.values())
    return Comparison(
        new=tuple(new),
        suspects=tuple(suspects),
        unchanged=unchanged,
        quarantined=tuple(quarantined),
        missing=missing,
        unknown=unknown,
        documents=documents,
        emptied=not crawl.files and bool(ledger),
        detached=_detached(crawl, ledger, missing),
    )


def agrees(entries: Collection[Entry], known: Mapping[str, LedgerEntry], recipe: str) -> bool:
    """Whether the ledger's rows of a folder are just what the crawl lists there: the next sync need not look."""
    return len(entries) == len(known) and all(
        (row := known.get(path)) is not None and row.signature == signature and row.recipe == recipe
        for path, signature in entries
    )


def racy(signature: Signature, looked_at_ns: int) -> bool:
    """Whether the file could have been written again after `looked_at_ns` without its signature showing it: its
    times are as young as the clock's grain (git's "racy" entries). Times of whole seconds come from a filesystem
    that keeps no finer ones, FAT even in steps of two seconds."""
    youngest = max(signature.mtime_ns, signature.ctime_ns)
    coarse = signature.mtime_ns % SECOND == 0 and signature.ctime_ns % SECOND == 0
    return youngest > looked_at_ns - (COARSE_GRAIN if coarse else FINE_GRAIN)


def distrusted(signature: Signature) -> Signature:
    """Equal to none that a crawl finds: the file is read again at the next sync."""
    return signature._replace(ctime_ns=-1)


def without(comparison: Comparison, found: Collection[str]) -> Comparison:
    """The comparison with paths that a second crawl found no longer missing but unknown: the next sync sees
    them."""
    missing = tuple(known for known in comparison.missing if known.path not in found)
    back = tuple(known for known in comparison.missing if known.path in found)
    return replace(
        comparison,
        missing=missing,
        unknown=comparison.unknown + back,
        emptied=comparison.emptied and not found,
    )


def possible_moves(comparison: Comparison) -> list[Entry]:
    """New files whose size and suffix are those of a missing one: only these need their hash for the plan."""
    wanted = {_shape(known.path, known.signature.size) for known in comparison.missing if known.content_hash}
    return [entry for entry in comparison.new if _shape(entry.path, entry.signature.size) in wanted]


def decide(comparison: Comparison, hashes: Mapping[str, bytes], limits: Limits) -> Plan:
    """The plan. `hashes` has the content hashes of `possible_moves` that could be read.

    A missing document whose content stands in a new file was moved there. Where several fit, the one of the same
    file name is taken first, then the first in order.
    """
    moved = _moves(comparison, hashes)
    gone = {move.known.path for move in moved}
    arrived = {move.entry.path for move in moved}
    removed = tuple(known for known in comparison.missing if known.path not in gone)
    detached: tuple[LedgerEntry, ...] = ()
    if documents(removed) > limits.approved:
        detached = tuple(known for known in removed if known.path in comparison.detached)
        removed = tuple(known for known in removed if known.path not in comparison.detached)
    hold = _too_many(removed, comparison, limits)
    asked = _too_many(removed, comparison, replace(limits, approved=0)) or any(
        known.path in comparison.detached for known in removed
    )
    return Plan(
        approved=documents(removed) if asked and not hold else 0,
        added=tuple(entry for entry in comparison.new if entry.path not in arrived),
        changed=comparison.suspects,
        moved=moved,
        removed=() if hold else removed,
        held=removed if hold else (),
        detached=detached,
        unknown=comparison.unknown,
        quarantined=comparison.quarantined,
        unchanged=comparison.unchanged,
    )


def documents(entries: Collection[LedgerEntry]) -> int:
    """How many of the files are stored."""
    return sum(known.document_id is not None for known in entries)


def _detached(
    crawl: Crawl, ledger: Mapping[str, LedgerEntry], missing: Collection[LedgerEntry]
) -> frozenset[str]:
    """Missing paths on a device that nothing found is on, unless a file known there is found on another device
    now: then the device was given another number, as after a restart."""
    if not missing:
        return frozenset()
    renumbered = {ledger[entry.path].signature.device for entry in crawl.entries if entry.path in ledger}
    there = crawl.devices | renumbered
    return frozenset(known.path for known in missing if known.signature.device not in there)


def _absent(
    crawl: Crawl, ledger: Mapping[str, LedgerEntry], here: Collection[str]
) -> tuple[tuple[LedgerEntry, ...], tuple[LedgerEntry, ...]]:
    """Known paths that the crawl did not list, in their order: missing, and unknown."""
    too_large = {problem.path for problem in crawl.too_large}
    missing: list[LedgerEntry] = []
    unknown: list[LedgerEntry] = []
    for path, known in sorted((path, known) for path, known in ledger.items() if path not in here):
        unseen = path in crawl.unknown or path in too_large or path.startswith(crawl.unreadable_dirs)
        (unknown if unseen else missing).append(known)
    return tuple(missing), tuple(unknown)


def _moves(comparison: Comparison, hashes: Mapping[str, bytes]) -> tuple[Move, ...]:
    by_hash: dict[tuple[bytes, str], list[LedgerEntry]] = {}
    for known in comparison.missing:
        if known.content_hash is None or known.state != "ok":
            continue
        by_hash.setdefault((known.content_hash, _suffix(known.path)), []).append(known)
    moves: dict[str, Move] = {}
    for same_name in (True, False):
        for entry in possible_moves(comparison):
            fitting = by_hash.get((hashes.get(entry.path, b""), _suffix(entry.path)), [])
            chosen = next((k for k in fitting if not same_name or _name(k.path) == _name(entry.path)), None)
            if chosen is not None and entry.path not in moves:
                fitting.remove(chosen)
                moves[entry.path] = Move(chosen, entry)
    return tuple(moves.values())


def _too_many(removed: tuple[LedgerEntry, ...], comparison: Comparison, limits: Limits) -> bool:
    leaving = documents(removed)
    if leaving <= limits.approved:
        return False
    over = leaving > limits.documents and leaving > limits.fraction * comparison.documents
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
