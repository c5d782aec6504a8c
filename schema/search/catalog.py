"""The read side beside search: documents with their chunks, collections, what is ready."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from psycopg import sql

from pgfolio.schema.database.rows import read_record, read_records
from pgfolio.schema.database.statements import array, statement
from pgfolio.schema.search.conditions import OF_DOCUMENT, matches

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from pgfolio.schema.database.connect import AsyncConnection
    from pgfolio.schema.search.access import Permitted
    from pgfolio.schema.search.conditions import Condition


MAX_PAGE_METADATA_BYTES: Final = 8 * 1024 * 1024
"""Of the documents of one page, but for the last one's."""


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """A document as lists show it; `state` is "failed" when its newest version could not be read. `metadata` is None
    where it is too long to be shown beside others."""

    id: int
    source: str
    path: str
    title: str | None
    collection: str
    mime: str
    content_hash: str
    chunk_count: int
    state: str
    metadata: dict[str, Any] | None
    owner: str | None
    language: str
    created_at: datetime | None
    updated_at: datetime
    synced_at: datetime


@dataclass(frozen=True, slots=True)
class StoredText(StoredDocument):
    """The same with its text, what of its file is not in it, and why its newest version could not be read."""

    reason: str
    incomplete: str
    text: str


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
    file_start: int | None
    file_end: int | None


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
) -> tuple[list[StoredDocument], bool]:
    """Documents with ids above `after`, in the order of their ids, and whether there are more: at most `limit`, and
    as many as their metadata leave room for."""
    values = {"after": after, "limit": limit + 1, "collection": collection, "source": source, "path": path,
              "permitted": array(permitted), "max_metadata_bytes": MAX_PAGE_METADATA_BYTES}  # fmt: skip
    matching, parameters = matches(condition, OF_DOCUMENT)
    text = sql.SQL(statement("list_documents").as_string()).format(matches=matching)
    cursor = await connection.execute(text, {**values, **parameters})
    rows = await cursor.fetchall()
    fitting = [StoredDocument(*row[:-1]) for row in rows[:limit] if not row[-1]]
    return fitting, len(fitting) < len(rows)


async def get_document(
    connection: AsyncConnection, document_id: int, permitted: Permitted
) -> tuple[StoredText, list[StoredChunk]] | None:
    """A document with its text and its chunks; or None."""
    values = {"id": document_id, "document_id": document_id, "permitted": array(permitted)}
    document = await read_record(connection, StoredText, statement("get_document"), values)
    if document is None:
        return None
    return document, await read_records(connection, StoredChunk, statement("get_chunks"), values)


async def find_document(
    connection: AsyncConnection,
    reference: str,
    permitted: Permitted,
    *,
    meant: Sequence[int] = (),
    collections: Sequence[str] | None = None,
) -> StoredDocument | None:
    """A document by its path, its source and path, or its id. Several may have the path: one of those that are
    `meant`, by their ids, comes before one of the collections, and that before others."""
    values = {
        "reference": reference.replace("\x00", ""),
        "permitted": array(permitted),
        "meant": list(meant),
        "collections": None if collections is None else list(collections),
    }
    return await read_record(connection, StoredDocument, statement("find_document"), values)


async def unknown_paths(connection: AsyncConnection, paths: Sequence[str], permitted: Permitted) -> list[str]:
    """Those of these paths that no document has which may be seen."""
    values = {"paths": list(paths), "permitted": array(permitted)}
    cursor = await connection.execute(statement("unknown_paths"), values)
    return [row[0] for row in await cursor.fetchall()]


async def list_collections(connection: AsyncConnection, permitted: Permitted) -> list[StoredCollection]:
    """Every collection that may be seen, by name."""
    values = {"permitted": array(permitted)}
    return await read_records(connection, StoredCollection, statement("list_collections"), values)


@dataclass(frozen=True, slots=True)
class DatedDocument:
    """`created_at`: its own date, where it has one; `updated_at`: when its file was changed."""

    id: int
    title: str | None
    path: str
    created_at: datetime | None
    updated_at: datetime


async def count_documents(
    connection: AsyncConnection,
    permitted: Permitted,
    *,
    collections: Sequence[str] | None = None,
    condition: Condition | None = None,
) -> dict[str, int]:
    """Of each collection, by name, those that may be seen and match."""
    cursor = await connection.execute(*_selected("count_documents", permitted, collections, condition))
    return {row[0]: int(row[1]) for row in await cursor.fetchall()}


async def dated_documents(
    connection: AsyncConnection,
    limit: int,
    permitted: Permitted,
    *,
    oldest: bool = False,
    collections: Sequence[str] | None = None,
    condition: Condition | None = None,
) -> list[DatedDocument]:
    """The latest by their own date, or their file's, or the oldest."""
    text, values = _selected("dated_documents", permitted, collections, condition)
    cursor = await connection.execute(text, {**values, "limit": limit, "oldest": oldest})
    return [DatedDocument(*row) for row in await cursor.fetchall()]


def _selected(
    name: str, permitted: Permitted, collections: Sequence[str] | None, condition: Condition | None
) -> tuple[sql.Composed, dict[str, Any]]:
    matching, parameters = matches(condition, OF_DOCUMENT)
    text = sql.SQL(statement(name).as_string()).format(matches=matching)
    names = None if collections is None else list(collections)
    return text, {"permitted": array(permitted), "collections": names, **parameters}


@dataclass(frozen=True, slots=True)
class SampledDocument:
    """`titled`: how many documents have its title; heading and content of one of its chunks."""

    path: str
    title: str | None
    titled: int
    heading: str
    content: str


async def sample_documents(
    connection: AsyncConnection, seed: int, limit: int, permitted: Permitted
) -> list[SampledDocument]:
    """Some documents, the same ones for a seed."""
    values = {"seed": seed, "limit": limit, "permitted": array(permitted)}
    cursor = await connection.execute(statement("sample_documents"), values)
    return [SampledDocument(*row) for row in await cursor.fetchall()]
