"""Opening connections: which database it is, and whether it can be used.

Functions elsewhere take a connection; whoever opens it owns the transaction.
"""

from __future__ import annotations

import logging
import re
from contextlib import ExitStack, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

import psycopg
from pgvector.psycopg import register_vector
from psycopg.conninfo import conninfo_to_dict

from pgfolio.schema.database import pooler, priority
from pgfolio.schema.database.bundled import bundled_postgres
from pgfolio.schema.database.errors import DatabaseError, UnreachableError, refusals
from pgfolio.schema.database.migrate import is_behind, migrate, missing
from pgfolio.schema.database.schema_in_use import check_schema_in_use
from pgfolio.schema.database.statements import fetch_one, statement

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from pgfolio.config.settings import Settings

Connection: TypeAlias = psycopg.Connection[tuple[Any, ...]]
LOG = logging.getLogger("pgfolio.schema.database.connect")
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
def database(settings: Settings, *, pooled: bool = False) -> Iterator[str]:
    """The connection string of the database in use, migrated: PGFOLIO_DATABASE_URL, or the bundled Postgres,
    which runs as long as somebody is inside. It leads to sessions that last, by PGFOLIO_DATABASE_DIRECT_URL where
    that is set; `pooled`: for who needs none, and is content with the replica while the database itself is gone.
    Raises DatabaseError."""
    urls = [url.get_secret_value() for url in (settings.database_direct_url, settings.database_url) if url]
    if not urls:
        with bundled_postgres(settings.home, settings.postgres) as conninfo:
            prepare(conninfo)
            yield conninfo
        return
    replica = settings.api.database_url.get_secret_value() if pooled and settings.api.database_url else None
    try:
        prepare(urls[0], pooled=pooled)
        if pooled and urls[-1] != urls[0]:
            check_same(urls[0], urls[-1])
        if replica:
            check_same(urls[0], replica, needed=False)
    except UnreachableError as error:
        if replica is None:
            raise
        _check_alone(replica, error)
    yield urls[-1] if pooled else urls[0]


def _check_alone(replica: str, error: UnreachableError) -> None:
    """The replica can be read without its primary, which cannot be reached, as `error` says. Raises DatabaseError."""
    try:
        opened = _opened(replica)
    except UnreachableError:
        raise error from None
    with opened as connection, refusals():
        check_schema_in_use(connection)
        if lacking := missing(connection):
            raise DatabaseError(
                f"{error}; its replica {without_password(replica)} lacks {lacking} of this pgfolio, and cannot be "
                "read without it"
            ) from error
    LOG.warning("%s; until it is back, what is read comes from its replica, and nothing is written", error)


def prepare(conninfo: str, *, pooled: bool = False) -> None:
    """Check the server and apply what migrations are missing. `pooled`: sessions need not last, unless some are.
    Raises DatabaseError."""
    with _opened(conninfo) as connection, refusals():
        check_schema_in_use(connection)
        lasting = pooler.has_session(connection, lambda: _unadapted(conninfo))
        if not lasting and not (pooled and not is_behind(connection)):
            raise DatabaseError(f"{without_password(conninfo)} {pooler.TRANSACTIONS_ONLY}")
        migrate(connection, conninfo)


def check_same(conninfo: str, other: str, *, needed: bool = True) -> None:
    """Raises DatabaseError where they lead to two databases, of which one is no replica of the other, or where one
    that is `needed` cannot be reached."""
    try:
        opened = _opened(other)
    except DatabaseError:
        if needed:
            raise
        return
    with opened as another, _opened(conninfo) as one, refusals():
        if fetch_one(one, "database_identity") != fetch_one(another, "database_identity"):
            raise DatabaseError(
                f"{without_password(conninfo)} and {without_password(other)} are two databases: the settings must "
                "name one"
            )


@contextmanager
def connect_bare(conninfo: str) -> Iterator[Connection]:
    """As `connect`, to a database that may lack pgvector still."""
    with _opened(conninfo) as connection, refusals():
        yield connection


@contextmanager
def connect(conninfo: str, *, autocommit: bool = False, timeout: float = 0) -> Iterator[Connection]:
    """A connection that knows pgvector's types. Commits on leaving without an error, else rolls back. No statement
    runs for longer than `timeout` seconds; 0: no limit. Through a pooler that is so in the first transaction."""
    with _opened(conninfo, autocommit=autocommit) as connection:
        register_vector(connection)
        if not pooler.is_pooled(connection):
            priority.pass_on(connection)
        limit = {"timeout": _milliseconds(timeout)}
        if timeout and not pooler.is_pooled(connection):
            connection.execute(statement("limit_session"), limit)
        connection.commit()
        if timeout and pooler.is_pooled(connection):
            connection.execute(statement("limit_transaction"), limit)
        try:
            with refusals():
                yield connection
        except psycopg.errors.QueryCanceled as error:
            if not timeout:
                raise
            raise DatabaseError(TOO_LONG) from error


@contextmanager
def connect_reading(conninfo: str, replica: str | None, *, timeout: float = 0) -> Iterator[Connection]:
    """As `connect`, to read only: from the replica, if there is one, while the database itself cannot be reached."""
    with ExitStack() as opened:
        try:
            connection = opened.enter_context(connect(conninfo, timeout=timeout))
        except UnreachableError:
            if replica is None:
                raise
            connection = opened.enter_context(connect(replica, timeout=timeout))
        yield connection


@asynccontextmanager
async def connect_async(
    conninfo: str,
    application_name: str,
    *,
    autocommit: bool = False,
    statement_seconds: float = 0,
    connect_timeout: int = CONNECT_TIMEOUT,
) -> AsyncIterator[AsyncConnection]:
    """A connection of an event loop. No statement runs for longer than `statement_seconds`, as of `connect`; 0: no
    limit. Raises DatabaseError, also when the connection is lost."""
    try:
        async with await psycopg.AsyncConnection.connect(
            conninfo,
            autocommit=autocommit,
            connect_timeout=connect_timeout,
            application_name=application_name,
        ) as connection:
            limit = "limit_transaction" if await pooler.adapt_async(connection) else "limit_session"
            if statement_seconds:
                await connection.execute(statement(limit), {"timeout": _milliseconds(statement_seconds)})
            with refusals():
                yield connection
    except psycopg.errors.QueryCanceled as error:
        raise DatabaseError(TOO_LONG) from error
    except psycopg.OperationalError as error:
        raise UnreachableError(
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
    connection = _unadapted(conninfo, autocommit=autocommit)
    try:
        pooler.adapt(connection)
    except psycopg.OperationalError as error:
        raise _unreachable(conninfo, error) from error
    return connection


def _unadapted(conninfo: str, *, autocommit: bool = False) -> Connection:
    """Nothing is asked of the server: a pooler may have none to spare."""
    _check_form(conninfo)
    try:
        return psycopg.connect(
            conninfo, autocommit=autocommit, connect_timeout=CONNECT_TIMEOUT, application_name="pgfolio"
        )
    except psycopg.OperationalError as error:
        raise _unreachable(conninfo, error) from error


def _unreachable(conninfo: str, error: Exception) -> UnreachableError:
    return UnreachableError(
        f"cannot reach the database {without_password(conninfo)}: {_line(error)}; is it running, and is "
        "PGFOLIO_DATABASE_URL right?"
    )


def _line(error: Exception) -> str:
    return " ".join(str(error).split())


AsyncConnection: TypeAlias = psycopg.AsyncConnection[tuple[Any, ...]]
