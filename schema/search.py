"""The read side of search: ranking chunks by vectors, and reading what an answer shows of them; by words: words.py.

All of one request happens in one read-only, repeatable-read transaction: one generation, one state of the
documents. A generation that was dropped or replaced meanwhile is told by GenerationChangedError, never by
vectors of two spaces in one answer.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Any, LiteralString, TypeAlias, TypeVar

import msgspec
import numpy as np
import psycopg
from pgvector import HalfVector
from pgvector.psycopg import register_vector_async
from psycopg import sql
from psycopg.types.json import set_json_loads
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from schema.connect import DatabaseError, described
from schema.filter import OF_DOCUMENT, OF_VECTOR, matches
from schema.records import Generation, Space
from schema.sql import statement

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from schema.filter import Condition

AsyncConnection: TypeAlias = psycopg.AsyncConnection[tuple[Any, ...]]
Pool: TypeAlias = AsyncConnectionPool[AsyncConnection]
Result = TypeVar("Result")

POOL_TIMEOUT = 3.0
"""Seconds that a request waits for a connection before it is told that there is none."""

OPEN_TIMEOUT = 10.0

ITERATIVE = "relaxed_order"
"""The index is scanned on where deleted or filtered rows leave too few."""

EF_SEARCH_MAXIMUM = 1000
"""pgvector's own bound."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Where chunks are looked for: in these collections (None: in all), in documents that match (None: in all)."""

    collections: tuple[int, ...] | None = None
    condition: Condition | None = None


EVERYTHING = Scope()


class GenerationChangedError(Exception):
    """Another generation is active than the one that the question was embedded for: embed it anew."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A chunk that was found, with what an answer shows of it; `start` and `end` are offsets in the
    document's stored text, `similarity` is 1 minus the cosine distance."""

    chunk_id: int
    document_id: int
    collection: str
    source: str
    path: str
    title: str | None
    content: str
    heading: str
    page: int | None
    start: int
    end: int
    metadata: dict[str, Any]
    similarity: float


@dataclass(frozen=True, slots=True)
class Candidate:
    """A chunk's place in one ranking; higher scores are better."""

    chunk_id: int
    score: float


@asynccontextmanager
async def open_pool(conninfo: str, size: int, ef_search: int) -> AsyncIterator[Pool]:
    """Connections for `reading`; `ef_search` is what most questions will want. Raises DatabaseError when the
    database cannot be reached."""
    pool: Pool = AsyncConnectionPool(
        conninfo,
        kwargs={
            "prepare_threshold": 0,
            "application_name": "pgfolio-api",
            "connect_timeout": int(OPEN_TIMEOUT),
        },
        min_size=min(2, size),
        max_size=size,
        timeout=POOL_TIMEOUT,
        configure=partial(_configure, ef_search=ef_search),
        open=False,
    )
    try:
        await pool.open(wait=True, timeout=OPEN_TIMEOUT)
    except PoolTimeout as error:
        await pool.close()
        raise DatabaseError(f"cannot reach the database {described(conninfo)}: is it running?") from error
    try:
        yield pool
    finally:
        await pool.close()


async def reading(pool: Pool, work: Callable[[AsyncConnection], Awaitable[Result]]) -> Result:
    """Do the work in one snapshot. Connections that died with a restarted server are replaced and the work
    is done once more. Raises DatabaseError, and what the work raises."""
    try:
        return await _snapshot(pool, work)
    except psycopg.OperationalError:
        await pool.check()
    try:
        return await _snapshot(pool, work)
    except psycopg.OperationalError as error:
        raise DatabaseError("the database cannot be reached: is it running?") from error


async def active_generation(connection: AsyncConnection) -> Generation | None:
    row = await (await connection.execute(statement("read_generation"))).fetchone()
    return None if row is None else Generation(row[0], Space(*row[2:9]), row[1], ef_search=row[9])


async def find_generation(connection: AsyncConnection, generation_id: int) -> Generation | None:
    """One by its id, whatever its state."""
    row = await (await connection.execute(statement("find_generation"), {"id": generation_id})).fetchone()
    return None if row is None else Generation(row[0], Space(*row[2:9]), row[1], ef_search=row[9])


async def nearest(
    connection: AsyncConnection, generation: Generation, vector: np.ndarray, limit: int, ef_search: int
) -> list[Hit]:
    """The chunks nearest to a vector of shape (dimensions,), in one round trip: the common question. May be
    short where deleted rows fill the index: see rank_exact.

    One statement is one snapshot. It answers which generation is active and how far HNSW looked, so that the
    session's own settings can be relied on; where they are not the wanted ones (another ef_search is asked for,
    or a pooler between us and the server mixes sessions) it is asked again with SET LOCAL, which costs 0.3 ms.
    """
    statement_, values = _limited("search_vectors", generation, limit), {"vector": parameter(vector)}
    wanted = str(min(max(ef_search, limit), EF_SEARCH_MAXIMUM))
    await connection.set_autocommit(True)
    rows = await (await connection.execute(statement_, values, binary=True)).fetchall()
    await connection.set_autocommit(False)
    if not rows or rows[0][-1] != f"{wanted} {ITERATIVE}":
        async with connection.pipeline():
            await _begin(connection, int(wanted))
            found = await connection.execute(statement_, values, binary=True)
        rows = await found.fetchall()
    if rows and not _is_meant(generation, rows[0][-2]):
        raise GenerationChangedError
    return [Hit(*row[:-2]) for row in rows]


async def rank(
    connection: AsyncConnection, generation: Generation, vector: np.ndarray, limit: int, ef_search: int
) -> list[Candidate]:
    """Chunks by their similarity, through the index."""
    values = {"vector": parameter(vector)}
    return await _ranked(
        connection, generation, _limited("rank_vectors", generation, limit), values, max(ef_search, limit)
    )


async def rank_near(
    connection: AsyncConnection,
    generation: Generation,
    vector: np.ndarray,
    looked_at: int,
    scope: Scope,
) -> list[Candidate]:
    """Those within the scope among the nearest `looked_at` of all chunks."""
    text, values = _within("rank_vectors_near", generation, looked_at, scope, OF_VECTOR)
    return await _ranked(connection, generation, text, {**values, "vector": parameter(vector)}, looked_at)


async def rank_within(
    connection: AsyncConnection,
    generation: Generation,
    vector: np.ndarray,
    limit: int,
    ef_search: int,
    scope: Scope,
) -> list[Candidate]:
    """The nearest within the scope, through the index. May be short: see rank_exact."""
    text, values = _within("rank_vectors_within", generation, limit, scope, OF_VECTOR)
    return await _ranked(
        connection, generation, text, {**values, "vector": parameter(vector)}, max(ef_search, limit)
    )


async def rank_exact(
    connection: AsyncConnection,
    generation: Generation,
    vector: np.ndarray,
    limit: int,
    scope: Scope = EVERYTHING,
) -> list[Candidate]:
    """The same with every vector within the scope compared: never short while more match."""
    name = "rank_vectors_exact" if scope.condition is None else "rank_vectors_exact_matching"
    text, values = _within(name, generation, limit, scope, OF_DOCUMENT)
    return await _ranked(connection, generation, text, {**values, "vector": parameter(vector)})


async def read_hits(
    connection: AsyncConnection, generation: Generation, vector: np.ndarray, ids: Sequence[int]
) -> dict[int, Hit]:
    """What an answer shows of these chunks, by id."""
    values = {"vector": parameter(vector), "ids": list(ids)}
    found = await connection.execute(statement("get_hits", generation), values, binary=True)
    return {row[0]: Hit(*row) for row in await found.fetchall()}


async def stored_quotes(
    connection: AsyncConnection, quotes: Sequence[tuple[int, int, int, str]]
) -> list[bool]:
    """Whether each quote, as (document id, start, end, text), stands in the stored text at these offsets."""
    columns = [list(column) for column in zip(*quotes, strict=True)] or [[], [], [], []]
    values = dict(zip(("document_ids", "starts", "ends", "quotes"), columns, strict=True))
    found = await connection.execute(statement("check_quotes"), values)
    return [row[0] for row in await found.fetchall()]


async def in_code(connection: AsyncConnection, chunk_ids: Sequence[int]) -> set[int]:
    """Those of the chunks that begin inside a fenced code block."""
    found = await connection.execute(statement("chunks_in_code"), {"ids": list(chunk_ids)})
    return {row[0] for row in await found.fetchall()}


async def collection_ids(connection: AsyncConnection, names: Sequence[str]) -> dict[str, int]:
    """The ids of those collections that there are."""
    found = await connection.execute(statement("collection_ids"), {"names": list(names)})
    return {row[0]: row[1] for row in await found.fetchall()}


async def _configure(connection: AsyncConnection, *, ef_search: int) -> None:
    await register_vector_async(connection)
    set_json_loads(msgspec.json.decode, connection)  # 5 times faster than json's
    await connection.execute(
        statement("begin_session"), {"ef_search": str(ef_search), "iterative": ITERATIVE}
    )
    await connection.commit()
    await connection.set_isolation_level(psycopg.IsolationLevel.REPEATABLE_READ)
    await connection.set_read_only(True)


async def _snapshot(pool: Pool, work: Callable[[AsyncConnection], Awaitable[Result]]) -> Result:
    try:
        async with pool.connection() as connection:
            return await work(connection)
    except PoolTimeout as error:
        raise DatabaseError(
            "no connection to the database became free: is it running, or is it overloaded?"
        ) from error
    except psycopg.errors.UndefinedTable as error:
        raise GenerationChangedError from error


async def _begin(connection: AsyncConnection, ef_search: int) -> psycopg.AsyncCursor[tuple[Any, ...]]:
    values = {"ef_search": str(min(ef_search, EF_SEARCH_MAXIMUM)), "iterative": ITERATIVE}
    return await connection.execute(statement("begin_search"), values)


async def _ranked(
    connection: AsyncConnection,
    generation: Generation,
    text: bytes,
    values: dict[str, Any],
    ef_search: int = EF_SEARCH_MAXIMUM,
) -> list[Candidate]:
    return [Candidate(*row) for row in await ranked(connection, generation, text, values, ef_search)]


async def ranked(
    connection: AsyncConnection,
    generation: Generation,
    text: bytes,
    values: dict[str, Any],
    ef_search: int = EF_SEARCH_MAXIMUM,
) -> list[tuple[Any, ...]]:
    """The rows of a statement over one generation, in one round trip. Raises GenerationChangedError."""
    async with connection.pipeline():
        begun = await _begin(connection, ef_search)
        found = await connection.execute(text, values, binary=True)
    await _check(begun, generation)
    return await found.fetchall()


async def _check(begun: psycopg.AsyncCursor[tuple[Any, ...]], generation: Generation) -> None:
    row = await begun.fetchone()
    if row is None or not _is_meant(generation, row[2]):
        raise GenerationChangedError


def _is_meant(generation: Generation, active: int | None) -> bool:
    """A generation that was not active when it was chosen was chosen for itself: to be evaluated."""
    return generation.state != "active" or generation.id == active


@cache
def _limited(name: str, generation: Generation | None, limit: int) -> bytes:
    """The limit as text: with a parameter in its place PostgreSQL would plan anew each time (0.3 ms)."""
    return sql.SQL(statement(name, generation).as_string()).format(limit=sql.Literal(limit)).as_bytes()


def _within(
    name: str, generation: Generation | None, limit: int, scope: Scope, place: sql.SQL
) -> tuple[bytes, dict[str, Any]]:
    """The statement with its scope, and the parameters that belong to it."""
    condition, values = matches(scope.condition, place)
    collections = None if scope.collections is None else list(scope.collections)
    text = sql.SQL(_read(name, generation)).format(limit=sql.Literal(limit), matches=condition)
    return text.as_bytes(), {**values, "collections": collections}


@cache
def _read(name: str, generation: Generation | None) -> LiteralString:
    text: LiteralString = statement(name, generation).as_string()
    return text


def parameter(vector: np.ndarray) -> HalfVector:
    """A vector as statements take it. At length 1: cosine does not care, and what a half-precision number cannot
    hold is never sent."""
    length = float(np.linalg.norm(vector))
    return HalfVector(vector / length if length else vector)
