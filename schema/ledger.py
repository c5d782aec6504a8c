"""The ledger: what the last sync knew of each file. Only changes are written, a document's row last of all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from schema.records import LedgerEntry, Signature
from schema.sql import fetch_one, statement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from schema.connect import Connection
    from schema.records import Document, Source

FIRST_RETRY_MINUTES = 5
"""A file that failed is tried again after this, then after twice as long each time, up to three days."""


def load(connection: Connection, source: Source) -> dict[str, LedgerEntry]:
    """Every row of a source by path, in no order."""
    rows = connection.execute(statement("load_ledger"), {"source_id": source.id}, binary=True).fetchall()
    return {row[0]: LedgerEntry(row[0], Signature._make(row[1:6]), *row[6:]) for row in rows}


def record(
    connection: Connection,
    source: Source,
    documents: Sequence[tuple[int, Document, int]],
    recipe: str,
) -> None:
    """Documents that are safely stored, as (id, document, chunk count)."""
    signatures = _signatures([document.signature for _, document, _ in documents])
    connection.execute(
        statement("upsert_ledger"),
        {
            "source_id": source.id,
            "paths": [document.path for _, document, _ in documents],
            "document_ids": [document_id for document_id, _, _ in documents],
            "hashes": [document.content_hash for _, document, _ in documents],
            "recipes": [recipe] * len(documents),
            "chunk_counts": [count for _, _, count in documents],
            **signatures,
        },
    )


def touch(connection: Connection, source: Source, files: Sequence[tuple[str, Signature]]) -> None:
    """Files whose stat changed and whose content did not."""
    parameters = {"source_id": source.id, "paths": [path for path, _ in files]}
    connection.execute(statement("touch_ledger"), {**parameters, **_signatures([s for _, s in files])})


def fail(
    connection: Connection,
    source: Source,
    path: str,
    signature: Signature,
    content_hash: bytes | None,
    recipe: str,
    stage: str,
    reason: str,
) -> None:
    """A file that could not be done. Its last good version stays stored and searchable."""
    connection.execute(
        statement("fail_ledger"),
        {
            "source_id": source.id,
            "path": path,
            **signature._asdict(),
            "content_hash": content_hash,
            "recipe": recipe,
            "stage": stage,
            "reason": reason,
            "retry_minutes": FIRST_RETRY_MINUTES,
        },
    )


def move(connection: Connection, source: Source, moves: Sequence[tuple[str, str, Signature]]) -> None:
    """Files that stand elsewhere now, as (old path, new path, signature): document and ledger together."""
    old, new = [m[0] for m in moves], [m[1] for m in moves]
    paths = {"source_id": source.id, "paths": old, "new_paths": new}
    connection.execute(statement("move_documents"), paths)
    connection.execute(statement("move_ledger"), {**paths, **_signatures([m[2] for m in moves])})


def remove(connection: Connection, source: Source, paths: Sequence[str]) -> None:
    """Files that are gone: document, chunks, vectors and ledger together."""
    parameters = {"source_id": source.id, "paths": list(paths)}
    connection.execute(statement("delete_documents"), parameters)
    connection.execute(statement("forget_ledger"), parameters)


def totals(connection: Connection, source: Source) -> tuple[int, int]:
    """Documents and chunks of a source."""
    row = fetch_one(connection, "count_chunks", {"source_id": source.id})
    return int(row[0]), int(row[1])


def _signatures(signatures: Sequence[Signature]) -> dict[str, list[int]]:
    return {
        "devices": [s.device for s in signatures],
        "inodes": [s.inode for s in signatures],
        "sizes": [s.size for s in signatures],
        "mtimes": [s.mtime_ns for s in signatures],
        "ctimes": [s.ctime_ns for s in signatures],
    }
