"""Connections of the query side: read-only, one snapshot a request, with the settings that HNSW is searched with."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, TypeVar
from weakref import WeakKeyDictionary

import msgspec
import psycopg
from pgvector.psycopg import register_vector_async
from psycopg.types.json import set_json_loads
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from pgfolio.schema.database import pooler
from pgfolio.schema.database.connect import TOO_LONG, AsyncConnection, without_password
from pgfolio.schema.database.errors import DatabaseError, UnreachableError, refusals
from pgfolio.schema.database.statements import statement
from pgfolio.schema.search.turns import Turns

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

Result = TypeVar("Result")

POOL_TIMEOUT = 3.0
"""Seconds that a request whose turn it is waits for a connection before it is told that there is none."""

OPEN_TIMEOUT = 10.0

REPLICA_TIMEOUT = 0.5
"""Seconds that a connection to a replica is waited for, before the primary is asked."""

RECONNECT_SECONDS = POOL_TIMEOUT
"""Seconds after which a try to connect is given up, and the next request may begin one at once: the pool's own pauses
double up to minutes, and nobody else may try meanwhile."""

REST_SECONDS = 5.0
"""Seconds after which a replica that could not be used is asked again."""

UNREACHABLE = "the database cannot be reached: is it running?"

ITERATIVE = "relaxed_order"
"""The index is scanned on where deleted or filtered rows leave too few."""

SESSION_EF_SEARCH: WeakKeyDictionary[AsyncConnection, int] = WeakKeyDictionary()
"""The ef_search of each connection's session, as far as is known."""


class Pool(AsyncConnectionPool[AsyncConnection]):
    """Connections, the turns of who uses them, and what a statement may take, as PostgreSQL writes it."""

    turns: Turns
    limit: str
    primary: Pool | None = None
    """Of a replica's pool: where its questions are asked again."""
    rests_until = float("-inf")


class GenerationChangedError(Exception):
    """Another generation is active than the one that the question was embedded for: embed it anew."""


@asynccontextmanager
async def open_pool(
    conninfo: str,
    size: int,
    ef_search: int,
    *,
    waiting: int = 0,
    wait: float = 0,
    longest: float = 0,
    replica: str | None = None,
) -> AsyncIterator[Pool]:
    """Connections for `in_snapshot`; `ef_search` is what most questions will want. At most so many requests are
    `waiting` for a connection, each for at most `wait` seconds, and no statement runs for longer than `longest`
    seconds; 0: no limit. `replica`: of `conninfo`'s database, to be read from; either of the two may be gone. Raises
    DatabaseError when the database cannot be reached and there is no replica."""
    made = partial(_made, size=size, ef_search=ef_search, longest=longest)
    pool = made(conninfo, timeout=POOL_TIMEOUT)
    pool.turns = Turns(size, waiting, wait)
    async with _opened(pool, conninfo if replica is None else None):
        if replica is None:
            yield pool
            return
        reading = made(replica, timeout=REPLICA_TIMEOUT)
        reading.turns, reading.primary = Turns(size, waiting, wait), pool
        async with _opened(reading):
            yield reading


def _made(conninfo: str, *, size: int, ef_search: int, longest: float, timeout: float) -> Pool:
    limit = f"{round(longest * 1000)}ms"
    pool = Pool(
        conninfo,
        kwargs={
            "prepare_threshold": None,
            "application_name": "pgfolio-api",
            "connect_timeout": int(OPEN_TIMEOUT),
        },
        min_size=min(2, size),
        max_size=size,
        timeout=timeout,
        reconnect_timeout=RECONNECT_SECONDS,
        configure=partial(_configure, ef_search=ef_search, limit=limit),
        reset=_reset,
        open=False,
    )
    pool.limit = limit
    return pool


@asynccontextmanager
async def _opened(pool: Pool, required: str | None = None) -> AsyncIterator[None]:
    """`required`: the connection string of a database without which nothing goes."""
    try:
        await pool.open(wait=required is not None, timeout=OPEN_TIMEOUT)
    except PoolTimeout as error:
        await pool.close()
        raise DatabaseError(
            f"cannot reach the database {without_password(required or '')}: is it running?"
        ) from error
    try:
        yield
    finally:
        await pool.close()


async def in_snapshot(
    pool: Pool,
    work: Callable[[AsyncConnection], Awaitable[Result]],
    *,
    urgent: bool = False,
    newest: bool = False,
) -> Result:
    """Do the work in one snapshot, when it is its turn. Connections that died with a restarted server are replaced
    and the work is done once more. With a replica it is done there, or, for what was `newest` written, on the
    primary; and on the other one where that cannot do it. Raises BusyError, DatabaseError, and what the work
    raises."""
    if pool.primary is None:
        return await in_turn(pool, work, urgent=urgent)
    first, second = (pool.primary, pool) if newest else (pool, pool.primary)
    if first.rests_until > time.monotonic():
        with suppress(UnreachableError):
            return await in_turn(second, work, urgent=urgent)
        return await in_turn(first, work, urgent=urgent)  # rested or not, it is the only one
    try:
        return await in_turn(first, work, urgent=urgent)
    except GenerationChangedError as changed:  # or the replica is behind what the question was embedded for
        try:
            with _resting(first, GenerationChangedError):
                return await in_turn(second, work, urgent=urgent)
        except UnreachableError:
            raise changed from None  # to be embedded for what the replica has
    except psycopg.errors.ProgrammingError:  # without a migration
        first.rests_until = time.monotonic() + REST_SECONDS
    except UnreachableError:
        first.rests_until = time.monotonic() + REST_SECONDS
        with suppress(UnreachableError):
            return await in_turn(second, work, urgent=urgent)
        return await in_turn(
            first, work, urgent=urgent
        )  # it may have been slow to connect, and is the only one
    return await in_turn(second, work, urgent=urgent)


@contextmanager
def _resting(pool: Pool, error: type[Exception]) -> Iterator[None]:
    """After this error the pool is not asked for a time, so that what comes next is all of one side."""
    try:
        yield
    except error:
        pool.rests_until = time.monotonic() + REST_SECONDS
        raise


async def in_turn(
    pool: Pool, work: Callable[[AsyncConnection], Awaitable[Result]], *, urgent: bool
) -> Result:
    """As `in_snapshot`, in this pool alone."""
    async with pool.turns.turn(urgent=urgent):
        try:
            return await _snapshot(pool, work)
        except psycopg.OperationalError as error:
            if pool.primary is not None:
                raise UnreachableError(UNREACHABLE) from error
            await pool.check()
        try:
            return await _snapshot(pool, work)
        except psycopg.OperationalError as error:
            raise UnreachableError(UNREACHABLE) from error


async def _configure(connection: AsyncConnection, *, ef_search: int, limit: str) -> None:
    pooled = await pooler.adapt_async(connection)
    await register_vector_async(connection)
    set_json_loads(msgspec.json.decode, connection)  # 5 times faster than json's
    if not pooled:
        connection.prepare_threshold = 0
        await connection.execute(statement("begin_session"), session(ef_search))
        SESSION_EF_SEARCH[connection] = ef_search
        await connection.execute(statement("limit_session"), {"timeout": limit})
    await connection.commit()
    await connection.set_isolation_level(psycopg.IsolationLevel.REPEATABLE_READ)
    await connection.set_read_only(True)


def session(ef_search: int) -> dict[str, str]:
    """Parameters of the statement that sets a session."""
    return {"ef_search": str(ef_search), "iterative": ITERATIVE}


async def _reset(connection: AsyncConnection) -> None:
    """A request that was ended in the middle of `nearest` left it so.

    A pool that has a `reset` takes connections back in a task of its own. Without one, a request that is ended just
    then keeps its connection for ever, until there are none (psycopg_pool 3.3)."""
    if connection.autocommit:
        await connection.set_autocommit(False)


async def _snapshot(pool: Pool, work: Callable[[AsyncConnection], Awaitable[Result]]) -> Result:
    try:
        async with pool.connection() as connection:
            with refusals():
                if pooler.is_pooled(connection):
                    await connection.execute(statement("begin_pooled"), {"timeout": pool.limit})
                return await work(connection)
    except PoolTimeout as error:
        pool.turns.fail(UNREACHABLE)
        raise UnreachableError(UNREACHABLE) from error
    except psycopg.errors.QueryCanceled as error:
        raise DatabaseError(TOO_LONG) from error
    except psycopg.errors.UndefinedTable as error:
        raise GenerationChangedError from error
