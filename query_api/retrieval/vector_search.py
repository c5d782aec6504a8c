"""The nearest chunks, also where collections and filters leave only some: through the index while that is reliable,
else by comparing every vector that matches.

What decides is not how many chunks match but how many of those near the question do. A filter that half of all
chunks pass, but none near the question, is the worst case of an index: over 100,000 clustered vectors a scan that
went on until it had ten gave 12% of the right ones in 165 ms, and comparing all gave all of them in 27 ms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pgfolio.schema.search import vector as stored
from pgfolio.schema.search.vector import EVERYTHING

if TYPE_CHECKING:
    import numpy as np

    from pgfolio.schema.records import Generation
    from pgfolio.schema.search.pool import AsyncConnection
    from pgfolio.schema.search.vector import Candidate, Scope

EXACT: Final = "every vector that matches was compared"
RELIABLE: Final = 4
"""How many times ef_search a scan of the index may have to look at chunks. Recall@10 over 100,000 clustered vectors
with ef_search 64, by the part that matches: 10% (100 chunks) 0.995, 3% (300) 0.925, 1% (1,000) 0.84."""


async def nearest_within(
    connection: AsyncConnection,
    generation: Generation,
    vector: np.ndarray,
    limit: int,
    wanted: int,
    ef_search: int,
    scope: Scope,
) -> tuple[list[Candidate], str]:
    """The `wanted` chunks nearest to a vector, of which the first `limit` matter, and how they were found. Never
    short while more match."""
    how = "through the index"
    if scope == EVERYTHING:
        found = await stored.rank(connection, generation, vector, wanted, ef_search, scope.permitted)
    else:
        looked_at = stored.looks(wanted, ef_search)
        found = await stored.rank_near(connection, generation, vector, looked_at, scope)
        how = f"through the index, {len(found)} of the nearest {looked_at} match"
        if len(found) < wanted and reliable(len(found), looked_at, limit, ef_search):
            found = await stored.rank_within(connection, generation, vector, wanted, ef_search, scope)
            how = f"through the index, scanned on until enough matched ({how.rpartition(', ')[2]})"
    if len(found) < wanted:
        exact = await stored.rank_exact(connection, generation, vector, wanted, scope)
        return exact, f"{EXACT}: {how} only"
    return found[:wanted], how


def reliable(matching: int, looked_at: int, limit: int, ef_search: int) -> bool:
    """Whether a scan of the index finds the first `limit`, judged by how many of the nearest matched. Pure."""
    return matching * RELIABLE * max(ef_search, limit) >= limit * looked_at
