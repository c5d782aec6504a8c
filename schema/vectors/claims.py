"""Texts that somebody is paying for just now, known to all workers: whoever needs the vector of one waits for it
instead of paying again. A claim is a lock of its owner's session, so that it ends with the process, however that
ends."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from pgfolio.schema.database import locks
from pgfolio.schema.database.statements import statement

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pgfolio.schema.database.connect import Connection
    from pgfolio.schema.records import Generation


@contextmanager
def claimed(connection: Connection, generation: Generation, hashes: Sequence[bytes]) -> Iterator[list[bytes]]:
    """Those of the texts, by the hash of the text as embedded, that are the caller's to pay for while he is inside.
    He must not wait for another's claim there. On a connection in autocommit, whose session has the claim."""
    claim = _lock(connection)
    try:
        values = {"hashes": list(hashes), "claim": claim, "generation": generation.id}
        yield [row[0] for row in connection.execute(statement("claim_texts"), values, binary=True)]
    finally:
        if locks.is_usable(connection):
            connection.execute(statement("forget_claim"), {"claim": claim})
            lock = {"lock_class": locks.CLAIMS, "lock_id": claim}
            connection.execute(statement("unlock_session"), lock)


def wait(connection: Connection, generation: Generation, hashes: Sequence[bytes]) -> None:
    """Until whoever has claimed these texts is done with them, or gone. As `claimed`."""
    values = {"hashes": list(hashes), "generation": generation.id}
    for (claim,) in connection.execute(statement("claims_of_texts"), values).fetchall():
        lock = {"lock_class": locks.CLAIMS, "claim": claim}
        connection.execute(statement("await_claim"), lock)
        connection.execute(statement("forget_claim"), {"claim": claim})
        connection.execute(statement("end_await_claim"), lock)


def forget_lost(connection: Connection) -> None:
    """Claims whose sessions ended and that nobody has met since."""
    connection.execute(statement("forget_lost_claims"), {"lock_class": locks.CLAIMS})


def _lock(connection: Connection) -> int:
    while (
        row := connection.execute(statement("next_claim"), {"lock_class": locks.CLAIMS}).fetchone()
    ) is None:
        pass  # its number went round, and whoever had it is still there
    return int(row[0])
