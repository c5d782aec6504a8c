"""Looks at a source: gathers its crawl and what the ledger has of it, and decides the plan. Changes nothing, but for
`settle` at the end, which notes what the next sync can pass by."""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pgfolio.flows.discovery import crawl as crawling
from pgfolio.flows.discovery import plan as planning
from pgfolio.flows.ingest import store
from pgfolio.flows.ingest.prepare import hash_file
from pgfolio.schema.corpus import ledger

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from pgfolio.schema.database.connect import Connection
    from pgfolio.schema.records import LedgerEntry, Source

FOLDERS = 200
"""Whose ledger rows are in memory at once while they are settled."""


@dataclass(frozen=True, slots=True)
class Survey:
    """A source as it was found. `looked_at`: when the crawl began, in nanoseconds since 1970."""

    crawl: crawling.Crawl
    plan: planning.Plan
    recipe: str
    stale: Collection[str]
    """Folders whose ledger rows had to be compared."""
    ruled_out: Collection[str]
    """Missing files that are there, and that a rule keeps out now."""
    chunks: int
    looked_at: int


def survey(
    connection: Connection,
    source: Source,
    rules: crawling.Rules,
    recipe: str,
    limits: planning.Limits,
    *,
    full: bool = False,
) -> Survey:
    """Raises SourceUnreachable."""
    looked_at = time.time_ns()
    folders = ledger.folders(connection, source)
    documents, chunks = ledger.totals(connection, source)
    crawl = crawling.crawl(Path(source.root), rules, {} if full else folders, recipe)
    stale = (folders.keys() | crawl.digests.keys()) - crawl.settled.keys()
    known = ledger.load(connection, source, stale if crawl.settled else None)
    connection.commit()
    comparison = planning.compare(
        crawl, known, recipe=recipe, now=datetime.now(UTC), full=full, documents=documents
    )
    comparison, ruled_out = _second_look(source, rules, comparison)
    plan = planning.decide(comparison, _hashes(source, comparison), limits)
    return Survey(crawl, plan, recipe, stale, ruled_out, chunks, looked_at)


def settle(connection: Connection, source: Source, found: Survey) -> Survey:
    """Note the folders of which the ledger now has what the crawl lists: the next sync passes them by. Returns the
    survey with the chunks as they are now."""
    if not found.stale:
        return found
    entries: dict[str, list[crawling.Entry]] = defaultdict(list)
    for entry in found.crawl.entries:
        entries[planning.folder_of(entry.path)].append(entry)
    folders = list(found.crawl.digests)
    for start in range(0, len(folders), FOLDERS):
        _settle(connection, source, found, {name: entries[name] for name in folders[start : start + FOLDERS]})
    with connection.transaction():
        ledger.forget_folders(connection, source)
    return replace(found, chunks=ledger.totals(connection, source)[1])


def _settle(
    connection: Connection, source: Source, found: Survey, entries: Mapping[str, list[crawling.Entry]]
) -> None:
    known: dict[str, dict[str, LedgerEntry]] = defaultdict(dict)
    for path, row in ledger.load(connection, source, entries.keys()).items():
        known[planning.folder_of(path)][path] = row
    settled = [
        (folder, found.crawl.digests[folder], len(listed))
        for folder, listed in entries.items()
        if planning.agrees(listed, known[folder], found.recipe)
    ]
    with connection.transaction():
        ledger.settle(connection, source, settled)


def _second_look(
    source: Source, rules: crawling.Rules, comparison: planning.Comparison
) -> tuple[planning.Comparison, set[str]]:
    """A missing file that can be seen after all is missing by a rule, or because the first crawl caught the
    folder at a bad moment: a second crawl tells."""
    probes = {known.path: store.probe(source.root, known.path) for known in comparison.missing}
    comparison = planning.without(comparison, {path for path, found in probes.items() if found == "unknown"})
    there = {path for path, found in probes.items() if found == "there"}
    if not there:
        return comparison, set()
    again = {entry.path for entry in crawling.crawl(Path(source.root), rules).entries}
    return planning.without(comparison, again), there - again


def _hashes(source: Source, comparison: planning.Comparison) -> dict[str, bytes]:
    """Of new files that may be missing ones under another name."""
    return {
        entry.path: found
        for entry in planning.possible_moves(comparison)
        if (found := hash_file(source.root, entry.path))
    }
