"""Opening connections: which database it is, and whether it can be used.

Functions elsewhere take a connection; whoever opens it owns the transaction.
"""

from __future__ import annotations

import re
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

import psycopg
from pgvector.psycopg import register_vector
from psycopg.conninfo import conninfo_to_dict

from pgfolio.schema.database import priority
from pgfolio.schema.database.bundled import bundled_postgres
from pgfolio.schema.database.errors import DatabaseError, refusals
from pgfolio.schema.database.migrate import migrate
from pgfolio.schema.database.statements import statement

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from pgfolio.config.settings import Settings

Connection: TypeAlias = psycopg.Connection[tuple[Any, ...]]
PGVECTOR_MINIMUM = (0, 8, 4)
CONNECT_TIMEOUT = 10
TOO_LONG = "the database took longer than PGFOLIO_API__STATEMENT_TIMEOUT allows: ask for less, or allow more"

URL = re.compile(
    r"postgres(?:ql)?://(?:(?:[^:@/\s%]|%[0-9a-f]{2})*(?::(?:[^@/\s%]|%[0-9a-f]{2})*)?@)?[^@\s]*",
    re.IGNORECASE,
)
NO_URL = (
    "PGFOLIO_DATABASE_URL is not a connection string: write postgresql://USER:PASSWORD@HOST:PORT/DATABASE, with "
    "@, /, % and spaces of a password as %40, %2F, %25 and %20"
)


@contextmanager
def database(settings: Settings) -> Iterator[str]:
    """The connection string of the database in use, migrated: PGFOLIO_DATABASE_URL, or the bundled Postgres,
    which runs as long as somebody is inside. Raises DatabaseError."""
    if settings.database_url is None:
        with bundled_postgres(settings.home, settings.postgres) as conninfo:
            prepare(conninfo)
            yield conninfo
    else:
        conninfo = settings.database_url.get_secret_value()
        prepare(conninfo)
        yield conninfo


def prepare(conninfo: str) -> None:
    """Check the server and apply what migrations are missing. Raises DatabaseError."""
    with _opened(conninfo) as connection, refusals():
        _check_pgvector(connection)
        migrate(connection, conninfo)


@contextmanager
def connect(conninfo: str, *, autocommit: bool = False, timeout: float = 0) -> Iterator[Connection]:
    """A connection that knows pgvector's types. Commits on leaving without an error, else rolls back. No statement
    runs for longer than `timeout` seconds; 0: no limit."""
    with _opened(conninfo, autocommit=autocommit) as connection:
        register_vector(connection)
        priority.pass_on(connection)
        if timeout:
            connection.execute(statement("limit_session"), {"timeout": _milliseconds(timeout)})
        connection.commit()
        try:
            with refusals():
                yield connection
        except psycopg.errors.QueryCanceled as error:
            if not timeout:
                raise
            raise DatabaseError(TOO_LONG) from error


@asynccontextmanager
async def connect_async(
    conninfo: str,
    application_name: str,
    *,
    autocommit: bool = False,
    statement_seconds: float = 0,
    connect_timeout: int = CONNECT_TIMEOUT,
) -> AsyncIterator[AsyncConnection]:
    """A connection of an event loop. No statement runs for longer than `statement_seconds`; 0: no limit. Raises
    DatabaseError, also when the connection is lost."""
    try:
        async with await psycopg.AsyncConnection.connect(
            conninfo,
            autocommit=autocommit,
            connect_timeout=connect_timeout,
            application_name=application_name,
        ) as connection:
            if statement_seconds:
                await connection.execute(
                    statement("limit_session"), {"timeout": _milliseconds(statement_seconds)}
                )
            with refusals():
                yield connection
    except psycopg.errors.QueryCanceled as error:
        raise DatabaseError(TOO_LONG) from error
    except psycopg.OperationalError as error:
        raise DatabaseError(
            f"cannot reach the database {without_password(conninfo)}: is it running?"
        ) from error


def _milliseconds(seconds: float) -> str:
    return f"{max(1, round(seconds * 1000))}ms"


def without_password(conninfo: str) -> str:
    """The database for a message, without its password."""
    parts = conninfo_to_dict(conninfo)
    return f"{parts.get('host', 'localhost')}:{parts.get('port', 5432)}/{parts.get('dbname', '')}"


def _check_form(conninfo: str) -> None:
    """Before libpq reads it: of what it cannot read, or takes a password's end for the host of, its message repeats a
    part."""
    if "://" in conninfo and not URL.fullmatch(conninfo):
        raise DatabaseError(NO_URL)
    try:
        conninfo_to_dict(conninfo)
    except psycopg.ProgrammingError:
        raise DatabaseError(NO_URL) from None


def _opened(conninfo: str, *, autocommit: bool = False) -> Connection:
    _check_form(conninfo)
    try:
        return psycopg.connect(
            conninfo, autocommit=autocommit, connect_timeout=CONNECT_TIMEOUT, application_name="pgfolio"
        )
    except psycopg.OperationalError as error:
        raise DatabaseError(
            f"cannot reach the database {without_password(conninfo)}: {_line(error)}; is it running, and is "
            "PGFOLIO_DATABASE_URL right?"
        ) from error


def _check_pgvector(connection: Connection) -> None:
    row = connection.execute(
        "select coalesce((select extversion from pg_extension where extname = 'vector'), default_version)"
        " from pg_available_extensions where name = 'vector'"
    ).fetchone()
    minimum = ".".join(map(str, PGVECTOR_MINIMUM))
    if row is None:
        raise DatabaseError(
            f"this PostgreSQL has no pgvector: install pgvector {minimum} or newer on its server"
        )
    version = tuple(int(part) for part in row[0].split("."))
    if version < PGVECTOR_MINIMUM:
        raise DatabaseError(
            f"pgvector {row[0]} is too old: {minimum} or newer is needed (older ones corrupt HNSW indexes on "
            "vacuum); update it on the server, then run `ALTER EXTENSION vector UPDATE`"
        )


def _line(error: Exception) -> str:
    return " ".join(str(error).split())


AsyncConnection: TypeAlias = psycopg.AsyncConnection[tuple[Any, ...]]
