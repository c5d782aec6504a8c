"""Decides: what a sync has to do, from a crawl and the ledger. Pure: nothing here reads or writes.

A path that is not in the crawl is *missing*. It is removed only if the crawl could look everywhere it might be,
and only as many at once as the limits allow: what is unknown or too much is held.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime

    from flows.crawl import Crawl, Entry
    from schema.records import LedgerEntry


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
    emptied: bool
    """Nothing was found where documents were: more likely a mount gone stale than a decision."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do. `changed` are suspects: whether their content changed is known once they are read."""

    added: tuple[Entry, ...] = ()
    changed: tuple[Suspect, ...] = ()
    moved: tuple[Move, ...] = ()
    removed: tuple[LedgerEntry, ...] = ()
    held: tuple[LedgerEntry, ...] = ()
    unknown: tuple[LedgerEntry, ...] = ()
    quarantined: tuple[LedgerEntry, ...] = ()
    unchanged: int = 0

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
    crawl: Crawl, ledger: Mapping[str, LedgerEntry], *, recipe: str, now: datetime, full: bool = False
) -> Comparison:
    """Sort every path into one of the comparison's groups. `full` suspects every known file."""
    new: list[Entry] = []
    suspects: list[Suspect] = []
    quarantined: list[LedgerEntry] = []
    unchanged = 0
    for entry in crawl.entries:
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
    listed = len(crawl.entries) - len(new)
    missing, unknown = _absent(crawl, ledger) if listed < len(ledger) else ((), ())
    return Comparison(
        new=tuple(new),
        suspects=tuple(suspects),
        unchanged=unchanged,
        quarantined=tuple(quarantined),
        missing=missing,
        unknown=unknown,
        documents=sum(known.document_id is not None for known in ledger.values()) if missing else 0,
        emptied=not crawl.entries and bool(ledger),
    )


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
    hold = _too_many(removed, comparison, limits)
    return Plan(
        added=tuple(entry for entry in comparison.new if entry.path not in arrived),
        changed=comparison.suspects,
        moved=moved,
        removed=() if hold else removed,
        held=removed if hold else (),
        unknown=comparison.unknown,
        quarantined=comparison.quarantined,
        unchanged=comparison.unchanged,
    )


def _absent(
    crawl: Crawl, ledger: Mapping[str, LedgerEntry]
) -> tuple[tuple[LedgerEntry, ...], tuple[LedgerEntry, ...]]:
    """Known paths that the crawl did not list, in their order: missing, and unknown."""
    here = {entry.path for entry in crawl.entries}
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
    documents = sum(known.document_id is not None for known in removed)
    if documents <= limits.approved:
        return False
    over = documents > limits.documents and documents > limits.fraction * comparison.documents
    return over or comparison.emptied


def _shape(path: str, size: int) -> tuple[int, str]:
    return size, _suffix(path)


def _suffix(path: str) -> str:
    """A file of another suffix would be extracted otherwise: it is no move."""
    return PurePosixPath(path).suffix.lower()


def _name(path: str) -> str:
    return path.rpartition("/")[2]
