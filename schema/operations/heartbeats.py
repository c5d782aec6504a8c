"""Heartbeats: processes that no door answers for say that they are alive, for whoever monitors them.

A row and not a lock or `pg_stat_activity`: it is seen through a pooler, on a replica, and by roles that see no other
role's sessions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from pgfolio.schema.database.rows import fetch_records, read_records
from pgfolio.schema.database.statements import statement

if TYPE_CHECKING:
    from pgfolio.schema.database.connect import AsyncConnection, Connection

Process: TypeAlias = Literal["listener", "schedule"]


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """`age`: seconds since the last one of any process of that kind."""

    process: str
    age: float


def beat(connection: Connection, process: Process) -> None:
    connection.execute(statement("beat"), {"process": process})


def ages(connection: Connection) -> list[Heartbeat]:
    return fetch_records(connection, Heartbeat, statement("heartbeat_ages"))


async def read_ages(connection: AsyncConnection) -> list[Heartbeat]:
    return await read_records(connection, Heartbeat, statement("heartbeat_ages"))
