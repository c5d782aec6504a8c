"""Turns of a run's processes: so many may do something at once."""

from __future__ import annotations

import random
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pgfolio.schema.database import locks
from pgfolio.schema.database.statements import fetch_one, statement

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgfolio.schema.database.connect import Connection

MAX_LOCK_ID = 2**31 - 1


@contextmanager
def held(connection: Connection, run_id: int, number: int) -> Iterator[None]:
    """One of so many turns while the caller is inside; waits for one. On a connection in autocommit, whose session
    has it."""
    first = run_id * number % (MAX_LOCK_ID - number)
    values = {"lock_class": locks.TURNS, "first": first, "last": first + number - 1}
    row = connection.execute(statement("take_turn"), values).fetchone()
    turn = row[0] if row else first + random.randrange(number)  # noqa: S311 -- all are taken: wait for any
    lock = {"lock_class": locks.TURNS, "lock_id": turn}
    if row is None:
        connection.execute(statement("await_turn"), lock)
    try:
        yield
    finally:
        if locks.is_usable(connection):
            fetch_one(connection, "unlock_session", lock)
