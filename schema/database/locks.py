"""The advisory locks that pgfolio takes, each with its numbers, and how tables that readers use are locked.

A lock of a session ends with its connection: a killed process holds none.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

import psycopg
from psycopg.pq import TransactionStatus
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random

from pgfolio.schema.database.statements import fetch_one, statement

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Result = TypeVar("Result")

MIGRATIONS: Final = 0x7067666F  # "pgfo"
"""Who brings the database up to date; until the transaction ends."""

SOURCES: Final = 0x7067666F
"""Who syncs a source, as (SOURCES, id of the source); of a session."""

RUNS: Final = 0x72756E  # "run"
"""Whose process a run is, as (RUNS, id of the run); of a session."""

CLAIMS: Final = 0x636C61  # "cla"
"""Who is paying for texts, as (CLAIMS, id of the claim); of a session."""

TURNS: Final = 0x747572  # "tur"
"""Whose request is under way, as (TURNS, number of the run and of the turn); of a session."""

REQUESTS: Final = 0x726571  # "req"
"""Who does what was asked of the flows, as (REQUESTS, id of the request); of a session."""

FIRST_GENERATION: Final = 0x67656E  # "gen"
"""Who makes a database's first generation; until the transaction ends."""

REEMBED: Final = (0x67656E, 1)
"""Who moves the corpus to another space; of a session."""

POSTINGS: Final = (0x67656E, 2)
"""Who writes postings; of a session."""

BATCHES: Final = (0x67656E, 3)
"""Who hands texts in to a Batch API, or looks for what was handed in; of a session."""

LOCK_TIMEOUT: Final = "200ms"
"""Readers take locks in their own order: what waits longer could deadlock with them, or hold them all up."""

MAX_DEADLOCKS: Final = 10

CANCEL_SECONDS: Final = 5.0


@contextmanager
def session_lock(
    connection: psycopg.Connection[tuple[Any, ...]], lock_class: int, lock_id: int
) -> Iterator[bool]:
    """A lock of the session for as long as the caller is inside, where it is free. False: another session has it.
    Commits before, and rolls back what the caller leaves open."""
    lock = {"lock_class": lock_class, "lock_id": lock_id}
    is_locked = bool(fetch_one(connection, "lock_session", lock)[0])
    connection.commit()
    try:
        yield is_locked
    finally:
        if is_locked and is_usable(connection):
            connection.rollback()
            connection.execute(statement("unlock_session"), lock)
            connection.commit()


def is_usable(connection: psycopg.Connection[Any]) -> bool:
    """Whether it can be asked something at the end of a block, whatever ended that. An interrupt that came when a
    statement was on its way leaves it waiting for the answer: then that ends, and the session with its locks."""
    if connection.pgconn.transaction_status == TransactionStatus.ACTIVE:
        with suppress(psycopg.Error):
            connection.cancel_safe(timeout=CANCEL_SECONDS)
        connection.close()
    return not connection.closed


def with_lock_retries(work: Callable[[], Result], attempts: int) -> Result | None:
    """Do what must lock tables that readers use. It is to wait no longer than LOCK_TIMEOUT; it gives way then and is
    tried again, so many times. None: they were in use all the time."""
    retrying = Retrying(
        retry=retry_if_exception_type((psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected)),
        wait=wait_random(0, 0.2),
        stop=stop_after_attempt(attempts),
        retry_error_callback=lambda _: None,
    )
    return retrying(work)


def with_deadlock_retries(work: Callable[[], Result]) -> Result:
    """Do what is one transaction, and again where PostgreSQL chose it to give way to another's. Raises
    DeadlockDetected when it was chosen each time."""
    retrying = Retrying(
        retry=retry_if_exception_type(psycopg.errors.DeadlockDetected),
        wait=wait_random(0, 0.2),
        stop=stop_after_attempt(MAX_DEADLOCKS),
        reraise=True,
    )
    return retrying(work)
