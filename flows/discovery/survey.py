"""Looks at a source: gathers its crawl and what the ledger has of it, and decides the plan. Changes nothing, but for
`mark_settled` at the end, which notes what the next sync can pass by."""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pgfolio.flows.discovery import plan as planning
from pgfolio.schema.corpus import ledger

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from pgfolio.flows.discovery.listing import CrawlResult, Entry
    from pgfolio.flows.discovery.trees import Tree
    from pgfolio.schema.database.connect import Connection
    from pgfolio.schema.records import LedgerEntry, Source

FOLDERS_PER_BATCH = 200
"""Whose ledger rows are in memory at once while they are marked as settled."""


@dataclass(frozen=True, slots=True)
class Survey:
    """A source as it is now. `crawled_at_ns`: when the crawl began, in nanoseconds since 1970."""

    crawl: CrawlResult
    plan: planning.Plan
    processing_fingerprint: str
    folders_to_compare: Collection[str]
    """Folders whose ledger rows had to be compared."""
    ruled_out: Collection[str]
    """Missing files that are there, and that a rule keeps out now."""
    chunks: int
    crawled_at_ns: int
    unfinished: Collection[str] = ()
    """Paths of pushes that may have ended who read them: each is read last, and by itself."""


def survey_folder(
    connection: Connection,
    source: Source,
    tree: Tree,
    processing_fingerprint: str,
    limits: planning.DeletionLimits,
    *,
    full: bool = False,
) -> Survey:
    """Raises SourceUnreachable."""
    crawled_at_ns = time.time_ns()
    folders = ledger.folders(connection, source)
    documents, chunks = ledger.totals(connection, source)
    skipped = ledger.skipped_by_folder(connection, source)
    crawled = tree.crawl({} if full else folders, processing_fingerprint)
    folders_to_compare = (folders.keys() | crawled.digests.keys()) - crawled.unchanged_folders.keys()
    known = ledger.load(connection, source, folders_to_compare if crawled.unchanged_folders else None)
    connection.commit()
    comparison = planning.compare(
        crawled,
        known,
        processing_fingerprint=processing_fingerprint,
        now=datetime.now(UTC),
        full=full,
        documents=documents,
        skipped=skipped,
    )
    comparison, ruled_out = _second_look(tree, comparison)
    hashes = tree.content_hashes(planning.possible_moves(comparison), comparison.missing)
    plan = planning.decide(comparison, hashes, limits)
    return Survey(
        crawl=crawled,
        plan=plan,
        processing_fingerprint=processing_fingerprint,
        folders_to_compare=folders_to_compare,
        ruled_out=ruled_out,
        chunks=chunks,
        crawled_at_ns=crawled_at_ns,
    )


def mark_settled(connection: Connection, source: Source, survey: Survey) -> Survey:
    """Note the folders of which the ledger now has what the crawl lists: the next sync passes them by. Returns the
    survey with the chunks as they are now."""
    if not survey.folders_to_compare:
        return survey
    entries: dict[str, list[Entry]] = defaultdict(list)
    for entry in survey.crawl.entries:
        entries[planning.folder_of(entry.path)].append(entry)
    folders = list(survey.crawl.digests)
    for start in range(0, len(folders), FOLDERS_PER_BATCH):
        _mark_settled(
            connection,
            source,
            survey,
            {name: entries[name] for name in folders[start : start + FOLDERS_PER_BATCH]},
        )
    with connection.transaction():
        ledger.forget_folders(connection, source)
    return replace(survey, chunks=ledger.totals(connection, source)[1])


def _mark_settled(
    connection: Connection, source: Source, survey: Survey, entries: Mapping[str, list[Entry]]
) -> None:
    known: dict[str, dict[str, LedgerEntry]] = defaultdict(dict)
    for path, row in ledger.load(connection, source, entries.keys()).items():
        known[planning.folder_of(path)][path] = row
    agreeing = [
        (folder, survey.crawl.digests[folder], len(listed))
        for folder, listed in entries.items()
        if planning.agrees(listed, known[folder], survey.processing_fingerprint)
    ]
    with connection.transaction():
        ledger.mark_settled(connection, source, agreeing)


def _second_look(tree: Tree, comparison: planning.Comparison) -> tuple[planning.Comparison, set[str]]:
    """A missing file that can be seen after all is missing by a rule, or because the crawl did not list it, which is
    no reason to remove it."""
    presence = tree.presence([known.path for known in comparison.missing])
    unknown = {path for path, of in presence.items() if of == "unknown"}
    visible = {path for path, of in presence.items() if of == "there"}
    ruled_out = tree.ruled_out(visible) if visible else set()
    return planning.without(comparison, unknown | (visible - ruled_out)), ruled_out
