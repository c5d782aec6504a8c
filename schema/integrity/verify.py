"""Verifying what is stored: what ledger, documents, chunks, vectors and indexes say of each other. Changes nothing.

What only Python can tell, whether a chunk has its text's hash, is in flows/integrity/verify.py; what repairs it is
in repair.py.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from pgfolio.schema.database import locks
from pgfolio.schema.database.connect import connect
from pgfolio.schema.database.rows import fetch_records
from pgfolio.schema.database.statements import fetch_one, statement, template
from pgfolio.schema.integrity.findings import Finding
from pgfolio.schema.vectors import generations, segments
from pgfolio.schema.vectors.recall import with_literals
from pgfolio.schema.vectors.storage import EF_SEARCH_MAXIMUM, scan, storage_of, vector_statement

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgfolio.schema.database.connect import Connection
    from pgfolio.schema.records import Generation

LEXEMES_INDEX = "chunks_lexemes"
SAMPLE_SIZES = (100, 1000)
"""So many vectors are looked for through the index; the second time if not all of the first were found."""
MAX_LOST_SHARE = 0.03
"""Part of the second sample. A sound graph may have lost some: of 79,000 vectors, each 12 times there, 1.5% were not
found in a fresh index, of 13,600 others 1 in 4,000 after many inserts. An index that lacks 5% is found out."""
NEIGHBOURS = 10
MAX_COPY_DISTANCE = 1e-5
"""A cosine distance up to this is another copy of the same vector; rounding gives a vector up to 1e-7 to itself."""
MAX_BATCH_BYTES = 4 * 1024 * 1024
"""Bytes of document text held at once; a longer document stands alone."""


@dataclass(frozen=True, slots=True)
class CorpusSize:
    sources: int
    ledger: int
    documents: int
    chunks: int


class TextRow(NamedTuple):
    """A document with the text that its chunks are cut from."""

    id: int
    source_id: int
    source: str
    path: str
    title: str | None
    text: str


class ChunkRow(NamedTuple):
    """A chunk as stored; `title` is its copy of its document's, where it has one."""

    document_id: int
    id: int
    title: str | None
    heading: str
    content: str
    start: int
    end: int
    hash: bytes


class NotComparedError(Exception):
    """A part of the database could not be verified, in a sentence for the user."""


@contextmanager
def snapshot(conninfo: str) -> Iterator[Connection]:
    """A connection that sees the database as it was at one moment, and cannot write."""
    with connect(conninfo) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        yield connection
        connection.rollback()


def size(connection: Connection) -> CorpusSize:
    return fetch_records(connection, CorpusSize, statement("verify_size"))[0]


def syncing(connection: Connection) -> list[str]:
    """Names of the sources that a sync owns just now."""
    return [row[0] for row in connection.execute(statement("verify_syncing"), {"lock_class": locks.SOURCES})]


def count_vectors(connection: Connection, generation: Generation) -> int:
    return int(fetch_one(connection, vector_statement("count_vectors", generation))[0])


def rows(connection: Connection) -> Iterator[Finding]:
    """What ledger, documents and chunks say of each other."""
    for name in ("verify_ledger", "verify_counts", "verify_chunk_rows", "verify_kept_vectors"):
        yield from _stream(connection, statement(name))


def vector_rows(connection: Connection, generation: Generation) -> Iterator[Finding]:
    """What one generation's vectors and the chunks say of each other. One that is still being built may lack
    vectors."""
    values = {"dimensions": generation.space.dimensions, "generation_id": generation.id}
    yield from _stream(connection, vector_statement("verify_vectors", generation), values)
    if generation.state == "active":
        yield from _stream(
            connection,
            vector_statement("verify_missing_vectors", generation),
            {"generation_id": generation.id},
        )


def tables(connection: Connection, *states: str) -> tuple[list[Generation], list[Finding]]:
    """The generations in these states (by default those in use) that have their table, the newest first, and what
    is wrong with the tables."""
    known = generations.list_generations(connection, "active", "building", "ready", "retired")
    there = {row[0] for row in connection.execute(statement("verify_tables"))}
    selected = [g for g in known if g.state in (states or ("active", "building"))]
    leftover = sorted(there - {g.table for g in known})
    findings = [Finding("table_leftover", path=name) for name in leftover]
    findings += [
        Finding("table_missing", path=g.table, generation_id=g.id) for g in selected if g.table not in there
    ]
    if not any(g.state == "active" for g in known) and size(connection).chunks:
        findings.append(Finding("generation_missing"))
    return [g for g in selected if g.table in there], findings


def index_finding(connection: Connection, generation: Generation) -> Finding | None:
    """What the catalog says against a segment's HNSW index; None where it is well, or there is nothing to index."""
    row = connection.execute(statement("verify_index"), {"name": generation.index}).fetchone()
    made: dict[str, Any] = {"path": generation.index, "generation_id": generation.id}
    if row is None:
        needed = segments.has_any(connection, generation) and not _index_on_its_way(connection, generation)
        return Finding("index_missing", **made) if needed else None
    table, valid, method, column, operators = row
    if not valid:
        return Finding("index_invalid", **made)
    kind, dimensions = storage_of(generation.space), generation.space.dimensions
    needed_index = (
        generation.segment_table,
        "hnsw",
        kind.column.format(dimensions=dimensions),
        kind.operators,
    )
    if (table, method, column, operators) != needed_index:
        return Finding(
            "index_wrong",
            **made,
            expected=_index_description(*needed_index),
            found=_index_description(table, method, column, operators),
        )
    return None


def lexemes_finding(connection: Connection) -> Finding | None:
    """What the catalog says against the index over the chunks' words."""
    row = connection.execute(statement("verify_index"), {"name": LEXEMES_INDEX}).fetchone()
    if row is None:
        problem = "not there: searches by words read every chunk"
    elif not row[1]:
        problem = "marked invalid: searches by words read every chunk"
    elif row[0] != "chunks" or row[2:4] != ("gin", "lexemes"):
        problem = f"{_index_description(row[0], *row[2:])}, where a GIN index on lexemes is needed"
    else:
        return None
    return Finding("lexemes_index", path=LEXEMES_INDEX, found=problem)


def look_up_sample(connection: Connection, generation: Generation) -> tuple[int, int]:
    """Look for vectors, taken by chance, through the index, as search does: how many, and how many of them find
    neither themselves nor their like. The rest of the transaction keeps the settings that force the index, so this
    comes last. There is no amcheck for HNSW."""
    sampled = lost = 0
    for count in SAMPLE_SIZES:
        if count == SAMPLE_SIZES[0] or lost:
            sampled, lost = _look_up(connection, generation, count)
    return sampled, lost


def _look_up(connection: Connection, generation: Generation, count: int) -> tuple[int, int]:
    sample = connection.execute(
        vector_statement("sample_vectors", generation), {"count": count}, binary=True
    ).fetchall()
    connection.execute(statement("force_index"), {"ef_search": str(EF_SEARCH_MAXIMUM)})
    scan_limit = scan(generation.space, NEIGHBOURS, EF_SEARCH_MAXIMUM)
    look_up = with_literals(connection, "rank_vectors", generation, limit=NEIGHBOURS, scan=scan_limit)
    lost = 0
    for chunk_id, embedding in sample:
        neighbours = connection.execute(
            look_up, {"vector": embedding, "permitted": None}, binary=True
        ).fetchall()
        lost += not any(row[0] == chunk_id or 1 - row[1] <= MAX_COPY_DISTANCE for row in neighbours)
    return len(sample), lost


def export_snapshot(connection: Connection) -> str:
    """Of this connection's transaction, for `SharedSnapshot`, as long as it is open."""
    return str(fetch_one(connection, "export_snapshot")[0])


class SharedSnapshot:
    """What another connection's transaction sees, for one thread. Opens its connection when it is first asked."""

    def __init__(self, conninfo: str, name: str) -> None:
        self._conninfo = conninfo
        self._name = name
        self._opened = ExitStack()
        self._connection: Connection | None = None

    def connection(self) -> Connection:
        if self._connection is None:
            self._connection = self._opened.enter_context(snapshot(self._conninfo))
            self._connection.execute(template("use_snapshot").format(snapshot=sql.Literal(self._name)))
        return self._connection

    def close(self) -> None:
        self._opened.close()


class DocumentRange(NamedTuple):
    """First and last id, and how many characters they have together."""

    first: int
    last: int
    length: int


def texts_of(connection: Connection, documents: DocumentRange) -> tuple[list[TextRow], list[ChunkRow]]:
    """These documents with their chunks, by id."""
    values = {"first": documents.first, "last": documents.last}
    return (
        fetch_records(connection, TextRow, statement("verify_texts"), values, binary=True),
        fetch_records(connection, ChunkRow, statement("verify_chunks"), values, binary=True),
    )


def document_ranges(connection: Connection, max_bytes: int = MAX_BATCH_BYTES) -> Iterator[DocumentRange]:
    """All documents, by id; `max_bytes` of text in each range, or one document."""
    after = first = last = total = 0
    while page := connection.execute(
        statement("verify_document_sizes"), {"after": after, "limit": 1000}
    ).fetchall():
        for document_id, length in page:
            if total and total + length > max_bytes:
                yield DocumentRange(first, last, total)
                total = 0
            first = document_id if not total else first
            last, total = document_id, total + max(length, 1)
        after = page[-1][0]
    if total:
        yield DocumentRange(first, last, total)


def _index_on_its_way(connection: Connection, generation: Generation) -> bool:
    """Whether the index is being built, or was since the snapshot: a sync builds it when it owns no source any
    more."""
    values = {"name": generation.index, "table": generation.segment_table}
    return bool(fetch_one(connection, "index_on_its_way", values)[0])


def _stream(
    connection: Connection, query: sql.Composed, values: dict[str, Any] | None = None
) -> Iterator[Finding]:
    yield from connection.cursor(row_factory=class_row(Finding)).stream(query, values)


def _index_description(table: str, method: str, column: str | None, operators: str) -> str:
    return f"{method} on {table} ({column} {operators})"
