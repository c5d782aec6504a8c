"""What there is, for `status`: sources, generations and their indexes, the last runs, files in quarantine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pgfolio.schema.database import locks
from pgfolio.schema.database.statements import array, statement
from pgfolio.schema.operations import runs
from pgfolio.schema.vectors import batches, generations, hnsw, segments, tuning, upgrades
from pgfolio.schema.vectors.storage import vector_statement

if TYPE_CHECKING:
    from datetime import datetime

    from pgfolio.schema.database.connect import Connection
    from pgfolio.schema.records import Generation
    from pgfolio.schema.search.access import Permitted

MEGABYTE = 1024 * 1024
MAX_ITEMS = 200
"""Files of a source in quarantine that are listed with it."""

SOURCE_FIELDS = (
    "name", "root", "collection", "documents", "chunks", "failed", "pending", "synced_at", "kind", "skipped",
    "fresh_at", "held", "syncing", "progress",
)  # fmt: skip


def overview(
    connection: Connection,
    permitted: Permitted,
    *,
    problems: int = 1000,
    keep_generations_days: int | None = None,
    ef_search: int | None = None,
    prefixes: tuple[str | None, str | None] | None = None,
    roots: bool = True,
) -> dict[str, Any]:
    """Plain values, ready for JSON; at most so many problems; `roots`: also where sources lie. `ef_search`: what
    is searched with where nothing was tuned. `prefixes`: the settings' ones of queries and of documents, which the
    active space may lack. Of the permitted collections only: what counts over all of them is left out for who may not
    see all."""
    seen = {"permitted": array(permitted)}
    return {
        "sources": describe_sources(connection, permitted, roots=roots),
        "generations": [
            generation
            if permitted is None
            else {name: generation[name] for name in ("space", "state", "index")}
            for generation in describe_generations(connection, keep_generations_days, ef_search, prefixes)
        ],
        "upgrade": upgrades.last(connection) if permitted is None else None,
        "batches": batches.overview(connection) if permitted is None else [],
        "runs": [_run(run) for run in runs.last(connection, permitted)],
        "problems": _problems(connection, {**seen, "limit": problems}),
        "incomplete": list_incomplete(connection, permitted, problems),
        "skipped": _with_reasons(connection, "list_skipped", permitted, problems),
    }


def describe_sources(connection: Connection, permitted: Permitted, *, roots: bool) -> list[dict[str, Any]]:
    """Each with its counts, the sync that runs, removals that wait, and files that could not be read."""
    values = {"permitted": array(permitted), "source_locks": locks.SOURCES, "run_locks": locks.RUNS}
    rows = connection.execute(statement("source_counts"), values).fetchall()
    listed = [dict(zip(SOURCE_FIELDS, row, strict=True)) for row in rows]
    quarantined: dict[str, list[dict[str, Any]]] = {}
    listing = {"permitted": array(permitted), "limit": MAX_ITEMS}
    for name, path, reason, synced_at in connection.execute(statement("list_quarantined"), listing):
        quarantined.setdefault(name, []).append({"path": path, "reason": reason, "synced_at": synced_at})
    for source in listed:
        if not roots:
            del source["root"]
        source["progress"] = source["progress"] if source["syncing"] else None
        items = quarantined.get(source["name"], [])
        source["quarantined"] = {"count": source["failed"], "items": items} if items else None
    return listed


def list_incomplete(connection: Connection, permitted: Permitted, limit: int) -> list[dict[str, Any]]:
    """Documents of which not all could be read, with what lacks."""
    return _with_reasons(connection, "list_incomplete", permitted, limit)


def _with_reasons(
    connection: Connection, name: str, permitted: Permitted, limit: int
) -> list[dict[str, Any]]:
    rows = connection.execute(statement(name), {"permitted": array(permitted), "limit": limit})
    return [dict(zip(("source", "path", "reason"), row, strict=True)) for row in rows]


def describe_generations(
    connection: Connection,
    keep_days: int | None = None,
    ef_search: int | None = None,
    prefixes: tuple[str | None, str | None] | None = None,
) -> list[dict[str, Any]]:
    """Each with its index, what was measured of it, and, if it is retired, since when and,
    by the setting `keep_days`, until when it is kept for a rollback."""
    rows = connection.execute(statement("generation_notes"), {"days": keep_days or 0})
    notes = {row[0]: row[1:] for row in rows}
    return [
        _generation(
            connection,
            generation,
            *notes[generation.id],
            expires=keep_days is not None,
            ef_search=ef_search,
            prefixes=prefixes,
        )
        for generation in generations.list_generations(connection, "building", "ready", "active", "retired")
        if generation.id in notes
    ]


def _generation(
    connection: Connection,
    generation: Generation,
    measured: dict[str, Any],
    vector_weight: float | None,
    retired_at: datetime | None,
    expires_at: datetime | None,
    *,
    expires: bool,
    ef_search: int | None,
    prefixes: tuple[str | None, str | None] | None,
) -> dict[str, Any]:
    row = connection.execute(vector_statement("count_vectors", generation)).fetchone()
    note: dict[str, Any] = {
        "space": generation.space.name,
        "state": generation.state,
        "vectors": row[0] if row else 0,
        **_index_note(connection, generation),
    }
    if generation.state == "active" and (drift := _drift(connection, generation, ef_search)):
        note["recall"] = drift
    if generation.state == "active" and prefixes and (differing := generation.space.prefix_note(*prefixes)):
        note["prefixes"] = differing
    if measured:
        note["measured"] = {name: value for name, value in measured.items() if value is not None}
    if vector_weight is not None:
        note["vector_weight"] = vector_weight
    if retired_at is not None:
        note["retired_at"] = retired_at.isoformat(timespec="seconds")
    if expires_at is not None and expires:
        note["kept_until"] = expires_at.isoformat(timespec="seconds")
    return note


def _index_note(connection: Connection, generation: Generation) -> dict[str, Any]:
    """Of all its segments; how many they are where there are several."""
    states = [
        hnsw.state(connection, member)
        for member in segments.members(connection, generation)
        if segments.has_any(connection, member) or not member.segment
    ]
    missing = segments.unindexed(connection, generation)
    there = [state for state in states if state is not None]
    note: dict[str, Any] = {
        "index": "none" if not there else "valid" if not missing else "invalid",
        "index_mb": round(sum(state.bytes for state in there) / MEGABYTE, 1),
    }
    if len(states) > 1:
        note["segments"] = len(states)
    return note


def _drift(connection: Connection, generation: Generation, ef_search: int | None) -> dict[str, Any] | None:
    """The last measurement of the index in use, and how much the corpus has grown since."""
    _, tuned = tuning.tuned(connection, generation)
    last = tuning.last(connection, generation, tuned or ef_search)
    if last is None:
        return None
    return {
        "recall": round(last.recall, 4),
        "ef_search": last.ef_search,
        "vectors": last.vectors,
        "grown": round(hnsw.rows(connection, generation) / max(last.vectors, 1), 2),
        "measured_at": last.measured_at.isoformat(timespec="seconds"),
    }


def _run(run: runs.Run) -> dict[str, Any]:
    seconds = (run.finished_at - run.started_at).total_seconds() if run.finished_at else None
    return {
        "id": run.id,
        "flow": run.flow,
        "started_by": run.started_by,
        "status": run.status,
        "started_at": run.started_at.isoformat(timespec="seconds"),
        "seconds": None if seconds is None else round(seconds, 2),
        "error": run.error,
        "reason": runs.reason(run),
        "documents": run.report.get("documents"),
        "chunks": run.report.get("chunks"),
        "tokens": run.report.get("tokens"),
        "cost_usd": run.report.get("cost_usd"),
    }


def _problems(connection: Connection, values: dict[str, Any]) -> list[dict[str, Any]]:
    names = ("source", "path", "stage", "reason", "attempts", "retry_at")
    rows = connection.execute(statement("list_problems"), values)
    return [dict(zip(names, row, strict=True)) for row in rows]
