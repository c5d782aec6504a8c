"""Applies: writes one parcel, or the removals and moves of a plan, each in one short transaction."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from schema import documents, ledger
from schema.records import Embedded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flows.plan import Move
    from flows.prepare import Failed, Parcel, Prepared
    from schema.connect import Connection
    from schema.records import Generation, Source


@dataclass(frozen=True, slots=True)
class Ready:
    """A parcel with its vectors: what can be stored, and what has failed on the way."""

    parcel: Parcel
    storables: Sequence[documents.Storable]
    failed: Sequence[Failed]
    embedded: int
    reused: int


def store_parcel(
    connection: Connection, source: Source, generation: Generation, ready: Ready, recipe: str
) -> None:
    """One transaction: documents, chunks, vectors, ledger; then what was touched and what failed."""
    with connection.transaction():
        if ready.storables:
            documents.store(connection, source, generation, ready.storables, recipe)
        if ready.parcel.touched:
            touched = [(item.todo.entry.path, item.signature) for item in ready.parcel.touched]
            ledger.touch(connection, source, touched)
        for item in (*ready.parcel.failed, *ready.failed):
            ledger.fail(
                connection,
                source,
                item.todo.entry.path,
                item.signature,
                item.content_hash,
                recipe,
                item.stage,
                item.reason,
            )


def move(connection: Connection, source: Source, moves: Sequence[Move]) -> None:
    with connection.transaction():
        ledger.move(connection, source, [(m.known.path, m.entry.path, m.entry.signature) for m in moves])


def remove(connection: Connection, source: Source, paths: Sequence[str]) -> None:
    with connection.transaction():
        ledger.remove(connection, source, paths)


def still_there(root: str, path: str) -> bool:
    """Whether a file that the crawl missed is there after all, or cannot be told to be gone."""
    try:
        status = os.lstat(os.path.join(root, path))  # noqa: PTH118
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return not stat.S_ISDIR(status.st_mode)


def storable(item: Prepared, vectors: Sequence[object]) -> documents.Storable:
    """A prepared document with a vector for each of its chunks."""
    chunks = [Embedded(chunk, vector) for chunk, vector in zip(item.chunks, vectors, strict=True)]  # type: ignore[arg-type]
    return documents.Storable(item.document, chunks, item.todo.known.document_id if item.todo.known else None)
