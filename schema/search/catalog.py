"""The read side beside search: documents with their chunks, collections, what is ready."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psycopg import sql

from pgfolio.schema.database.statements import array, statement
from pgfolio.schema.search.conditions import OF_DOCUMENT, matches

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from pgfolio.schema.search.conditions import Condition
    from pgfolio.schema.search.pool import AsyncConnection
    from pgfolio.schema.search.vector import Permitted


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """A document as lists show it; `state` is "failed" when its newest version could not be read."""

    id: int
    source: str
    path: str
    title: str | None
    collection: str
    mime: str
    content_hash: str
    chunk_count: int
    state: str
    metadata: dict[str, Any]
    owner: str | None
    language: str
    created_at: datetime | None
    updated_at: datetime
    synced_at: datetime


@dataclass(frozen=True, slots=True)
class StoredChunk:
    id: int
    ordinal: int
    content: str
    heading: str
    page: int | None
    start: int
    end: int
    tokens: int


@dataclass(frozen=True, slots=True)
class StoredCollection:
    id: int
    name: str
    documents: int
    chunks: int
    synced_at: datetime | None


async def list_documents(
    connection: AsyncConnection,
    limit: int,
    permitted: Permitted,
    *,
    after: int = 0,
    collection: str | None = None,
    source: str | None = None,
    path: str | None = None,
    condition: Condition | None = None,
) -> list[StoredDocument]:
    """Documents with ids above `after`, in the order of their ids."""
    values = {"after": after, "limit": limit, "collection": collection, "source": source, "path": path,
              "permitted": array(permitted)}  # fmt: skip
    matching, parameters = matches(condition, OF_DOCUMENT)
    text = sql.SQL(statement("list_documents").as_string()).format(matches=matching)
    found = await connection.execute(text, {**values, **parameters})
    return [StoredDocument(*row) for row in await found.fetchall()]


async def get_document(
    connection: AsyncConnection, document_id: int, permitted: Permitted
) -> tuple[StoredDocument, str, str, list[StoredChunk]] | None:
    """A document with why its newest version could not be read, its stored text and its chunks; or None."""
    values = {"id": document_id, "permitted": array(permitted)}
    row = await (await connection.execute(statement("get_document"), values)).fetchone()
    if row is None:
        return None
    chunks = await connection.execute(statement("get_chunks"), {**values, "document_id": document_id})
    return StoredDocument(*row[:-2]), *row[-2:], [StoredChunk(*chunk) for chunk in await chunks.fetchall()]


async def find_document(
    connection: AsyncConnection,
    wanted: str,
    permitted: Permitted,
    *,
    meant: Sequence[int] = (),
    collections: Sequence[str] | None = None,
) -> StoredDocument | None:
    """A document by its path, its source and path, or its id. Several may have the path: one of those that are
    `meant`, by their ids, comes before one of the collections, and that before others."""
    values = {
        "wanted": wanted.replace("\x00", ""),
        "permitted": array(permitted),
        "meant": list(meant),
        "collections": None if collections is None else list(collections),
    }
    row = await (await connection.execute(statement("find_document"), values)).fetchone()
    return None if row is None else StoredDocument(*row)


async def unknown_paths(connection: AsyncConnection, paths: Sequence[str], permitted: Permitted) -> list[str]:
    """Those of these paths that no document has which may be seen."""
    values = {"paths": list(paths), "permitted": array(permitted)}
    found = await connection.execute(statement("unknown_paths"), values)
    return [row[0] for row in await found.fetchall()]


async def list_collections(connection: AsyncConnection, permitted: Permitted) -> list[StoredCollection]:
    """Every collection that may be seen, by name."""
    found = await connection.execute(statement("list_collections"), {"permitted": array(permitted)})
    return [StoredCollection(*row) for row in await found.fetchall()]
