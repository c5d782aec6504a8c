"""Mending what verify.py finds, in the caller's transaction. No vector is thrown away whose text is known."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pgfolio.schema.database.connect import connect
from pgfolio.schema.database.statements import fetch_one, statement
from pgfolio.schema.integrity.verify import ChunkRow
from pgfolio.schema.records import Generation, Space
from pgfolio.schema.vectors import generations

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pgfolio.schema.database.connect import Connection
    from pgfolio.schema.integrity.verify import Finding


def mend_ledger(connection: Connection, document_ids: Sequence[int]) -> None:
    """Give these documents ledger rows that say what is stored, and that the next sync makes them anew."""
    connection.execute(statement("mend_ledger"), {"ids": list(document_ids)})


def mend_ledger_path(connection: Connection, finding: Finding) -> None:
    values = {
        "source_id": finding.source_id,
        "path": finding.path,
        "document_id": finding.document_id,
    }
    connection.execute(statement("mend_ledger_path"), values)


def forget_missing(connection: Connection, findings: Sequence[Finding]) -> None:
    """Delete ledger rows whose document is not there: to the next sync their files are new."""
    values = {"source_ids": [f.source_id for f in findings], "paths": [f.path for f in findings]}
    connection.execute(statement("forget_missing"), values)


def mend_chunk_contents(connection: Connection, contents: Mapping[int, str]) -> None:
    """Chunk texts by chunk id; PostgreSQL makes their lexemes anew."""
    values = {"ids": list(contents), "contents": list(contents.values())}
    connection.execute(statement("mend_chunk_contents"), values)


def mend_collections(
    connection: Connection, generations: Iterable[Generation], chunk_ids: Sequence[int]
) -> None:
    """Put chunks and their vectors of these generations into their document's collection."""
    connection.execute(statement("mend_chunk_collections"), {"ids": list(chunk_ids)})
    for generation in generations:
        connection.execute(statement("mend_vector_collections", generation), {"ids": list(chunk_ids)})


def delete_vectors(connection: Connection, generation: Generation, chunk_ids: Sequence[int]) -> None:
    connection.execute(statement("delete_vectors", generation), {"ids": list(chunk_ids)})


def delete_chunks(
    connection: Connection, generation: Generation | None, chunk_ids: Sequence[int], keep: Sequence[int] = ()
) -> None:
    """Delete chunks with their vectors; the vectors of those to `keep` can be used again by their hash."""
    if keep and generation is not None:
        generations.keep_of_chunks(connection, generation, keep)
    connection.execute(statement("delete_chunks"), {"ids": list(chunk_ids)})


def chunks_without_document(connection: Connection, chunk_ids: Sequence[int]) -> list[ChunkRow]:
    rows = connection.execute(
        statement("read_chunks_without_document"), {"ids": list(chunk_ids)}, binary=True
    )
    return [ChunkRow(*row) for row in rows]


PAGE = 2000
"""Chunks of which those without a vector are looked for at once."""


class Text(NamedTuple):
    """A text to embed, by one of the chunks that have it."""

    chunk_id: int
    collection_id: int
    content: str
    heading: str
    title: str | None
    hash: bytes
    tokens: int


def texts_without_vector(connection: Connection, generation: Generation, batch: int) -> Iterator[list[Text]]:
    """Texts that no chunk has a vector for, each once, at most `batch` at a time; stored ones were given out before.

    Page by page of all texts: asked for the next ones that lack a vector, PostgreSQL reads all vectors each time.
    """
    after = b""
    while page := connection.execute(
        statement("page_of_texts"), {"after": after, "limit": PAGE}, binary=True
    ).fetchall():
        ids = {row[1]: row[0] for row in page}
        rows = connection.execute(
            statement("texts_without_vector", generation), {"ids": list(ids.values())}, binary=True
        ).fetchall()
        for start in range(0, len(rows), batch):
            yield [Text(*row) for row in rows[start : start + batch]]
        after = page[-1][1]


def count_texts_without_vector(connection: Connection, generation: Generation) -> int:
    return int(fetch_one(connection, "count_texts_without_vector", generation=generation)[0])


def forget_kept_vectors(connection: Connection) -> None:
    connection.execute(statement("forget_kept_vectors"))


def make_table(connection: Connection, generation: Generation) -> None:
    """A generation's table, empty, where it is gone."""
    generations.create_table(connection, generation)


def mend_dimensions(connection: Connection, generation: Generation) -> None:
    """Hold the column to its space's dimensions again."""
    connection.execute(statement("mend_dimensions", generation))


def drop_table(connection: Connection, name: str) -> bool:
    """Drop a table of vectors that belongs to no generation. False: it was in use all the time."""
    leftover = Generation(int(name.removeprefix("vectors_")), Space("", "", 1), "retired")
    return generations.drop_generation(connection, leftover)


def drop_index(conninfo: str, generation: Generation) -> None:
    """Drop the HNSW index while searches go on; they scan the table until it is built anew."""
    with connect(conninfo, autocommit=True) as connection:
        connection.execute(statement("drop_index_aside", generation))


def rebuild_lexemes(connection: Connection) -> None:
    """Build the index over the chunks' words anew; nobody writes chunks meanwhile."""
    connection.execute(statement("drop_lexemes_index"))
    connection.execute(statement("create_lexemes_index"))
