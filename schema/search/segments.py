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
    sizes: Sequence[int]
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


class Chunks(Struct, frozen=True):
    """All chunks by slot, ids ascending: one segment after the other, `starts` by segment, then those that are in
    none. `norms`: see bm25.py."""

    ids: np.ndarray
    norms: np.ndarray
    starts: Mapping[int, int]


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


async def read_chunks(connection: AsyncConnection, state: State) -> Chunks:
    """Those of all segments."""
    together = tuple(state.keys)
    if (cached := _cached(together)) is None:
        parts = await _read_parts(connection, together)
        cached = np.concatenate([ids for ids, _ in parts]), np.concatenate([norms for _, norms in parts])
        _keep(together, cached)
    starts = np.cumsum([0, *state.sizes[:-1]]).tolist()
    return Chunks(*cached, dict(zip(state.segments, starts, strict=True)))


async def read_postings(
    connection: AsyncConnection, state: State, chunks: Chunks, lists: Sequence[TermLists], short: int
) -> dict[str, list[Postings]]:
    """By lexeme, in pieces; those of up to `short` chunks of a segment came with the lists, and make one."""
    keys = {key.id: key for key in state.keys}
    pieces: dict[str, list[Postings]] = {of.lexeme: [] for of in lists}
    missing: list[tuple[int, str]] = []
    for of in lists:
        parts = list(zip(of.segments or (), of.dfs or (), strict=True))
        firsts = [(chunks.starts[segment], df) for segment, df in parts if df <= short]
        if firsts:
            packed = np.frombuffer(of.short, ">i4").astype(np.int32)
            slots = (packed >> 8) + np.repeat(*np.array(firsts).T)
            pieces[of.lexeme].append(Postings(0, slots, bm25.impacts(packed, chunks.norms[slots])))
        for segment, df in parts:
            if df > short and (cached := _cached((keys[segment], of.lexeme))):
                pieces[of.lexeme].append(Postings(chunks.starts[segment], *cached))
            elif df > short:
                missing.append((segment, of.lexeme))
    for segment, lexeme, data in await _read_lists(connection, missing):
        packed, first = np.frombuffer(data, ">i4").astype(np.int32), chunks.starts[segment]
        slots = packed >> 8
        arrays = slots, bm25.impacts(packed, chunks.norms[first:][slots])
        _keep((keys[segment], lexeme), arrays)
        pieces[lexeme].append(Postings(first, *arrays))
    return pieces


async def add_unposted(
    connection: AsyncConnection, state: State, chunks: Chunks, pieces: dict[str, list[Postings]]
) -> tuple[Chunks, dict[str, int]]:
    """The chunks that came since with the others, and in how many of them each lexeme stands."""
    values = {"lexemes": list(pieces), "last": state.last, "limit": MAX_UNPOSTED, "permitted": None}
    cursor = await connection.execute(statement("read_unposted"), values, binary=True)
    rows = await cursor.fetchall()
    norms = bm25.norms(np.array([row[1] for row in rows]), state.mean)
    packed: dict[str, list[int]] = {lexeme: [] for lexeme in pieces}
    for slot, (_, _, of_chunk, counts) in enumerate(rows):
        for lexeme, count in zip(of_chunk or (), counts or (), strict=True):
            packed[lexeme].append(slot * 256 + count)
    for lexeme, each in packed.items():
        array = np.array(each, np.int32)
        pieces[lexeme].append(Postings(len(chunks.ids), array >> 8, bm25.impacts(array, norms[array >> 8])))
    ids = np.concatenate([chunks.ids, np.array([row[0] for row in rows], np.int64)])
    together = Chunks(ids, np.concatenate([chunks.norms, norms]), chunks.starts)
    return together, {lexeme: len(each) for lexeme, each in packed.items()}


async def _read_parts(
    connection: AsyncConnection, keys: Sequence[SegmentKey]
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Ids and norms of each segment's chunks."""
    parts = {key: _cached(key) for key in keys}
    missing = {key.id: key for key, part in parts.items() if part is None}
    if missing:
        cursor = await connection.execute(
            statement("read_segment_chunks"), {"ids": list(missing)}, binary=True
        )
        for segment, ids, tokens in await cursor.fetchall():
            norms = bm25.norms(np.frombuffer(tokens, ">i4"), missing[segment].mean)
            parts[missing[segment]] = part = np.frombuffer(ids, ">i8").astype(np.int64), norms
            _keep(missing[segment], part)
    return [part for part in parts.values() if part is not None]


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
