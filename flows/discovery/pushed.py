"""Looks at the source of what was pushed: there is no folder, so nothing is crawled and nothing can be missing. Who
deletes a push deletes its document at once."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from pgfolio.flows.discovery.crawl import Crawl, Entry
from pgfolio.flows.discovery.plan import Plan, Suspect
from pgfolio.flows.discovery.survey import Survey
from pgfolio.schema.corpus import ledger, push_queue

if TYPE_CHECKING:
    from pgfolio.schema.database.connect import Connection
    from pgfolio.schema.records import LedgerEntry, Source


def survey(connection: Connection, source: Source, recipe: str, *, full: bool = False) -> Survey:
    """Pushes that are to be made documents, or made anew."""
    looked_at = time.time_ns()
    documents, chunks = ledger.totals(connection, source)
    todo = push_queue.to_do(connection, source, recipe, full=full)
    known = _known(connection, source, todo)
    connection.commit()
    entries = [Entry(each.path, each.signature) for each in todo]
    suspects = tuple(Suspect(entry, known[entry.path]) for entry in entries if entry.path in known)
    taken = {entry.path for entry in entries}
    plan = Plan(
        added=tuple(entry for entry in entries if entry.path not in known),
        changed=suspects,
        quarantined=tuple(k for k in known.values() if k.state == "failed" and k.path not in taken),
        unchanged=documents - sum(s.known.document_id is not None for s in suspects),
    )
    return Survey(Crawl(tuple(entries)), plan, recipe, (), (), chunks, looked_at)


def counted(connection: Connection, source: Source, found: Survey) -> Survey:
    """The survey with the chunks as they are now."""
    return replace(found, chunks=ledger.totals(connection, source)[1])


def _known(connection: Connection, source: Source, todo: list[push_queue.ToDo]) -> dict[str, LedgerEntry]:
    """The ledger's rows of these, and of what failed: seldom more, for most pushes are new."""
    failed = ledger.load(connection, source, ())
    if all(each.path in failed for each in todo if each.known):
        return failed
    wanted = {each.path for each in todo}
    found = ledger.load(connection, source)
    return {path: row for path, row in found.items() if path in wanted or row.state == "failed"}
