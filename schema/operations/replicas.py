"""How far behind a read replica is, for whoever monitors it.

Told by positions in the log and not by the age of the last transaction alone: where nothing is written, that grows
while nothing is missing.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import psycopg

from pgfolio.schema.database.connect import connect
from pgfolio.schema.database.errors import DatabaseError
from pgfolio.schema.database.rows import fetch_records, read_record
from pgfolio.schema.database.statements import fetch_one, statement
from pgfolio.schema.search.pool import in_turn

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from pgfolio.schema.database.connect import AsyncConnection, Connection
    from pgfolio.schema.search.pool import Pool

TIMEOUT_SECONDS: Final = 2.0
"""Seconds that either of the two is waited for."""

CATCH_UP_SECONDS: Final = 0.2
"""Seconds in which what was written just now arrives at a replica that is not behind."""


@dataclass(frozen=True, slots=True)
class ReplicaGauge:
    """`follows`: it answers, and is a standby still. `lag`: seconds since the last transaction of its primary that it
    has, 0 where it has them all; None: it does not answer, or was promoted."""

    follows: bool
    lag: float | None


GONE: Final = ReplicaGauge(follows=False, lag=None)


async def replica_gauge(pool: Pool) -> ReplicaGauge | None:
    """None: there is none. While the primary is gone, the age of the last transaction counts."""
    if pool.primary is None:
        return None
    newest = await _answered(pool.primary, _newest)
    gauge = await _answered(pool, lambda connection: _lag(connection, newest))
    if gauge and gauge.lag and newest:
        await asyncio.sleep(CATCH_UP_SECONDS)
        gauge = await _answered(pool, lambda connection: _lag(connection, newest))
    return gauge or GONE


def fetch_replica_gauge(primary: Connection, replica: str) -> ReplicaGauge:
    """The same by a connection to the one and the other's connection string."""
    newest = fetch_one(primary, "newest_position")[0]
    try:
        with connect(replica, timeout=TIMEOUT_SECONDS) as connection:
            gauge = _fetch_lag(connection, newest)
            if gauge.lag:
                time.sleep(CATCH_UP_SECONDS)
                gauge = _fetch_lag(connection, newest)
            return gauge
    except (DatabaseError, psycopg.Error):
        return GONE


def _fetch_lag(connection: Connection, newest: str | None) -> ReplicaGauge:
    return fetch_records(connection, ReplicaGauge, statement("replica_lag"), {"position": newest})[0]


async def _answered(pool: Pool, work: Callable[[AsyncConnection], Awaitable[Any]]) -> Any:
    """None: it does not answer."""
    with suppress(DatabaseError, psycopg.Error, TimeoutError):
        async with asyncio.timeout(TIMEOUT_SECONDS):
            return await in_turn(pool, work, urgent=True)
    return None


async def _newest(connection: AsyncConnection) -> str | None:
    row = await (await connection.execute(statement("newest_position"))).fetchone()
    return row[0] if row else None


async def _lag(connection: AsyncConnection, newest: str | None) -> ReplicaGauge | None:
    return await read_record(connection, ReplicaGauge, statement("replica_lag"), {"position": newest})
