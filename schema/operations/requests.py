"""What a person asks of the flows over HTTP: a row, announced by NOTIFY, taken up by who listens or by the next run.

Whoever does a request has its advisory lock: a process that was killed holds none, and the request is taken up again,
at most `MAX_ATTEMPTS` times.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import psycopg
from psycopg.types.json import Jsonb

from pgfolio.schema.database import locks
from pgfolio.schema.database.connect import connect, without_password
from pgfolio.schema.database.errors import DatabaseError
from pgfolio.schema.database.rows import fetch_record, read_records
from pgfolio.schema.database.statements import array, statement

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from datetime import datetime

    from pgfolio.schema.database.connect import AsyncConnection, Connection
    from pgfolio.schema.search.access import Permitted

Kind: TypeAlias = Literal["sync", "approve", "forget"]
State: TypeAlias = Literal["pending", "running", "done", "failed", "refused"]

MAX_ATTEMPTS: Final = 3
"""A request that ended the program that did it so many times is given up."""

KEEP_DAYS: Final = 90
MAX_LISTED: Final = 100

GIVEN_UP: Final = (
    "the program that did it ended each time without a word; its log, or `pgfolio sync` by hand, says why"
)


@dataclass(frozen=True, slots=True)
class Request:
    """As it is told of. `count`: of an approval. `outcome`: the report of the run, as `sync --json` prints it."""

    id: int
    kind: Kind
    source: str
    count: int | None
    state: State
    asked_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    outcome: dict[str, Any] | None
    reason: str
    progress: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class TakenRequest:
    """As it is done."""

    id: int
    kind: Kind
    source_id: int
    source: str
    count: int | None
    attempts: int


def add(
    connection: Connection,
    kind: Kind,
    source: str,
    count: int | None,
    requested_by: int | None,
    permitted: Permitted,
) -> int | None:
    """Ask for it, and wake who listens; returns its id, that of the same request where one waits already. None: there
    is no such source, or it may not be seen."""
    values = {
        "kind": kind,
        "source": source,
        "count": count,
        "requested_by": requested_by,
        "permitted": array(permitted),
    }
    row = connection.execute(statement("add_request"), values).fetchone()
    if row is None:
        return None
    connection.execute(statement("forget_requests"), {"days": KEEP_DAYS})
    connection.execute(statement("notify_requested"))
    return int(row[0])


def kind_of_source(connection: Connection, source: str, permitted: Permitted) -> str | None:
    """That of a folder or of what is pushed; None where there is none that may be seen."""
    values = {"source": source, "permitted": array(permitted)}
    row = connection.execute(statement("kind_of_source"), values).fetchone()
    return None if row is None else str(row[0])


async def read(
    connection: AsyncConnection, permitted: Permitted, request_id: int | None = None
) -> list[Request]:
    """The newest first, or the one with this id; of sources that may be seen."""
    values = {
        "id": request_id,
        "limit": MAX_LISTED,
        "permitted": array(permitted),
        "lock_class": locks.REQUESTS,
    }
    return await read_records(connection, Request, statement("list_requests"), values)


def open_ids(connection: Connection) -> dict[int, bool]:
    """Those that are not ended, the oldest first; true of those whose source is being synced."""
    rows = connection.execute(statement("open_requests"), {"lock_class": locks.SOURCES})
    return {row[0]: row[1] for row in rows}


@contextmanager
def taken(
    connection: Connection, request_id: int, source_ids: Collection[int] | None = None
) -> Iterator[TakenRequest | None]:
    """Inside, nobody else does it. None: another does, or it is ended, given up, or of another source than these.
    `connection` is in autocommit."""
    with locks.session_lock(connection, locks.REQUESTS, request_id) as is_locked:
        if not is_locked:
            yield None
            return
        values = {"id": request_id, "source_ids": array(None if source_ids is None else list(source_ids))}
        request = fetch_record(connection, TakenRequest, statement("take_request"), values)
        if request is not None and request.attempts > MAX_ATTEMPTS:
            end(connection, request_id, "failed", None, GIVEN_UP)
            request = None
        yield request


def end(
    connection: Connection, request_id: int, state: State, outcome: dict[str, Any] | None, reason: str = ""
) -> None:
    values = {
        "id": request_id,
        "state": state,
        "outcome": None if outcome is None else Jsonb(outcome),
        "reason": reason,
    }
    connection.execute(statement("end_request"), values)


def put_back(connection: Connection, request_id: int, reason: str) -> None:
    """It cannot be done now. Where the same was asked again meanwhile, that one waits."""
    cursor = connection.execute(statement("return_request"), {"id": request_id, "reason": reason})
    if not cursor.rowcount:
        end(
            connection,
            request_id,
            "refused",
            None,
            "it was asked again since, and that request is done instead",
        )


@contextmanager
def listening(conninfo: str) -> Iterator[Connection]:
    """A connection, in autocommit, that is told of requests. Raises DatabaseError, also when it is lost."""
    try:
        with connect(conninfo, autocommit=True) as connection:
            connection.execute(statement("listen_requested"))
            yield connection
    except psycopg.OperationalError as error:
        raise DatabaseError(
            f"the connection to {without_password(conninfo)} is lost: is it running?"
        ) from error
