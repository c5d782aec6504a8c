"""What PostgreSQL refuses, in a sentence for whoever runs it."""

from __future__ import annotations

from typing import Final

import psycopg

READ_ONLY: Final = (
    "the database is read-only, as a replica is: name the one that can be written in PGFOLIO_DATABASE_URL"
)
NO_RIGHT: Final = (
    "the role of PGFOLIO_DATABASE_URL has not the right ({said}): use the role that owns pgfolio's tables, or let "
    "that one grant it"
)
DISK_FULL: Final = "the database's disk is full ({said}): free some and run it again; what was done is stored"
SENTENCES: Final[dict[type[psycopg.Error], str]] = {
    psycopg.errors.ReadOnlySqlTransaction: READ_ONLY,
    psycopg.errors.InsufficientPrivilege: NO_RIGHT,
    psycopg.errors.DiskFull: DISK_FULL,
}


class DatabaseError(Exception):
    """The database cannot be used; the message says why and what to do."""


def sentence(error: BaseException) -> str | None:
    """For an error whose cause is the database as a whole, not the statement."""
    said = " ".join(str(error).split()[:30])
    return next((text.format(said=said) for kind, text in SENTENCES.items() if isinstance(error, kind)), None)
