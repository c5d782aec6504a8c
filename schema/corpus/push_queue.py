"""What was pushed, on the flow's side: kept as it came, until the flow makes a document of it and after that, to make
it anew. How it comes here: operations/push_inbox.py.

A push has its document's id from the beginning. What became of it is what the ledger says and nothing else, so that
the two cannot drift apart.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import psycopg

from pgfolio.schema.database.connect import connect, without_password
from pgfolio.schema.database.errors import DatabaseError
from pgfolio.schema.database.statements import fetch_one, statement
from pgfolio.schema.records import Signature

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pgfolio.schema.database.connect import Connection
    from pgfolio.schema.records import Source

COLLECTION: Final = "pushed"
"""Where a push goes that names no collection."""


class OutdatedPush(NamedTuple):
    """A push that is no document yet, or one that was made otherwise; `known`: the ledger has a row of it;
    `unfinished`: whoever began to read it did not come to an end."""

    path: str
    signature: Signature
    known: bool
    unfinished: bool


@dataclass(frozen=True, slots=True)
class StoredPush:
    """A push as the flow reads it."""

    content: bytes
    signature: Signature
    title: str
    name: str
    metadata: dict[str, Any]


def outdated(
    connection: Connection, source: Source, processing_fingerprint: str, *, full: bool
) -> list[OutdatedPush]:
    """Pushes of a source that are no document yet that was made as now, or all; the oldest first."""
    values = {"source_id": source.id, "processing_fingerprint": processing_fingerprint, "full": full}
    rows = connection.execute(statement("outdated_pushes"), values)
    return [OutdatedPush(row[3], _signature(*row[:3]), *row[4:]) for row in rows]


def read(connection: Connection, source: Source, path: str) -> StoredPush | None:
    """None: it was deleted."""
    row = connection.execute(
        statement("read_push"), {"source_id": source.id, "path": path}, binary=True
    ).fetchone()
    return None if row is None else StoredPush(row[3], _signature(*row[:3]), *row[4:])


def begin(connection: Connection, source: Source, path: str) -> int:
    """How many times it was begun to read this push without an end, with now. 0: it was deleted."""
    row = connection.execute(statement("begin_push"), {"source_id": source.id, "path": path}).fetchone()
    return int(row[0]) if row else 0


def end(connection: Connection, source: Source, paths: Sequence[str]) -> None:
    """They were read, or it is known why not."""
    connection.execute(statement("end_pushes"), {"source_id": source.id, "paths": list(paths)})


def lock(connection: Connection, source: Source, paths: Sequence[str]) -> dict[str, int]:
    """By path the ids of those that nobody has deleted; nobody does until the transaction ends."""
    values = {"source_id": source.id, "paths": list(paths)}
    return {row[0]: row[1] for row in connection.execute(statement("lock_pushes"), values)}


def is_there(connection: Connection, source: Source, path: str) -> bool:
    row = fetch_one(connection, "push_is_there", {"source_id": source.id, "path": path})
    return bool(row[0])


def due(connection: Connection) -> dict[int, int]:
    """By source the oldest push that was never looked at, or is to be tried again."""
    return {row[0]: row[1] for row in connection.execute(statement("oldest_pushes_due"))}


@contextmanager
def reading(conninfo: str) -> Iterator[Connection]:
    """A connection, in autocommit, to read pushes. What `begin` notes outlives this process, and need not outlive the
    machine: no commit waits for the disk."""
    with connect(conninfo, autocommit=True) as connection:
        connection.execute(statement("commit_at_ease"))
        yield connection


@contextmanager
def listening(conninfo: str) -> Iterator[Connection]:
    """A connection, in autocommit, that `woken` can wait with. Raises DatabaseError, also when it is lost."""
    try:
        with connect(conninfo, autocommit=True) as connection:
            connection.execute(statement("listen_pushed"))
            yield connection
    except psycopg.OperationalError as error:
        raise DatabaseError(
            f"the connection to {without_password(conninfo)} is lost: is it running?"
        ) from error


def woken(connection: Connection, seconds: float) -> bool:
    """Waits so long for a push; whether one came. Several that came are one."""
    came = any(True for _ in connection.notifies(timeout=seconds, stop_after=1))
    if came:
        for _ in connection.notifies(timeout=0):
            pass
    return came


def _signature(size: int, pushed_at: int, number: int) -> Signature:
    """As of a file that never changes."""
    return Signature(0, number, size, pushed_at, pushed_at)
