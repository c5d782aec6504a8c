"""What is pushed, on the API's side: it is kept as it came, told of, and removed. What the flow does with it:
corpus/push_queue.py."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from pgfolio.config.names import check_name
from pgfolio.schema.corpus.push_queue import COLLECTION
from pgfolio.schema.database.connect import connect_async
from pgfolio.schema.database.rows import read_record
from pgfolio.schema.database.statements import array, statement

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager
    from datetime import datetime

    from pgfolio.schema.database.connect import AsyncConnection
    from pgfolio.schema.search.access import Permitted

State: TypeAlias = Literal["pending", "ok", "failed"]


class NoSuchCollectionError(Exception):
    """The collection is not there, or may not be seen; the message names it."""


class WhichCollectionError(Exception):
    """A key that is limited to several collections, or to none that is left, must say which."""


@dataclass(frozen=True, slots=True)
class Push:
    """What came. `suffix` tells how to read it, as ".pdf"; `name` is what the client called its file: a label, shown
    where the document has no title. `metadata` is JSON."""

    content: bytes
    suffix: str
    title: str
    name: str
    metadata: str


@dataclass(frozen=True, slots=True)
class WaitingPush:
    """A push that is no document yet; `state` is "failed" when it could not be made one, for this reason."""

    id: int
    source: str
    path: str
    title: str
    collection: str
    content_hash: str
    state: State
    metadata: dict[str, Any]
    pushed_at: datetime
    reason: str


def writing(conninfo: str, longest: float) -> AbstractAsyncContextManager[AsyncConnection]:
    """A connection that may write, in one transaction; those of the pool read. Raises DatabaseError."""
    return connect_async(conninfo, "pgfolio-push", statement_seconds=longest)


async def add(connection: AsyncConnection, push: Push, collection: str | None, permitted: Permitted) -> int:
    """Keep a push and wake who makes documents; returns its id. A collection is made where it is new and whoever
    asks may see all. Raises NoSuchCollectionError, WhichCollectionError, WrongNameError."""
    collection_id = await _collection(connection, collection, permitted)
    values = {
        "source_id": await _source(connection, collection_id, permitted),
        "permitted": array(permitted),
        "content": push.content,
        "suffix": push.suffix,
        "title": push.title,
        "name": push.name,
        "metadata": push.metadata,
    }
    row = await _one(connection, "insert_push", values)
    if row is None:
        raise NoSuchCollectionError(_no(str(collection)))
    await connection.execute(statement("notify_pushed"))
    return int(row[0])


async def remove(connection: AsyncConnection, push_id: int, permitted: Permitted) -> bool:
    """The push with its document, at once; its vectors are kept for a time. False: nobody pushed this id."""
    values = {"id": push_id, "permitted": array(permitted)}
    row = await _one(connection, "remove_push", values)
    return bool(row and row[0])


async def origin(
    connection: AsyncConnection, document_id: int, permitted: Permitted
) -> tuple[str, str] | None:
    """Source and path of a document."""
    row = await _one(connection, "origin_of_document", {"id": document_id, "permitted": array(permitted)})
    return None if row is None else (row[0], row[1])


async def waiting(connection: AsyncConnection, push_id: int, permitted: Permitted) -> WaitingPush | None:
    """A push, whatever became of it."""
    values = {"id": push_id, "permitted": array(permitted)}
    return await read_record(connection, WaitingPush, statement("get_push"), values)


async def state(connection: AsyncConnection, push_id: int, permitted: Permitted) -> tuple[State, str] | None:
    """What became of a push, and why; None when it was deleted."""
    row = await _one(connection, "push_state", {"id": push_id, "permitted": array(permitted)})
    return None if row is None else (row[0], row[1])


async def _collection(connection: AsyncConnection, name: str | None, permitted: Permitted) -> int:
    if name is None and permitted is not None:
        cursor = await connection.execute(statement("permitted_collections"), {"permitted": list(permitted)})
        rows = await cursor.fetchall()
        if len(rows) != 1:
            raise WhichCollectionError("name the `collection`: your key is not limited to exactly one")
        return int(rows[0][0])
    name = name or COLLECTION
    values = {"names": [name], "permitted": array(permitted)}
    row = await _one(connection, "collection_ids", values)
    if row is not None:
        return int(row[1])
    check_name("collection", name)
    await connection.execute(statement("make_collection"), {"name": name, "permitted": array(permitted)})
    row = await _one(connection, "collection_ids", values)  # also of one that somebody made in this moment
    if row is None:
        raise NoSuchCollectionError(_no(name))
    return int(row[1])


async def _source(connection: AsyncConnection, collection_id: int, permitted: Permitted) -> int:
    values = {"collection_id": collection_id, "permitted": array(permitted)}
    row = await _one(connection, "find_pushed_source", values)
    if row is None:
        await connection.execute(statement("make_pushed_source"), values)
        row = await _one(connection, "find_pushed_source", values)
    if row is None:  # another source has its name: somebody chose it in the settings just now
        raise NoSuchCollectionError("the name of the collection's source is taken: push again")
    return int(row[0])


def _no(name: str) -> str:
    return f"there is no collection {name!r}: GET /collections lists those that there are"


async def _one(connection: AsyncConnection, name: str, values: dict[str, Any]) -> tuple[Any, ...] | None:
    return await (await connection.execute(statement(name), values)).fetchone()
