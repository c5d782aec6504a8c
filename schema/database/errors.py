"""What PostgreSQL refuses, in a sentence for whoever runs it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import psycopg

from pgfolio.config.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator

READ_ONLY: Final = (
    "the database takes no writes: it is a replica, or default_transaction_read_only is on: name its primary in "
    "PGFOLIO_DATABASE_URL"
)
GRANTS: Final = (
    "grant the role of PGFOLIO_DATABASE_URL what it reads and writes; `pgfolio grants` prints the SQL for a writer "
    "(flows) and a reader (API)"
)
DISK_FULL: Final = "the database's disk is full; free some and run it again; what was done is stored"


class DatabaseError(UserError):
    """The database cannot be used; the message says why and what to do."""


class UnreachableError(DatabaseError):
    """The database does not answer."""


class NotPermittedError(DatabaseError):
    """The database refuses what it was asked for, and will refuse it again."""


def refusal(error: BaseException) -> DatabaseError | None:
    """The sentence for an error whose cause is the database as a whole, not the statement."""
    match error:
        case psycopg.errors.ReadOnlySqlTransaction():
            return NotPermittedError(READ_ONLY)
        case psycopg.errors.InsufficientPrivilege():
            return NotPermittedError(f"{error.diag.message_primary}: {GRANTS}")
        case psycopg.errors.DiskFull():
            return DatabaseError(f"{DISK_FULL} ({error.diag.message_primary})")
    return None


@contextmanager
def refusals() -> Iterator[None]:
    """Raises DatabaseError where the database is full, takes no writes (NotPermittedError), or none of this role."""
    try:
        yield
    except psycopg.Error as error:
        if refused := refusal(error):
            raise refused from error
        raise
