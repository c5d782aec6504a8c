"""Rate limits: one row for each key and model, shared by all workers that use it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg.types.json import Jsonb

from pgfolio.schema.database.statements import statement

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pgfolio.schema.database.connect import Connection


def lock(connection: Connection, name: str, initial: Sequence[float]) -> tuple[tuple[float, ...], int]:
    """The state, held until the transaction ends, and the database's clock in ms: workers may be on several
    machines. A row that is not there yet is made."""
    while (row := connection.execute(statement("lock_rate_limit"), {"name": name}).fetchone()) is None:
        connection.execute(statement("make_rate_limit"), {"name": name, "state": list(map(float, initial))})
    return tuple(row[0]), int(row[1])


def save(connection: Connection, name: str, state: Sequence[float]) -> None:
    connection.execute(statement("save_rate_limit"), {"name": name, "state": list(map(float, state))})


def report(connection: Connection, name: str, remaining: Mapping[str, tuple[float, int]]) -> None:
    """By "requests" and "tokens" what the server said remains, and of how many."""
    quota = {kind: {"remaining": number, "limit": limit} for kind, (number, limit) in remaining.items()}
    connection.execute(statement("report_quota"), {"name": name, "quota": Jsonb(quota)})


def state(connection: Connection, name: str) -> tuple[float, ...] | None:
    """As it is now, for a report."""
    row = connection.execute(statement("rate_limit_state"), {"name": name}).fetchone()
    return tuple(row[0]) if row else None


def forget(connection: Connection, name: str) -> None:
    connection.execute(statement("forget_rate_limit"), {"name": name})
