"""A pooler between us and PostgreSQL, as PgBouncer: whether there is one, and whether its clients have sessions.

In its transaction mode each transaction runs in whichever of the server's sessions is free. Locks, settings, LISTEN
and prepared statements are a session's: they would go to strangers there.
"""

from __future__ import annotations

import selectors
import time
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg import pq

from pgfolio.schema.database.statements import fetch_one, statement

if TYPE_CHECKING:
    from collections.abc import Callable

    Connection = psycopg.Connection[tuple[Any, ...]]
    AnyConnection = Connection | psycopg.AsyncConnection[tuple[Any, ...]]

MAX_WITNESSES: Final = 4
SESSION_SECONDS: Final = 2.0
"""Seconds in which whoever has a session is answered."""

TRANSACTIONS_ONLY: Final = (
    "leads through a pooler in transaction mode, where the locks of a sync would not last: name PostgreSQL itself in "
    "PGFOLIO_DATABASE_DIRECT_URL"
)


def adapt(connection: Connection) -> bool:
    """Said of a new connection: whether a pooler is between. Then no statement is prepared on it."""
    pid = fetch_one(connection, "backend_pid")[0]
    return _adapted(connection, pid)


async def adapt_async(connection: psycopg.AsyncConnection[tuple[Any, ...]]) -> bool:
    """The same."""
    row = await (await connection.execute(statement("backend_pid"))).fetchone()
    return _adapted(connection, row[0] if row else None)


def is_pooled(connection: AnyConnection) -> bool:
    """What `adapt` said: the session may be another one in the next transaction, and nothing is to be set in it."""
    return connection.prepare_threshold is None


def has_session(connection: Connection, connect: Callable[[], Connection]) -> bool:
    """Whether the connection stays with one session, as it does without a pooler. Rolls back.

    Behind a pooler witnesses hold open transactions: where one gets the session that ours had, or ours gets another
    or none, sessions are shared. A pooler that reuses the last one, as PgBouncer does, needs one witness.
    """
    if not is_pooled(connection):
        return True
    connection.rollback()
    own = _session(connection)
    connection.rollback()
    try:
        return not _is_shared(connection, own, connect)
    finally:
        while connection.pgconn.get_result() is not None:
            pass  # what it was not answered in time
        connection.rollback()


def _is_shared(connection: Connection, own: int | None, connect: Callable[[], Connection]) -> bool:
    with ExitStack() as witnesses:
        for _ in range(MAX_WITNESSES):
            other = _session(witnesses.enter_context(closing(connect())))
            if other == own or _session(connection) != own:
                return True
            connection.rollback()
            if other is None:  # all that the pooler has are taken
                break
    return False


def _adapted(connection: AnyConnection, pid: int | None) -> bool:
    """A pooler names a process of its own invention, since it is itself who cancels."""
    if pid == connection.info.backend_pid:
        return False
    connection.prepare_threshold = None
    return True


def _session(connection: Connection) -> int | None:
    """The process that works for it; its transaction stays open. None: it got none in time."""
    raw = connection.pgconn
    raw.send_query(b"begin; select pg_backend_pid()")
    deadline = time.monotonic() + SESSION_SECONDS
    with selectors.DefaultSelector() as waiting:
        waiting.register(raw.socket, selectors.EVENT_READ)
        while raw.is_busy():
            if not waiting.select(max(0.0, deadline - time.monotonic())):
                return None
            raw.consume_input()
    pid = None
    while (result := raw.get_result()) is not None:
        if result.status == pq.ExecStatus.TUPLES_OK:
            pid = int(result.get_value(0, 0) or 0)
    return pid
