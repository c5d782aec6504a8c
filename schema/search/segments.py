"""Segments of postings as questions need them: what was read of them is kept between questions, for a segment never
changes. A cache: what it has not, or no longer has, is read again.
"""

from __future__ import annotations

from contextlib import suppress
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from cachetools import LRUCache
from msgspec import Struct

from pgfolio.schema.database.statements import statement
from pgfolio.schema.search import bm25
from pgfolio.schema.search.bm25 import Postings

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

    from pgfolio.schema.database.connect import AsyncConnection

MAX_UNPOSTED: Final = 500
"""Chunks that came since the last segment: so many are looked into for each question."""

MAX_CACHED_BYTES: Final = 256 << 20
"""100,000 chunks have 40 MB of long postings."""


class State(NamedTuple):
    """The corpus and its segments, as read_terms tells them; `mean` length of a chunk."""

    vector_arm: Sequence[int] | None
    chunks: int
    mean: float
    segments: Sequence[int]
    built: Sequence[float]
    last: int
    unposted: int
    named: Sequence[int] | None

    @property
    def keys(self) -> list[SegmentKey]:
        return [SegmentKey(*key, self.mean) for key in zip(self.segments, self.built, strict=True)]


STATE_COLUMNS: Final = len(State._fields)


class SegmentKey(NamedTuple):
    """A restored database may give a segment another one's id, but not its time. Impacts go by the mean length."""

    id: int
    built: float
    mean: float


class SegmentPostings(Struct, frozen=True):
    """Its chunks by slot, ids ascending, and the postings of a question's lexemes."""

    ids: np.ndarray
    postings: Mapping[str, Postings]


class TermLists(NamedTuple):
    """Where a lexeme stands: of each segment that has it in how many chunks, and the short ones' postings."""

    lexeme: str
    segments: Sequence[int]
    dfs: Sequence[int]
    short: bytes


def _size(entry: tuple[np.ndarray, np.ndarray]) -> int:
    return sum(array.nbytes for array in entry)


_CACHE: Final[LRUCache[Hashable, tuple[np.ndarray, np.ndarray]]] = LRUCache(MAX_CACHED_BYTES, getsizeof=_size)
_LOCK: Final = Lock()


async def read_segments(
    connection: AsyncConnection, state: State, lists: Sequence[TermLists], short: int
) -> list[SegmentPostings]:
    """All segments, with the postings of these lexemes; those of up to `short` chunks came with them."""
    chunks = await _read_chunks(connection, state.keys)
    keys = {key.id: key for key in state.keys}
    postings: dict[int, dict[str, Postings]] = {key: {} for key in keys}
    missing: list[tuple[int, str]] = []
    for of in lists:
        at = 0
        packed = np.frombuffer(of.short or b"", ">i4").astype(np.int32)
        for segment, df in zip(of.segments or (), of.dfs or (), strict=True):
            if df <= short:
                own, at = packed[at : at + df], at + df
                postings[segment][of.lexeme] = bm25.postings(own, chunks[segment][1])
            elif cached := _cached((keys[segment], of.lexeme)):
                postings[segment][of.lexeme] = Postings(*cached)
            else:
                missing.append((segment, of.lexeme))
    for segment, lexeme, data in await _read_lists(connection, missing):
        read = bm25.postings(np.frombuffer(data, ">i4").astype(np.int32), chunks[segment][1])
        _keep((keys[segment], lexeme), (read.slots, read.impacts))
        postings[segment][lexeme] = read
    return [SegmentPostings(chunks[segment][0], postings[segment]) for segment in keys]


async def read_unposted(
    connection: AsyncConnection, state: State, lexemes: Sequence[str]
) -> tuple[SegmentPostings, list[int]]:
    """The chunks that came since, as a segment, and in how many of them each lexeme stands."""
    values = {"lexemes": list(lexemes), "last": state.last, "limit": MAX_UNPOSTED}
    cursor = await connection.execute(statement("read_unposted"), values, binary=True)
    rows = await cursor.fetchall()
    packed: dict[str, list[int]] = {lexeme: [] for lexeme in lexemes}
    for slot, (_, _, of_chunk, counts) in enumerate(rows):
        for lexeme, count in zip(of_chunk or (), counts or (), strict=True):
            packed[lexeme].append(slot * 256 + count)
    norms = bm25.norms(np.array([row[1] for row in rows]), state.mean)
    postings = {
        lexeme: bm25.postings(np.array(lists, np.int32), norms) for lexeme, lists in packed.items() if lists
    }
    ids = np.array([row[0] for row in rows], np.int64)
    return SegmentPostings(ids, postings), [len(packed[lexeme]) for lexeme in lexemes]


async def _read_chunks(
    connection: AsyncConnection, keys: Sequence[SegmentKey]
) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Ids and norms of each segment's chunks."""
    cached = {key: _cached(key) for key in keys}
    chunks = {key.id: entry for key, entry in cached.items() if entry is not None}
    missing = {key.id: key for key, entry in cached.items() if entry is None}
    if missing:
        cursor = await connection.execute(
            statement("read_segment_chunks"), {"ids": list(missing)}, binary=True
        )
        for segment, ids, tokens in await cursor.fetchall():
            norms = bm25.norms(np.frombuffer(tokens, ">i4"), missing[segment].mean)
            chunks[segment] = np.frombuffer(ids, ">i8").astype(np.int64), norms
            _keep(missing[segment], chunks[segment])
    return chunks


async def _read_lists(
    connection: AsyncConnection, missing: Sequence[tuple[int, str]]
) -> list[tuple[Any, ...]]:
    if not missing:
        return []
    segments, lexemes = (list(column) for column in zip(*missing, strict=True))
    values = {"segments": segments, "lexemes": lexemes}
    cursor = await connection.execute(statement("read_posting_lists"), values, binary=True)
    return await cursor.fetchall()


def _cached(key: Hashable) -> tuple[np.ndarray, np.ndarray] | None:
    with _LOCK:
        return _CACHE.get(key)


def _keep(key: Hashable, arrays: tuple[np.ndarray, np.ndarray]) -> None:
    """What is larger than the cache is not kept."""
    with _LOCK, suppress(ValueError):
        _CACHE[key] = arrays
