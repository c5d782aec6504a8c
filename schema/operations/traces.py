"""Traces: how answers were found, written by the API and kept for a time."""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg

from pgfolio.schema.database.connect import connect_async
from pgfolio.schema.database.pooler import is_pooled
from pgfolio.schema.database.statements import array, statement

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from datetime import datetime

    from pgfolio.schema.database.connect import AsyncConnection
    from pgfolio.schema.search.access import Permitted

MAX_EXPIRED_TRACES = 2000
"""Traces that are forgotten at once: a million that were kept too long take no statement's time limit."""


@dataclass(frozen=True, slots=True)
class StoredTrace:
    """A trace as it is stored; `permitted`: what whoever asked may see; `record`: JSON."""

    id: str
    asked_at: datetime
    kind: str
    key_id: int | None
    permitted: Permitted
    record: str


@asynccontextmanager
async def traces_connection(conninfo: str, connect_seconds: float) -> AsyncIterator[AsyncConnection]:
    """One of its own, since those that answer questions are read-only. It is waited for
    `connect_seconds`. Raises DatabaseError."""
    async with connect_async(
        conninfo, "pgfolio-traces", autocommit=True, connect_timeout=int(connect_seconds)
    ) as connection:
        if not is_pooled(connection):
            await connection.execute(statement("write_lazily"))
        yield connection


async def add(connection: AsyncConnection, traces: Sequence[StoredTrace]) -> None:
    """What PostgreSQL cannot store, such as a NUL that a model server sent, is left out."""
    rows = [
        {
            "id": trace.id,
            "asked_at": trace.asked_at,
            "kind": trace.kind,
            "key_id": trace.key_id,
            "permitted": array(trace.permitted),
            "record": trace.record,
        }
        for trace in traces
    ]
    try:
        await connection.cursor().executemany(statement("add_trace"), rows)
    except psycopg.DataError:
        for row in rows:
            with suppress(psycopg.DataError):
                await connection.execute(statement("add_trace"), row)


async def expire(
    connection: AsyncConnection, days: int, max_traces: int, limit: int = MAX_EXPIRED_TRACES
) -> bool:
    """Forget those that were kept so many days, and all but the latest `max_traces`. False: there are more."""
    values = {"days": days, "max_traces": max_traces, "limit": limit}
    gone = await connection.execute(statement("expire_traces"), values)
    return gone.rowcount < limit


async def get(connection: AsyncConnection, trace_id: str, permitted: Permitted) -> dict[str, Any] | None:
    """None: there is none, or not for whoever asks."""
    values = {"id": trace_id, "permitted": array(permitted)}
    row = await (await connection.execute(statement("get_trace"), values)).fetchone()
    return None if row is None else row[0]
