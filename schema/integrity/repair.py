"""Repairs what verify.py finds, in the caller's transaction. No vector is thrown away whose text is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgfolio.schema.database.connect import connect
from pgfolio.schema.database.rows import fetch_records
from pgfolio.schema.database.statements import statement
from pgfolio.schema.integrity.verify import ChunkRow
from pgfolio.schema.records import Generation, Space
from pgfolio.schema.vectors import generations, reuse
from pgfolio.schema.vectors.storage import vector_statement

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pgfolio.schema.database.connect import Connection
    from pgfolio.schema.integrity.findings import Finding


def repair_ledger(connection: Connection, document_ids: Sequence[int]) -> None:
    """Give these documents ledger rows that say what is stored, and that the next sync makes them anew."""
    connection.execute(statement("repair_ledger"), {"ids": list(document_ids)})


def repair_ledger_path(connection: Connection, finding: Finding) -> None:
    values = {
        "source_id": finding.source_id,
        "path": finding.path,
        "document_id": finding.document_id,
    }
    connection.execute(statement("repair_ledger_path"), values)


def forget_missing(connection: Connection, findings: Sequence[Finding]) -> None:
    """Delete ledger rows whose document is not there: to the next sync their files are new."""
    values = {"source_ids": [f.source_id for f in findings], "paths": [f.path for f in findings]}
    connection.execute(statement("forget_missing"), values)


def repair_chunk_contents(connection: Connection, contents: Mapping[int, str]) -> None:
    """Chunk texts by chunk id; PostgreSQL makes their lexemes anew, the next sync their postings."""
    values = {"ids": list(contents), "contents": list(contents.values())}
    connection.execute(statement("repair_chunk_contents"), values)
    connection.execute(statement("forget_postings"))


def delete_vectors(connection: Connection, generation: Generation, chunk_ids: Sequence[int]) -> None:
    connection.execute(vector_statement("delete_vectors", generation), {"ids": list(chunk_ids)})


def delete_vectors_of_model(connection: Connection, generation: Generation) -> None:
    """All that are stored of the generation's model, whatever they are used for."""
    space = generation.space
    for other in generations.list_generations(connection, "active", "building", "ready", "retired"):
        if (other.space.provider, other.space.model) == (space.provider, space.model):
            connection.execute(vector_statement("delete_all_vectors", other))
    values = {"provider": space.provider, "model": space.model}
    connection.execute(statement("forget_vectors_of_model"), values)


def delete_chunks(
    connection: Connection, generation: Generation | None, chunk_ids: Sequence[int], keep: Sequence[int] = ()
) -> None:
    """Delete chunks with their vectors; the vectors of those to `keep` can be used again by their hash."""
    if keep and generation is not None:
        reuse.retain_of_chunks(connection, generation, keep)
    connection.execute(statement("delete_chunks"), {"ids": list(chunk_ids)})


def chunks_without_document(connection: Connection, chunk_ids: Sequence[int]) -> list[ChunkRow]:
    query, values = statement("read_chunks_without_document"), {"ids": list(chunk_ids)}
    return fetch_records(connection, ChunkRow, query, values, binary=True)


def forget_retained_vectors(connection: Connection) -> None:
    connection.execute(statement("forget_retained_vectors"))


def make_table(connection: Connection, generation: Generation) -> None:
    """A generation's table, empty, where it is gone."""
    generations.create_table(connection, generation)


def repair_dimensions(connection: Connection, generation: Generation) -> None:
    """Hold the column to its space's dimensions again."""
    connection.execute(vector_statement("repair_dimensions", generation))


def drop_table(connection: Connection, name: str) -> bool:
    """Drop a table of vectors that belongs to no generation. False: it was in use all the time."""
    leftover = Generation(int(name.removeprefix("vectors_")), Space("", "", 1), "retired")
    return generations.drop_generation(connection, leftover)


def drop_index(conninfo: str, generation: Generation) -> None:
    """Drop the HNSW index while searches go on; they scan the table until it is built anew."""
    with connect(conninfo, autocommit=True) as connection:
        connection.execute(vector_statement("drop_index_aside", generation))


def rebuild_lexemes(connection: Connection) -> None:
    """Build the index over the chunks' words anew; nobody writes chunks meanwhile."""
    connection.execute(statement("drop_lexemes_index"))
    connection.execute(statement("create_lexemes_index"))
