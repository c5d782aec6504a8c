"""The read side of search: ranking chunks by vectors, and reading what an answer shows of them; by words: lexical.py.

All of one request happens in one read-only, repeatable-read transaction: one generation, one state of the
documents. A generation that was dropped or replaced meanwhile is told by GenerationChangedError, never by
vectors of two spaces in one answer.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, LiteralString
from weakref import WeakKeyDictionary

import numpy as np
import psycopg
from msgspec import Struct
from psycopg import sql

from pgfolio.schema.database.pooler import is_pooled
from pgfolio.schema.database.statements import array, statement
from pgfolio.schema.search.conditions import OF_DOCUMENT, OF_VECTOR, matches
from pgfolio.schema.search.pool import ITERATIVE, SESSION_EF_SEARCH, GenerationChangedError, session
from pgfolio.schema.vectors.generations import generation_of
from pgfolio.schema.vectors.storage import EF_SEARCH_MAXIMUM, scan, value, vector_statement

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from pgvector import HalfVector, Vector

    from pgfolio.schema.database.connect import AsyncConnection
    from pgfolio.schema.records import Generation
    from pgfolio.schema.search.access import Permitted, Scope


HAS_POSTINGS: WeakKeyDictionary[AsyncConnection, bool] = WeakKeyDictionary()
"""Whether there were postings when each connection was last asked: where there are none, they are not asked for."""


class Hit(Struct, frozen=True):
    """A chunk that was found, with what an answer shows of it; `start` and `end` are offsets in the
    document's stored text, with which `content` ends; `similarity` is 1 minus the cosine distance."""

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
    metadata: dict[str, Any] | None
    """None: too long to be shown beside others."""
    similarity: float
    file_start: int | None = None
    """The same places in the file's own characters; None where it has no such."""
    file_end: int | None = None
    created_at: datetime | None = None
    """The document's own date, and when its file was changed."""
    updated_at: datetime | None = None

    @property
    def header_length(self) -> int:
        """Characters of the content before what stands at `start`: a cut table's header, repeated."""
        return len(self.content) - (self.end - self.start)


class Candidate(Struct, frozen=True):
    """A chunk's place in one ranking; higher scores are better."""

    chunk_id: int
    score: float
    document_id: int = 0
    """Whose chunk it is; 0: not known yet."""


async def active_generation(connection: AsyncConnection) -> Generation | None:
    row = await (await connection.execute(statement("read_generation"))).fetchone()
    return None if row is None else generation_of(row)


async def find_generation(connection: AsyncConnection, generation_id: int) -> Generation | None:
    """One by its id, whatever its state."""
    row = await (await connection.execute(statement("find_generation"), {"id": generation_id})).fetchone()
    return None if row is None else generation_of(row)


def effective_ef_search(limit: int, ef_search: int) -> int:
    """How far HNSW looks for so many: at least as far as that, at most as far as it can."""
    return min(max(ef_search, limit), EF_SEARCH_MAXIMUM)


async def nearest(
    connection: AsyncConnection,
    generation: Generation,
    vector: np.ndarray,
    limit: int,
    ef_search: int,
    permitted: Permitted,
) -> list[Hit]:
    """The chunks nearest to a vector of shape (dimensions,), in one round trip: the common question. May be
    short where deleted rows fill the index: see rank_exact. Finds nothing for who may not see every collection.

    One statement is one snapshot. It answers which generation is active and how far HNSW looked, so that the
    session's own settings can be relied on: they stay as the last question of the connection wanted them. Where they
    are other ones, or a pooler mixes sessions, it is asked with SET LOCAL.
    """
    effective = effective_ef_search(limit, ef_search)
    statement_ = _limited("search_vectors", generation, limit, effective)
    values = {"vector": parameter(generation, vector), "permitted": array(permitted)}
    rows = [] if is_pooled(connection) else await _in_session(connection, statement_, values, effective)
    if not rows or rows[0][-1] != f"{effective} {ITERATIVE}":
        SESSION_EF_SEARCH.pop(connection, None)
        async with connection.pipeline():
            await begin(connection, effective)
            cursor = await connection.execute(statement_, values, binary=True)
        rows = await cursor.fetchall()
    if rows and not _is_meant(generation, rows[0][-2]):
        raise GenerationChangedError
    return [Hit(*row[:-2]) for row in rows]


async def _in_session(
    connection: AsyncConnection, statement_: bytes, values: dict[str, Any], effective: int
) -> list[tuple[Any, ...]]:
    await connection.set_autocommit(True)
    if SESSION_EF_SEARCH.get(connection) == effective:
        cursor = await connection.execute(statement_, values, binary=True)
    else:
        async with connection.pipeline():
            await connection.execute(statement("begin_session"), session(effective))
            cursor = await connection.execute(statement_, values, binary=True)
        SESSION_EF_SEARCH[connection] = effective
    await connection.set_autocommit(False)
    return await cursor.fetchall()


async def rank(
    connection: AsyncConnection,
    generation: Generation,
    vector: np.ndarray,
    limit: int,
    ef_search: int,
    permitted: Permitted,
) -> list[Candidate]:
    """Chunks by their similarity, through the index. Finds nothing for who may not see every collection."""
    effective = effective_ef_search(limit, ef_search)
    values = {"vector": parameter(generation, vector), "permitted": array(permitted)}
    return await _ranked(
        connection, generation, _limited("rank_vectors", generation, limit, effective), values, effective
    )


async def rank_postfiltered(
    connection: AsyncConnection,
    generation: Generation,
    vector: np.ndarray,
    scan_limit: int,
    scope: Scope,
) -> list[Candidate]:
    """Those within the scope among the nearest `scan_limit` of all chunks."""
    text, values = _filtered("rank_vectors_postfiltered", generation, scan_limit, scope, OF_VECTOR)
    values["vector"] = parameter(generation, vector)
    return await _ranked(connection, generation, text, values, scan_limit)


async def rank_filtered(
    connection: AsyncConnection,
    generation: Generation,
    vector: np.ndarray,
    limit: int,
    ef_search: int,
    scope: Scope,
) -> list[Candidate]:
    """The nearest within the scope, through the index. May be short: see rank_exact."""
    effective = effective_ef_search(limit, ef_search)
    text, values = _filtered("rank_vectors_filtered", generation, limit, scope, OF_VECTOR, effective)
    values["vector"] = parameter(generation, vector)
    return await _ranked(connection, generation, text, values, effective)


async def rank_exact(
    connection: AsyncConnection,
    generation: Generation,
    vector: np.ndarray,
    limit: int,
    scope: Scope,
) -> list[Candidate]:
    """The same with every vector within the scope compared: never short while more match."""
    name = "rank_vectors_exact" if scope.restriction is None else "rank_vectors_exact_matching"
    text, values = _filtered(name, generation, limit, scope, OF_DOCUMENT)
    return await _ranked(connection, generation, text, {**values, "vector": parameter(generation, vector)})


async def collection_ids(
    connection: AsyncConnection, names: Sequence[str], permitted: Permitted
) -> dict[str, int]:
    """The ids of those collections that there are, as far as they may be seen."""
    stored = [name for name in names if "\x00" not in name]  # which PostgreSQL takes in no text
    values = {"names": stored, "permitted": array(permitted)}
    cursor = await connection.execute(statement("collection_ids"), values)
    return {row[0]: row[1] for row in await cursor.fetchall()}


async def begin(
    connection: AsyncConnection, ef_search: int, *, planned_once: bool = False
) -> psycopg.AsyncCursor[tuple[Any, ...]]:
    """The settings of what is to be asked in this transaction; `checked` reads the answer."""
    values = {
        "ef_search": str(min(ef_search, EF_SEARCH_MAXIMUM)),
        "iterative": ITERATIVE,
        "planned": "force_generic_plan" if planned_once else "auto",
    }
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
    *,
    planned_once: bool = False,
) -> list[tuple[Any, ...]]:
    """The rows of a statement over one generation, in one round trip. `planned_once`: its plan is the same whatever
    its parameters. Raises GenerationChangedError."""
    async with connection.pipeline():
        begun = await begin(connection, ef_search, planned_once=planned_once)
        cursor = await connection.execute(text, values, binary=True)
    await checked(connection, begun, generation)
    return await cursor.fetchall()


async def checked(
    connection: AsyncConnection, begun: psycopg.AsyncCursor[tuple[Any, ...]], generation: Generation
) -> None:
    """What `begin` found. Raises GenerationChangedError."""
    row = await begun.fetchone()
    HAS_POSTINGS[connection] = row is not None and bool(row[-2])
    if row is None or not _is_meant(generation, row[-1]):
        raise GenerationChangedError


def _is_meant(generation: Generation, active: int | None) -> bool:
    """A generation that was not active when it was chosen was chosen for itself: to be evaluated."""
    return generation.state != "active" or generation.id == active


@lru_cache(1000)
def _limited(name: str, generation: Generation, limit: int, ef_search: int) -> bytes:
    """The limits as text: with parameters in their place PostgreSQL would plan anew each time (0.3 ms)."""
    scan_limit = scan(generation.space, limit, ef_search)
    text = sql.SQL(_read(name, generation)).format(limit=sql.Literal(limit), scan=sql.Literal(scan_limit))
    return text.as_bytes()


def _filtered(
    name: str,
    generation: Generation | None,
    limit: int,
    scope: Scope,
    place: sql.SQL,
    ef_search: int = 0,
) -> tuple[bytes, dict[str, Any]]:
    """The statement with its scope, and the parameters that belong to it."""
    condition, values = matches(scope.restriction, place)
    scan_limit = scan(generation.space, limit, ef_search) if generation else limit
    text = sql.SQL(_read(name, generation)).format(
        limit=sql.Literal(limit), scan=sql.Literal(scan_limit), matches=condition
    )
    return text.as_bytes(), {**values, "permitted": array(scope.permitted_collections)}


@lru_cache(100)
def _read(name: str, generation: Generation | None) -> LiteralString:
    query = statement(name) if generation is None else vector_statement(name, generation)
    text: LiteralString = query.as_string()
    return text


def parameter(generation: Generation, vector: np.ndarray) -> HalfVector | Vector:
    """A vector as statements take it. At length 1: cosine does not care, and what a half-precision number cannot
    hold is never sent."""
    length = float(np.linalg.norm(vector))
    return value(generation.space, vector / length if length else vector)
