"""The read side of search, after ranking: what an answer shows of chunks, and whether what it quotes stands there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from pgfolio.schema.database.statements import array, statement
from pgfolio.schema.markdown import Span
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
    """A slice of a document's text, by its offsets in it, and in the file where that is text; above it the header
    of a table, where it begins among its rows."""

    start: int
    end: int
    text: str
    file_start: int | None = None
    file_end: int | None = None


class CheckedQuote(NamedTuple):
    """Whether it stands in the stored text, where it stands in the file where that is text, and on which page, which
    may be one after that on which its chunk begins."""

    verified: bool
    file_start: int | None
    file_end: int | None
    page: int | None


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


async def check_quotes(
    connection: AsyncConnection, quotes: Sequence[tuple[int, int, int, str]], permitted: Permitted
) -> list[CheckedQuote]:
    """Of each quote, given as (document id, start, end, text)."""
    columns = [list(column) for column in zip(*quotes, strict=True)] or [[], [], [], []]
    values: dict[str, Any] = dict(zip(("document_ids", "starts", "ends", "quotes"), columns, strict=True))
    cursor = await connection.execute(statement("check_quotes"), {**values, "permitted": array(permitted)})
    return [CheckedQuote(*row) for row in await cursor.fetchall()]


async def read_code_blocks(
    connection: AsyncConnection, hits: Sequence[Hit], permitted: Permitted
) -> list[list[Span] | None]:
    """What of each hit's content is in the document's code blocks; None where they were not stored, as before
    migration 0018."""
    values = {
        "document_ids": [hit.document_id for hit in hits],
        "starts": [hit.start for hit in hits],
        "ends": [hit.end for hit in hits],
        "permitted": array(permitted),
    }
    cursor = await connection.execute(statement("get_code_blocks"), values)
    rows = await cursor.fetchall()
    return [
        None if row[0] is None else [_span_in_content(hit, part.lower, part.upper) for part in row[0]]
        for hit, row in zip(hits, rows, strict=True)
    ]


def _span_in_content(hit: Hit, start: int, end: int) -> Span:
    """Offsets in the document as such in the hit's content."""
    return Span(start - hit.start + hit.header_length, end - hit.start + hit.header_length)
