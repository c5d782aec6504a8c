"""The read side of search, after ranking: what an answer shows of chunks, and whether what it quotes stands there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pgfolio.schema.database.statements import array, statement
from pgfolio.schema.search.vector import Hit, parameter
from pgfolio.schema.vectors.storage import vector_statement

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from pgfolio.schema.database.connect import AsyncConnection
    from pgfolio.schema.records import Generation
    from pgfolio.schema.search.access import Permitted


@dataclass(frozen=True, slots=True)
class Passage:
    """A slice of a document's text, by its offsets."""

    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True)
class Place:
    """Where a chunk stands."""

    document_id: int
    source: str
    path: str
    heading: str


async def read_hits(
    connection: AsyncConnection,
    generation: Generation,
    vector: np.ndarray,
    ids: Sequence[int],
    permitted: Permitted,
) -> dict[int, Hit]:
    """What an answer shows of these chunks, by id."""
    values = {"vector": parameter(generation, vector), "ids": list(ids), "permitted": array(permitted)}
    cursor = await connection.execute(vector_statement("get_hits", generation), values, binary=True)
    return {row[0]: Hit(*row) for row in await cursor.fetchall()}


async def read_passages(
    connection: AsyncConnection, ids: Sequence[int], around: int, permitted: Permitted
) -> dict[int, Passage]:
    """Chunks, by id, with so many chunks before and after each."""
    values = {"ids": list(ids), "around": around, "permitted": array(permitted)}
    cursor = await connection.execute(statement("get_passages"), values)
    return {row[0]: Passage(*row[1:]) for row in await cursor.fetchall()}


async def locate(connection: AsyncConnection, ids: Sequence[int], permitted: Permitted) -> dict[int, Place]:
    """Where chunks stand, by id: those that are still there, and may be seen."""
    values = {"ids": list(ids), "permitted": array(permitted)}
    cursor = await connection.execute(statement("locate_chunks"), values)
    return {row[0]: Place(*row[1:]) for row in await cursor.fetchall()}


async def stored_quotes(
    connection: AsyncConnection, quotes: Sequence[tuple[int, int, int, str]], permitted: Permitted
) -> list[bool]:
    """Whether each quote, as (document id, start, end, text), stands in the stored text at these offsets."""
    columns = [list(column) for column in zip(*quotes, strict=True)] or [[], [], [], []]
    values: dict[str, Any] = dict(zip(("document_ids", "starts", "ends", "quotes"), columns, strict=True))
    cursor = await connection.execute(statement("check_quotes"), {**values, "permitted": array(permitted)})
    return [row[0] for row in await cursor.fetchall()]


async def in_code(
    connection: AsyncConnection, places: Sequence[tuple[int, int]], permitted: Permitted
) -> list[bool]:
    """Whether each place, as (document id, offset in its text), is inside a fenced code block."""
    documents, offsets = [place[0] for place in places], [place[1] for place in places]
    values = {"document_ids": documents, "offsets": offsets, "permitted": array(permitted)}
    cursor = await connection.execute(statement("places_in_code"), values)
    return [row[0] for row in await cursor.fetchall()]
