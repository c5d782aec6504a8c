"""Looks at the source of what was pushed: there is no folder, so nothing is crawled and nothing can be missing. Who
deletes a push deletes its document at once."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from pgfolio.flows.discovery.listing import CrawlResult, Entry
from pgfolio.flows.discovery.plan import KnownFile, Plan
from pgfolio.flows.discovery.survey import Survey
from pgfolio.schema.corpus import ledger, push_queue

if TYPE_CHECKING:
    from pgfolio.schema.database.connect import Connection
    from pgfolio.schema.records import LedgerEntry, Source


def survey_pushes(
    connection: Connection, source: Source, processing_fingerprint: str, *, full: bool = False
) -> Survey:
    """Pushes that are to be made documents, or made anew."""
    crawled_at_ns = time.time_ns()
    documents, chunks = ledger.totals(connection, source)
    pushes = push_queue.outdated(connection, source, processing_fingerprint, full=full)
    known = _known(connection, source, pushes)
    connection.commit()
    entries = [Entry(push.path, push.signature) for push in pushes]
    to_verify = tuple(KnownFile(entry, known[entry.path]) for entry in entries if entry.path in known)
    taken_paths = {entry.path for entry in entries}
    plan = Plan(
        added=tuple(entry for entry in entries if entry.path not in known),
        changed=to_verify,
        quarantined=tuple(
            entry for entry in known.values() if entry.state == "failed" and entry.path not in taken_paths
        ),
        unchanged=documents - sum(file.known.document_id is not None for file in to_verify),
    )
    return Survey(
        crawl=CrawlResult(tuple(entries)),
        plan=plan,
        processing_fingerprint=processing_fingerprint,
        folders_to_compare=(),
        ruled_out=(),
        chunks=chunks,
        crawled_at_ns=crawled_at_ns,
        unfinished=frozenset(push.path for push in pushes if push.unfinished),
    )


def with_current_chunks(connection: Connection, source: Source, survey: Survey) -> Survey:
    """The survey with the chunks as they are now."""
    return replace(survey, chunks=ledger.totals(connection, source)[1])


def _known(
    connection: Connection, source: Source, pushes: list[push_queue.OutdatedPush]
) -> dict[str, LedgerEntry]:
    """The ledger's rows of these, and of what failed: seldom more, for most pushes are new."""
    failed = ledger.load(connection, source, ())
    if all(push.path in failed for push in pushes if push.known):
        return failed
    paths = {push.path for push in pushes}
    entries = ledger.load(connection, source)
    return {path: entry for path, entry in entries.items() if path in paths or entry.state == "failed"}
