"""The nearest chunks, also where collections and filters leave only some: through the index while that is reliable,
else by comparing every vector that matches.

What decides is not how many chunks match but how many of those near the question do. A filter that half of all
chunks pass, but none near the question, is the worst case of an index: over 100,000 clustered vectors a scan that
went on until it had ten gave 12% of the right ones in 165 ms, and comparing all gave all of them in 27 ms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pgfolio.schema.search import vector as stored
from pgfolio.schema.search.access import EVERYTHING

if TYPE_CHECKING:
    import numpy as np

    from pgfolio.schema.database.connect import AsyncConnection
    from pgfolio.schema.records import Generation
    from pgfolio.schema.search.access import Scope
    from pgfolio.schema.search.vector import Candidate

EXACT: Final = "every vector that matches was compared"
MAX_SCAN_FACTOR: Final = 4
"""How many times ef_search a scan of the index may have to look at chunks. Recall@10 over 100,000 clustered vectors
with ef_search 64, by the part that matches: 10% (100 chunks) 0.995, 3% (300) 0.925, 1% (1,000) 0.84."""


async def nearest_matching(
    connection: AsyncConnection,
    generation: Generation,
    vector: np.ndarray,
    limit: int,
    k: int,
    ef_search: int,
    scope: Scope,
) -> tuple[list[Candidate], str]:
    """The `k` chunks nearest to a vector, of which the first `limit` matter, and how they were found. Never
    short while more match."""
    how = "through the index"
    if scope == EVERYTHING:
        candidates = await stored.rank(connection, generation, vector, k, ef_search, scope.permitted)
    else:
        scan_limit = stored.effective_ef_search(k, ef_search)
        candidates = await stored.rank_postfiltered(connection, generation, vector, scan_limit, scope)
        how = f"through the index, {len(candidates)} of the nearest {scan_limit} match"
        if len(candidates) < k and is_index_reliable(len(candidates), scan_limit, limit, ef_search):
            candidates = await stored.rank_filtered(connection, generation, vector, k, ef_search, scope)
            how = f"through the index, scanned on until enough matched ({how.rpartition(', ')[2]})"
    if len(candidates) < k:
        exact = await stored.rank_exact(connection, generation, vector, k, scope)
        return exact, f"{EXACT}: {how} only"
    return candidates[:k], how


def is_index_reliable(matching: int, scan_limit: int, limit: int, ef_search: int) -> bool:
    """Whether a scan of the index finds the first `limit`, judged by how many of the nearest matched. Pure."""
    return matching * MAX_SCAN_FACTOR * max(ef_search, limit) >= limit * scan_limit
