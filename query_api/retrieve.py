"""Finds the chunks that a question is about: by vectors, by words, or by both. Used by the API and the terminal."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal, Protocol

from query_api.fuse import Fusion, by_words, fuse
from query_api.phrases import question
from query_api.within import nearest_within
from schema import search as stored
from schema.search import EVERYTHING, Candidate, GenerationChangedError, Scope, reading
from schema.words import rank_words

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from config.settings import Settings
    from query_api.active import ActiveSpace
    from schema.filter import Condition
    from schema.records import Generation
    from schema.search import AsyncConnection, Hit, Pool
    from schema.words import Scored

Mode = Literal["hybrid", "vector", "lexical"]
ATTEMPTS = 5


class UnknownCollectionError(Exception):
    """A question within a collection that is not there; the message names it and those that are."""


class SwitchingError(Exception):
    """The active space changed again and again while one question was asked."""


@dataclass(frozen=True, slots=True)
class Query:
    """What is looked for, checked already. None leaves a choice to the settings."""

    text: str
    limit: int = 5
    mode: Mode = "hybrid"
    collections: tuple[str, ...] | None = None
    condition: Condition | None = None
    min_similarity: float | None = None
    exact: bool = False
    ef_search: int | None = None
    fusion: Fusion | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """A chunk and what it was ranked by."""

    hit: Hit
    score: float


@dataclass(frozen=True, slots=True)
class Retrieved:
    """The best chunks first. `complete` is false when fewer than the limit came back although more may match."""

    found: Sequence[Found] = ()
    complete: bool = True
    space: str | None = None


class Spaces(Protocol):
    """Which space questions are answered in."""

    async def current(self) -> ActiveSpace | None: ...

    async def refresh(self, seen: ActiveSpace | None) -> ActiveSpace | None:
        """Look again, because `seen` is no longer the active one."""
        ...


class Retriever:
    """Answers queries from one database; safe to use by many requests at once."""

    def __init__(self, settings: Settings, pool: Pool, spaces: Spaces) -> None:
        self.settings = settings
        self.pool = pool
        self.spaces = spaces

    async def retrieve(self, query: Query) -> Retrieved:
        """Raises UnknownCollectionError, a ModelError, DatabaseError, SwitchingError.

        The question is embedded before the transaction begins. If another space became active meanwhile,
        everything is done again for that one: nothing of two spaces is ever mixed.
        """
        active = await self.spaces.current()
        for _ in range(ATTEMPTS):
            if active is None:
                await reading(self.pool, partial(_collections, query=query))
                return Retrieved()
            vector = await active.vector(question(query.text).text)
            try:
                return await reading(
                    self.pool, partial(self._find, active=active, vector=vector, query=query)
                )
            except GenerationChangedError:
                active = await self.spaces.refresh(active)
        raise SwitchingError("the active space is changing: try again in a moment")

    async def _find(
        self, connection: AsyncConnection, *, active: ActiveSpace, vector: np.ndarray, query: Query
    ) -> Retrieved:
        found, complete = await _Search(self.settings, connection, active.generation, vector, query).run()
        return Retrieved(found, complete, active.generation.space.name)


@dataclass(frozen=True, slots=True)
class _Search:
    """One query in one snapshot."""

    settings: Settings
    connection: AsyncConnection
    generation: Generation
    vector: np.ndarray
    query: Query

    async def run(self) -> tuple[list[Found], bool]:
        query = self.query
        everywhere = query.collections is None and query.condition is None
        if query.mode == "vector" and everywhere and not query.exact and self.vector.any():
            hits = await stored.nearest(
                self.connection, self.generation, self.vector, query.limit, self._ef_search
            )
            if len(hits) == query.limit:
                return self._similar([Found(hit, hit.similarity) for hit in hits]), True
        scope = Scope(await _collections(self.connection, query), query.condition)
        wanted = query.limit if query.mode == "vector" else max(query.limit, self.settings.search.candidates)
        ranking, whole = await self._ranking(scope, wanted)
        # With a least similarity, any of the candidates may turn out to be among the first few that pass it.
        shown = ranking if self._least is not None else ranking[: query.limit]
        hits_by_id = await stored.read_hits(
            self.connection, self.generation, self.vector, [c.chunk_id for c in shown]
        )
        similar = self._similar(
            [Found(hits_by_id[c.chunk_id], c.score) for c in shown if c.chunk_id in hits_by_id]
        )
        found = similar[: query.limit]
        return found, len(found) == query.limit or whole

    async def _ranking(self, scope: Scope, wanted: int) -> tuple[list[Candidate], bool]:
        """Candidates, the best first, and whether nothing else matches at all."""
        if self.query.mode == "vector":
            return await self._by_vector(scope, wanted), True  # what follows is even less similar
        if self.query.mode == "lexical":
            found = by_words(await self._by_words(scope, wanted, near=()))
            return found, len(found) < wanted
        candidates = await self._by_both(scope, wanted)
        fused = fuse(candidates, self.query.fusion or self.settings.search.fusion)
        nearest, with_words = sum(c.near for c in candidates), sum(c.words > 0 for c in candidates)
        return fused, nearest < wanted and with_words < wanted

    async def _by_both(self, scope: Scope, wanted: int) -> list[Scored]:
        """In one round trip where every chunk may be found and the index gives enough."""
        if scope == EVERYTHING and not self.query.exact and self.vector.any():
            found = await self._by_words(scope, wanted, near=None)
            if sum(c.near for c in found) >= wanted:
                return found
        near = await self._by_vector(scope, wanted)
        return await self._by_words(scope, wanted, near=[c.chunk_id for c in near])

    async def _by_words(self, scope: Scope, wanted: int, *, near: Sequence[int] | None) -> list[Scored]:
        return await rank_words(
            self.connection,
            self.generation,
            question(self.query.text),
            self.vector,
            wanted,
            scope,
            near=near,
            ef_search=self._ef_search,
        )

    async def _by_vector(self, scope: Scope, wanted: int) -> list[Candidate]:
        if not self.vector.any():  # a question without any known token is near to nothing
            return []
        if self.query.exact:
            return await stored.rank_exact(self.connection, self.generation, self.vector, wanted, scope)
        return await nearest_within(
            self.connection, self.generation, self.vector, self.query.limit, wanted, self._ef_search, scope
        )

    def _similar(self, found: list[Found]) -> list[Found]:
        least = self._least
        return found if least is None else [f for f in found if f.hit.similarity >= least]

    @property
    def _least(self) -> float | None:
        """The settings' 0 means no bound: a word's chunk may well have a similarity below 0."""
        if self.query.min_similarity is not None:
            return self.query.min_similarity
        return self.settings.search.min_similarity or None

    @property
    def _ef_search(self) -> int:
        return self.query.ef_search or self.generation.ef_search or self.settings.index.ef_search


async def _collections(connection: AsyncConnection, query: Query) -> tuple[int, ...] | None:
    if query.collections is None:
        return None
    known = await stored.collection_ids(connection, query.collections)
    missing = [name for name in query.collections if name not in known]
    if missing:
        raise UnknownCollectionError(
            f"there is no collection {', '.join(map(repr, missing))}: GET /collections lists those that there are"
        )
    return tuple(known.values())
