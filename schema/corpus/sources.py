"""Sources and their collections: which folders are kept, under which names."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import psycopg
from psycopg.types.json import Jsonb

from pgfolio.config.errors import ConfigError, UserError
from pgfolio.config.names import check_name
from pgfolio.schema.database import locks
from pgfolio.schema.database.statements import fetch_one, statement
from pgfolio.schema.records import Source

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pgfolio.schema.database.connect import Connection


class SourceBusyError(UserError):
    """Another sync of this source is running."""


class NameTakenError(ConfigError):
    """Another source has the name or the root."""


class SourceLostError(Exception):
    """Another sync owns this source now: nothing more may be stored of this one's."""


@dataclass(frozen=True, slots=True)
class BlockedDeletions:
    """Removals of one source that wait for an approval; `paths`: the first of them."""

    source: str
    count: int
    paths: tuple[str, ...]
    reason: str


def list_sources(connection: Connection) -> list[Source]:
    return [_source(row) for row in connection.execute(statement("list_sources"))]


def ensure_source(
    connection: Connection,
    root: str,
    *,
    name: str,
    kind: Literal["folder", "remote"] = "folder",
    collection: str = "",
    include: Sequence[str] | None = None,
    exclude: Sequence[str] | None = None,
) -> Source:
    """The source of this root, made where it is new. A taken name gets a number: docs, docs-2, ...

    Rules left out stay as they are stored. Raises WrongNameError.
    """
    row = connection.execute(statement("find_source_by_root"), {"root": root}).fetchone()
    if row is not None:
        return _updated(connection, _source(row), collection, include, exclude)
    taken = {source.name for source in list_sources(connection)}
    numbered = (f"{name}-{n}" for n in range(2, len(taken) + 3))
    free = name if name not in taken else next(n for n in numbered if n not in taken)
    check_name("source", free, slash=False)
    check_name("collection", collection or free)
    values = {"name": free, "root": root, "include": list(include or ()), "exclude": list(exclude or ())}
    collection_id = ensure_collection(connection, collection or free)
    inserted = fetch_one(
        connection, "insert_source", {**values, "collection_id": collection_id, "kind": kind}
    )
    return Source(
        kind=kind,
        id=inserted[0],
        name=free,
        root=root,
        collection_id=collection_id,
        collection=collection or free,
        include=tuple(include or ()),
        exclude=tuple(exclude or ()),
    )


def has_documents(connection: Connection) -> bool:
    """Whether anything is stored at all."""
    return bool(fetch_one(connection, "has_documents")[0])


def ensure_collection(connection: Connection, name: str) -> int:
    row = fetch_one(connection, "upsert_collection", {"name": name})
    return int(row[0])


def rename(connection: Connection, source: Source, name: str) -> None:
    """Raises WrongNameError, NameTakenError."""
    check_name("source", name, slash=False)
    if any(other.name == name for other in list_sources(connection)):
        raise NameTakenError(f"there is a source {name!r} already")
    connection.execute(statement("rename_source"), {"id": source.id, "name": name})


def move(connection: Connection, source: Source, root: str, kind: Literal["folder", "remote"]) -> None:
    """Its files are at another root now. Raises NameTakenError."""
    if connection.execute(statement("find_source_by_root"), {"root": root}).fetchone() is not None:
        raise NameTakenError(f"{root} is a source already")
    connection.execute(statement("move_source"), {"id": source.id, "root": root, "kind": kind})


def set_configured(connection: Connection, source: Source, *, configured: bool) -> None:
    connection.execute(statement("set_configured"), {"id": source.id, "configured": configured})


def note_reached(connection: Connection, source: Source, *, reached: bool) -> None:
    name = "source_reached" if reached else "source_unreachable"
    connection.execute(statement(name), {"id": source.id})


def set_processing(connection: Connection, source: Source, processing: str, machine: str) -> None:
    values = {"id": source.id, "processing": processing, "processed_by": machine}
    connection.execute(statement("set_processing"), values)


def drop_empty_collections(connection: Connection) -> None:
    """Whose sources and documents are gone, and which no key names. One that is filled just now stays."""
    with suppress(psycopg.errors.ForeignKeyViolation), connection.transaction():
        connection.execute(statement("drop_empty_collections"))


def synced(connection: Connection, source: Source) -> None:
    """All of it was gone through without a problem."""
    connection.execute(statement("source_synced"), {"id": source.id})


def set_blocked_deletions(connection: Connection, source: Source, held: dict[str, Any] | None) -> None:
    """Removals that wait for an approval, as the last sync saw them."""
    values = {"id": source.id, "held": None if held is None else Jsonb(held)}
    connection.execute(statement("set_blocked_deletions"), values)


def list_blocked_deletions(connection: Connection, selected: Sequence[Source]) -> list[BlockedDeletions]:
    """As the last sync of each of these sources saw them."""
    values = {"ids": [source.id for source in selected]}
    rows = connection.execute(statement("list_blocked_deletions"), values)
    return [BlockedDeletions(name, count, tuple(paths), reason) for name, count, paths, reason in rows]


def delete(connection: Connection, source: Source) -> None:
    """With all that is stored of it; its folder stays."""
    connection.execute(statement("delete_source"), {"id": source.id})


@contextmanager
def owned(connection: Connection, source: Source, *, fenced: bool = True) -> Iterator[Source]:
    """Inside, no other sync of this source runs anywhere: the source with its new fence, after which what workers of
    an earlier one still have is not stored. `fenced`: False for who stores nothing. Raises SourceBusyError."""
    with locks.session_lock(connection, locks.SOURCES, source.id) as is_locked:
        if not is_locked:
            raise SourceBusyError(f"another sync of {source.name!r} is running: wait until it is done")
        if fenced:
            source = replace(source, fence=int(fetch_one(connection, "raise_fence", {"id": source.id})[0]))
            connection.commit()
        yield source


def any_owned(connection: Connection) -> bool:
    """Whether a sync runs anywhere, of any source."""
    return bool(fetch_one(connection, "any_source_owned", {"lock_class": locks.SOURCES})[0])


def prove_owner(connection: Connection, source: Source) -> None:
    """In the transaction that stores: that whose fence this is still owns the source, until that ends. (A lock does
    not prove it: one that was lost is noticed too late. Kleppmann, "How to do distributed locking", 2016.) Raises
    SourceLostError."""
    values = {"id": source.id, "fence": source.fence}
    if connection.execute(statement("hold_fence"), values).fetchone() is None:
        raise SourceLostError(f"another sync of {source.name!r} has taken over: this one stores nothing more")


def _updated(
    connection: Connection,
    source: Source,
    collection: str,
    include: Sequence[str] | None,
    exclude: Sequence[str] | None,
) -> Source:
    updated = replace(
        source,
        collection=collection or source.collection,
        include=source.include if include is None else tuple(include),
        exclude=source.exclude if exclude is None else tuple(exclude),
    )
    if updated == source:
        return source
    updated = replace(updated, collection_id=ensure_collection(connection, updated.collection))
    connection.execute(
        statement("update_source"),
        {
            "id": updated.id,
            "root": updated.root,
            "collection_id": updated.collection_id,
            "include": list(updated.include),
            "exclude": list(updated.exclude),
        },
    )
    return updated


def _source(row: tuple[Any, ...]) -> Source:
    source_id, name, root, collection_id, collection, include, exclude, kind, *life = row
    configured, unreachable_since, processing, processed_by = life
    return Source(
        id=source_id,
        name=name,
        root=root,
        collection_id=collection_id,
        collection=collection,
        include=tuple(include),
        exclude=tuple(exclude),
        kind=kind,
        configured=configured,
        unreachable_since=unreachable_since,
        processing=processing,
        processed_by=processed_by,
    )
