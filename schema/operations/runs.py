"""Runs: one row for each execution of a flow, whoever started it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from psycopg.types.json import Jsonb

from pgfolio.schema.database import locks
from pgfolio.schema.database.rows import fetch_records
from pgfolio.schema.database.statements import array, fetch_one, statement

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from pgfolio.schema.database.connect import Connection

DEAD: Final = "the process ended without a word"

Status = Literal["complete", "partial", "failed"]

ENOUGH_TOKENS = 10_000
"""Tokens of a run that tells how fast a model is."""

RUNS_TO_LEARN_FROM = 10
"""Whose bills tell what a server makes of our tokens."""

SAMPLE_DOCUMENTS = 200
"""Documents of which it is taken how many tokens a byte makes."""


@dataclass(frozen=True, slots=True)
class Run:
    id: int
    flow: str
    started_by: str
    status: str
    started_at: datetime
    finished_at: datetime | None
    report: dict[str, Any]
    error: str


def start(connection: Connection, flow: str, started_by: str) -> int:
    """Open a run's row, which this connection stands for while it is open; rows of runs whose process died are closed
    first."""
    bury(connection)
    values = {"flow": flow, "started_by": started_by, "lock_class": locks.RUNS}
    row = fetch_one(connection, "start_run", values)
    return int(row[0])


def bury(connection: Connection) -> None:
    """Close the rows of runs whose process died."""
    connection.execute(statement("bury_runs"), {"dead": DEAD, "lock_class": locks.RUNS})


def finish(
    connection: Connection, run_id: int, status: Status, report: dict[str, Any], error: str = ""
) -> None:
    values = {"id": run_id, "status": status, "report": Jsonb(report), "error": error}
    connection.execute(statement("finish_run"), values)


def record_progress(connection: Connection, run_id: int, source_id: int, progress: dict[str, Any]) -> None:
    """How far a sync is with the source that it is at. No commit of this connection is waited for."""
    connection.execute(statement("commit_at_ease"))
    values = {"id": run_id, "source_id": source_id, "progress": Jsonb(progress)}
    connection.execute(statement("record_progress"), values)


def last(connection: Connection, permitted: tuple[int, ...] | None, limit: int = 10) -> list[Run]:
    """The newest runs first; none for who may not see every collection."""
    values = {"limit": limit, "permitted": array(permitted), "dead": DEAD, "lock_class": locks.RUNS}
    return fetch_records(connection, Run, statement("last_runs"), values)


def are_synced_since(connection: Connection, names: Sequence[str], moment: datetime) -> bool:
    """Whether a sync that began after a moment, and has ended, went over all of these sources."""
    values = {"sources": Jsonb(list(names)), "moment": moment}
    return bool(fetch_one(connection, "are_synced_since", values)[0])


def latest_syncs(connection: Connection) -> list[Run]:
    """The newest sync of pushes that ended, and the newest of anything else; the newer one first."""
    return fetch_records(connection, Run, statement("latest_syncs"))


def reason(run: Run) -> str:
    """Why a run failed, or what it could not do of what it was to do; empty where all is well."""
    problems = run.report.get("problems") or []
    if run.error or not problems:
        return run.error
    first = problems[0]
    where = f"{first['path']}: " if first["path"] else ""
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return f"{where}{first['reason']}{more}"


def tokens_per_second(connection: Connection, space: str) -> float | None:
    """How fast the last run that embedded much in a space went; None where there was none."""
    values = {"space": space, "enough_tokens": ENOUGH_TOKENS}
    row = connection.execute(statement("tokens_per_second"), values).fetchone()
    return row[0] if row else None


def billed_per_counted(connection: Connection, space: str) -> float | None:
    """Tokens that a space's server billed for each that we counted, in the last runs that asked it for much; None:
    none did."""
    values = {"space": space, "enough_tokens": ENOUGH_TOKENS, "limit": RUNS_TO_LEARN_FROM}
    row = connection.execute(statement("billed_per_counted"), values).fetchone()
    return row[0] if row else None


def tokens_per_byte(connection: Connection, source_id: int) -> float | None:
    """Tokens for each byte of a source's files; None where nothing is stored of it."""
    values = {"source_id": source_id, "sample_documents": SAMPLE_DOCUMENTS}
    row = connection.execute(statement("tokens_per_byte"), values).fetchone()
    return row[0] if row else None


def billed_tokens(connection: Connection, started_by: str) -> int:
    """What all runs whose cost was limited and that this one started were billed for, or may have been."""
    return int(fetch_one(connection, "billed_tokens", {"started_by": started_by})[0])
