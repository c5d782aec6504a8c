"""What there is, for `status`: sources, generations and their indexes, the last runs, files in quarantine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from schema import index, runs, vectors
from schema.sql import statement

if TYPE_CHECKING:
    from schema.connect import Connection

MEGABYTE = 1024 * 1024


def overview(connection: Connection, *, problems: int = 1000) -> dict[str, Any]:
    """Plain values, ready for JSON; at most so many problems."""
    names = ("name", "root", "collection", "documents", "chunks", "failed", "synced_at")
    rows = connection.execute(statement("source_counts")).fetchall()
    return {
        "sources": [dict(zip(names, row, strict=True)) for row in rows],
        "generations": _generations(connection),
        "runs": [_run(run) for run in runs.last(connection)],
        "problems": _problems(connection, problems),
    }


def _generations(connection: Connection) -> list[dict[str, Any]]:
    shown = []
    for generation in vectors.generations(connection, "building", "ready", "active", "retired"):
        state = index.state(connection, generation)
        row = connection.execute(statement("count_vectors", generation)).fetchone()
        shown.append(
            {
                "space": generation.space.name,
                "state": generation.state,
                "vectors": row[0] if row else 0,
                "index": "none" if state is None else "valid" if state.valid else "invalid",
                "index_mb": round(state.bytes / MEGABYTE, 1) if state else 0,
            }
        )
    return shown


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
        "documents": run.report.get("documents"),
    }


def _problems(connection: Connection, limit: int) -> list[dict[str, Any]]:
    names = ("source", "path", "stage", "reason", "attempts", "retry_at")
    rows = connection.execute(statement("list_problems"), {"limit": limit})
    return [dict(zip(names, row, strict=True)) for row in rows]
