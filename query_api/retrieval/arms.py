"""The arms of a search: the chunks nearest to a question's vector, and the best by its words, of one snapshot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pgfolio.query_api.retrieval.phrases import parse_question
from pgfolio.query_api.retrieval.vector_search import EXACT, nearest_matching
from pgfolio.schema.search import vector as stored
from pgfolio.schema.search.access import EVERYTHING
from pgfolio.schema.search.lexical import rank_words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgfolio.query_api.retrieval.parameters import SearchParameters
    from pgfolio.schema.database.connect import AsyncConnection
    from pgfolio.schema.search.access import Scope
    from pgfolio.schema.search.question import Scored
    from pgfolio.schema.search.vector import Candidate

NOT_AT_ALL: Final = "not at all: the model knows no part of the question"


@dataclass(frozen=True, slots=True)
class Arms:
    """Of one question. What they did goes into its trace."""

    search: SearchParameters
    connection: AsyncConnection

    async def both(self, scope: Scope, k: int) -> list[Scored]:
        """In one round trip where every chunk may be found and the index gives enough."""
        if scope == EVERYTHING and not self.search.query.exact and self.search.vector.any():
            self.search.trace.searched = "through the index"
            candidates = await self.words(scope, k, in_vector_arm=None)
            if sum(c.in_vector_arm for c in candidates) >= k:
                return candidates
        nearest = await self.vectors(scope, k)
        return await self.words(scope, k, in_vector_arm=[c.chunk_id for c in nearest])

    async def words(self, scope: Scope, k: int, *, in_vector_arm: Sequence[int] | None) -> list[Scored]:
        search = self.search
        return await rank_words(
            self.connection,
            search.generation,
            parse_question(search.query.text),
            search.vector,
            k,
            scope,
            in_vector_arm=in_vector_arm,
            ef_search=search.ef_search,
            unknown=search.trace.unknown_words,
        )

    async def vectors(self, scope: Scope, k: int) -> list[Candidate]:
        search = self.search
        if not search.vector.any():  # a question without any known token is near to nothing
            search.trace.searched = NOT_AT_ALL
            return []
        target = self.connection, search.generation, search.vector
        if search.query.exact:
            search.trace.searched = EXACT
            return await stored.rank_exact(*target, k, scope)
        nearest, search.trace.searched = await nearest_matching(
            *target, search.query.limit, k, search.ef_search, scope
        )
        return nearest
