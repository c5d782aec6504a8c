"""The ledger: what the last sync knew of each file. Only changes are written, a document's row last of all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgfolio.schema.database.statements import fetch_one, statement
from pgfolio.schema.records import LedgerEntry, Signature

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from pgfolio.schema.database.connect import Connection
    from pgfolio.schema.records import Document, Source

FIRST_RETRY_MINUTES = 5
"""A file that failed is tried again after this, then after twice as long each time, up to three days."""

SKIPPED_RETRY_MINUTES = 24 * 60
"""What may be read once a program is installed is looked at once a day."""

MAX_RETRY_DOUBLINGS = 10
"""2^10 times 5 minutes are 3.5 days."""


def load(
    connection: Connection, source: Source, folders: Collection[str] | None = None
) -> dict[str, LedgerEntry]:
    """Rows of a source by path, in no order: all, or those of some folders and those in quarantine."""
    name = "load_ledger" if folders is None else "load_ledger_of_folders"
    parameters = {"source_id": source.id, **({} if folders is None else {"folders": list(folders)})}
    rows = connection.execute(statement(name), parameters, binary=True).fetchall()
    return {row[0]: LedgerEntry(row[0], Signature._make(row[1:6]), *row[6:]) for row in rows}


def of_paths(connection: Connection, source: Source, paths: Collection[str]) -> dict[str, LedgerEntry]:
    """Rows of these files, by path."""
    values = {"source_id": source.id, "paths": list(paths)}
    rows = connection.execute(statement("ledger_of_paths"), values, binary=True)
    return {row[0]: LedgerEntry(row[0], Signature._make(row[1:6]), *row[6:]) for row in rows}


def folders(connection: Connection, source: Source) -> dict[str, bytes | None]:
    """Every folder that the ledger names, with the digest of its listing; None where the ledger was written to
    since, or where the last sync left something open."""
    rows = connection.execute(statement("load_folders"), {"source_id": source.id}, binary=True)
    return {row[0]: row[1] for row in rows}


def mark_settled(connection: Connection, source: Source, listed: Sequence[tuple[str, bytes, int]]) -> None:
    """Folders, as (name, digest, files), of which the ledger has what a crawl lists."""
    if listed:
        names, digests, files = (list(column) for column in zip(*listed, strict=True))
        parameters = {"source_id": source.id, "folders": names, "digests": digests, "files": files}
        connection.execute(statement("mark_folders_settled"), parameters)


def unsettle(connection: Connection, source: Source, folders: Collection[str]) -> None:
    """Before workers write to these folders' rows: so none waits for another over it."""
    connection.execute(statement("unsettle_folders"), {"source_id": source.id, "folders": sorted(folders)})


def forget_folders(connection: Connection, source: Source) -> None:
    """Folders of which the ledger has no file any more."""
    connection.execute(statement("forget_folders"), {"source_id": source.id})


def record(
    connection: Connection,
    source: Source,
    documents: Sequence[tuple[int, Document, int]],
    processing_fingerprint: str,
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
            "processing_fingerprints": [processing_fingerprint] * len(documents),
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
    processing_fingerprint: str,
    stage: str,
    reason: str,
    *,
    transient: bool,
    tries: int | None = None,
) -> None:
    """A file that could not be done. Its last good version stays stored and searchable. It is tried again when it
    changes; when the reason is transient also after a time that grows with each attempt, after `tries` of them no
    more."""
    connection.execute(
        statement("fail_ledger"),
        {
            "source_id": source.id,
            "path": path,
            **signature._asdict(),
            "content_hash": content_hash,
            "processing_fingerprint": processing_fingerprint,
            "stage": stage,
            "reason": reason,
            "transient": transient,
            "tries": tries,
            "retry_minutes": FIRST_RETRY_MINUTES,
            "max_doublings": MAX_RETRY_DOUBLINGS,
        },
    )


def skip(
    connection: Connection,
    source: Source,
    path: str,
    signature: Signature,
    content_hash: bytes,
    processing_fingerprint: str,
    reason: str,
    *,
    transient: bool,
) -> None:
    """A file that is none of ours, of which nothing is stored: not looked at again until it changes, or, where the
    reason is transient, until some time has passed."""
    connection.execute(
        statement("skip_ledger"),
        {
            "source_id": source.id,
            "path": path,
            **signature._asdict(),
            "content_hash": content_hash,
            "processing_fingerprint": processing_fingerprint,
            "reason": reason,
            "transient": transient,
            "retry_minutes": SKIPPED_RETRY_MINUTES,
        },
    )


def skipped_by_folder(connection: Connection, source: Source) -> dict[str, int]:
    """How many files are skipped, by folder."""
    rows = connection.execute(statement("count_skipped"), {"source_id": source.id}, binary=True)
    return {row[0]: row[1] for row in rows}


def retry_embedding(connection: Connection) -> None:
    """Files that the model refused are tried again at the next sync."""
    connection.execute(statement("retry_embedding"))


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
