"""Storing documents with their chunks and vectors: one batch, in the caller's one short transaction.

New rows are copied in, in binary, under ids reserved before. Of a changed document only what differs is
written: a chunk whose text is as it was keeps its row and its vector, so that the index is left alone.
"""

from __future__ import annotations

import time
from collections import defaultdict, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.types.json import Jsonb
from psycopg.types.multirange import Int4Multirange
from psycopg.types.range import Int4Range

from pgfolio.schema.corpus import ledger
from pgfolio.schema.corpus.languages import SIMPLE, configuration
from pgfolio.schema.database.statements import statement
from pgfolio.schema.vectors import reuse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgfolio.schema.database.connect import Connection
    from pgfolio.schema.markdown import Span
    from pgfolio.schema.records import Chunk, Document, EmbeddedChunk, Generation, Source

DOCUMENT_TYPES = ("int8", "int4", "int4", "text", "text", "text", "oid", "text", "bytea", "text", "jsonb",
                  "timestamptz", "timestamptz", "int4multirange", "text", "int4", "int4multirange",
                  "int4[]")  # fmt: skip
"""Of the columns of `copy_documents`."""

CHUNK_TYPES = ("int8", "int8", "int4", "int4", "text", "text", "text", "int4", "int4", "int4", "int4", "bytea",
               "oid")  # fmt: skip
"""Of the columns of `copy_chunks`."""


class UnstorableError(Exception):
    """What a document of the batch holds cannot be written, now or later: the message says why, not which one."""


@dataclass(frozen=True, slots=True)
class Storable:
    """A document that is ready to be stored; `document_id` is that of its earlier version, `reserved` the one that a
    new document was promised."""

    document: Document
    chunks: Sequence[EmbeddedChunk]
    document_id: int | None = None
    reserved: int | None = None


@dataclass(frozen=True, slots=True)
class Written:
    """Vectors, and the seconds that they alone took: most of them are the live index's."""

    vectors: int = 0
    seconds: float = 0.0


@dataclass(slots=True)
class _Row:
    """A chunk's place in its document, and its stored row where it has one."""

    id: int
    document: Document
    document_id: int
    ordinal: int
    item: EmbeddedChunk
    stored: bool


def store(
    connection: Connection,
    source: Source,
    generation: Generation,
    batch: Sequence[Storable],
    processing_fingerprint: str,
) -> Written:
    """Write a batch: documents, chunks, vectors, and the ledger last.

    A new chunk must bring its vector; one that its document already has need not. Raises UnstorableError; the
    transaction is then to be rolled back.
    """
    languages = {name: _oid(connection, name) for name in {item.document.language for item in batch}}
    try:
        return _store(connection, source, generation, batch, processing_fingerprint, languages)
    except (ValueError, psycopg.DataError, psycopg.errors.ProgramLimitExceeded) as error:
        raise UnstorableError(str(error).partition("\n")[0]) from error


def _store(
    connection: Connection,
    source: Source,
    generation: Generation,
    batch: Sequence[Storable],
    processing_fingerprint: str,
    languages: dict[str, int],
) -> Written:
    ids = _write_documents(connection, source, batch, languages)
    rows = _place_chunks(connection, generation, batch, ids, languages)
    new = [row for row in rows if not row.stored]
    _copy_chunks(connection, source, new, languages)
    began = time.perf_counter()
    reuse.add_vectors(
        connection,
        generation,
        [(row.id, source.collection_id, _vector(row.item)) for row in new],
    )
    took = time.perf_counter() - began
    written = [(ids[i], item.document, len(item.chunks)) for i, item in enumerate(batch)]
    ledger.record(connection, source, written, processing_fingerprint)
    return Written(len(new), took)


def _write_documents(
    connection: Connection, source: Source, batch: Sequence[Storable], languages: dict[str, int]
) -> list[int]:
    """Ids of the batch's documents, in its order."""
    known_ids = [item.reserved if item.document_id is None else item.document_id for item in batch]
    new_ids = iter(_reserve(connection, "documents_id_seq", known_ids.count(None)))
    ids = [next(new_ids) if known is None else known for known in known_ids]
    changed = [(i, item.document) for i, item in zip(ids, batch, strict=True) if item.document_id is not None]
    if changed:
        connection.cursor().executemany(
            statement("update_document"),
            [
                {"id": i, **_columns(document), "language": languages[document.language]}
                for i, document in changed
            ],
        )
    with connection.cursor().copy(statement("copy_documents")) as copy:
        copy.set_types(DOCUMENT_TYPES)
        for document_id, item in zip(ids, batch, strict=True):
            if item.document_id is None:
                values = _columns(item.document)
                values["language"] = languages[item.document.language]
                copy.write_row((document_id, source.id, source.collection_id, *values.values()))
    return ids


def _columns(document: Document) -> dict[str, Any]:
    return {
        "path": document.path,
        "title": document.title,
        "mime": document.mime,
        "language": document.language,
        "owner": document.owner,
        "content_hash": document.content_hash,
        "text": document.text,
        "metadata": Jsonb(document.metadata),
        "created_at": document.created_at,
        "updated_at": document.updated_at,
        "code_blocks": _multirange(document.code_blocks),
        "incomplete": document.incomplete,
        "file_offset": document.file_offset,
        "crlf": _multirange(document.crlf),
        "pages": list(document.pages) or None,
    }


def _multirange(spans: Sequence[Span]) -> Int4Multirange:
    return Int4Multirange([Int4Range(start, end) for start, end in spans])


def _place_chunks(
    connection: Connection,
    generation: Generation,
    batch: Sequence[Storable],
    ids: Sequence[int],
    languages: dict[str, int],
) -> list[_Row]:
    """Every chunk of the batch with its row's id; stored chunks that are no longer needed are deleted, and
    those that stand elsewhere now are moved."""
    stored_rows = _stored_rows(connection, batch)
    rows, moved = [], []
    for document_id, item in zip(ids, batch, strict=True):
        oid = languages[item.document.language]
        for ordinal, embedded_chunk in enumerate(item.chunks):
            matching = stored_rows.get((document_id, embedded_chunk.chunk.hash, oid))
            old = matching.popleft() if matching else None
            rows.append(
                _Row(
                    id=old[0] if old else 0,
                    document=item.document,
                    document_id=document_id,
                    ordinal=ordinal,
                    item=embedded_chunk,
                    stored=old is not None,
                )
            )
            if old and old[4:] != _position(ordinal, embedded_chunk.chunk):
                moved.append((old[0], *_position(ordinal, embedded_chunk.chunk)))
    _delete(connection, generation, [row[0] for surplus in stored_rows.values() for row in surplus])
    _reposition(connection, moved)
    new_ids = iter(_reserve(connection, "chunks_id_seq", sum(not row.stored for row in rows)))
    for placed in rows:
        if not placed.stored:
            placed.id = next(new_ids)
    return rows


def _stored_rows(
    connection: Connection, batch: Sequence[Storable]
) -> dict[tuple[int, bytes, int], deque[tuple[Any, ...]]]:
    """Chunks of the batch's earlier versions in their order, by document, hash and language: equal ones may be used
    for each other."""
    rows: dict[tuple[int, bytes, int], deque[tuple[Any, ...]]] = defaultdict(deque)
    known = [item.document_id for item in batch if item.document_id is not None]
    if known:
        for row in connection.execute(statement("chunks_of_documents"), {"document_ids": known}):
            rows[row[1], row[2], row[3]].append(row)
    return rows


def _position(ordinal: int, chunk: Chunk) -> tuple[int, int | None, int, int]:
    return ordinal, chunk.page, chunk.start, chunk.end


def _delete(connection: Connection, generation: Generation, chunk_ids: list[int]) -> None:
    if chunk_ids:
        reuse.retain_of_chunks(connection, generation, chunk_ids)
        connection.execute(statement("delete_chunks"), {"ids": chunk_ids})


def _reposition(connection: Connection, moved: list[tuple[Any, ...]]) -> None:
    if moved:
        columns = [list(column) for column in zip(*moved, strict=True)]
        names = ("ids", "ordinals", "pages", "starts", "ends")
        connection.execute(statement("reposition_chunks"), dict(zip(names, columns, strict=True)))


def _copy_chunks(
    connection: Connection, source: Source, rows: Sequence[_Row], languages: dict[str, int]
) -> None:
    with connection.cursor().copy(statement("copy_chunks")) as copy:
        copy.set_types(CHUNK_TYPES)
        for row in rows:
            copy.write_row(_chunk_columns(source, row, languages[row.document.language]))


def _chunk_columns(source: Source, row: _Row, language: int) -> tuple[Any, ...]:
    """In the order of `copy_chunks`."""
    chunk, title = row.item.chunk, row.document.title
    return (
        row.id,
        row.document_id,
        source.collection_id,
        row.ordinal,
        chunk.content,
        None if chunk.heading.startswith(title or "\0") else title,
        chunk.heading,
        chunk.page,
        chunk.start,
        chunk.end,
        chunk.tokens,
        chunk.hash,
        language,
    )


def _vector(item: EmbeddedChunk) -> Any:
    if item.vector is None:
        raise ValueError("a new chunk has no vector")
    return item.vector


def _reserve(connection: Connection, sequence: str, count: int) -> list[int]:
    if not count:
        return []
    rows = connection.execute(statement("reserve_ids"), {"sequence": sequence, "count": count})
    return [int(row[0]) for row in rows]


def _oid(connection: Connection, language: str) -> int:
    """Of its text search configuration. An older server may lack one that PostgreSQL has by now: then words are
    compared as they are written."""
    parameters = {"language": language}
    row = connection.execute(statement("text_search_configuration"), parameters).fetchone()
    if row is None and configuration(language) is not None:
        return _oid(connection, SIMPLE)
    if row is None:
        raise ValueError(
            f"PostgreSQL has no text search configuration {language!r}: see PGFOLIO_SEARCH__LANGUAGE"
        )
    return int(row[0])
