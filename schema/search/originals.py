"""The read side of originals: where a document's file is, and the passage that is looked for on a page of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pgfolio.schema.database.rows import read_record
from pgfolio.schema.database.statements import array, statement

if TYPE_CHECKING:
    from pgfolio.schema.database.connect import AsyncConnection
    from pgfolio.schema.search.access import Permitted

MAX_PASSAGE_CHARACTERS: Final = 20_000


@dataclass(frozen=True, slots=True)
class StoredOriginal:
    """`content`: of what was pushed; else the file is at `path` below `root`. `name`: of the pushed file."""

    path: str
    kind: str
    root: str
    name: str
    mime: str
    content_hash: bytes
    content: bytes | None


@dataclass(frozen=True, slots=True)
class StoredPage:
    """`text_before`: of the passage's page."""

    mime: str
    content_hash: bytes
    passage: str
    text_before: str


async def get_original(
    connection: AsyncConnection, document_id: int, permitted: Permitted
) -> StoredOriginal | None:
    values = {"id": document_id, "permitted": array(permitted)}
    return await read_record(connection, StoredOriginal, statement("get_original"), values)


async def get_page(
    connection: AsyncConnection, document_id: int, start: int, end: int, permitted: Permitted
) -> StoredPage | None:
    """With the passage from `start` to `end`, in characters of the document's text."""
    length = min(max(end - start, 0), MAX_PASSAGE_CHARACTERS)
    values = {"id": document_id, "start_at": start, "length": length, "permitted": array(permitted)}
    return await read_record(connection, StoredPage, statement("get_page"), values)
