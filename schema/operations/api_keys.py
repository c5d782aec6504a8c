"""API keys: made, listed, revoked, and known to the API by their hashes.

A key is 256 random bits. A slow hash protects what can be guessed, and this cannot: SHA-256 is as safe here, and can
be computed for every request. Whoever reads the table learns no key.
"""

from __future__ import annotations

import hashlib
import secrets
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import psycopg

from pgfolio.config.errors import WrongUsageError
from pgfolio.config.names import check_name
from pgfolio.schema.corpus import word_statistics
from pgfolio.schema.database.connect import connect_async
from pgfolio.schema.database.errors import DatabaseError
from pgfolio.schema.database.rows import fetch_records, read_record
from pgfolio.schema.database.statements import array, fetch_one, statement

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Sequence
    from datetime import datetime

    from pgfolio.schema.database.connect import AsyncConnection, Connection
    from pgfolio.schema.search.access import Permitted

KeyScope: TypeAlias = Literal["read", "write", "admin"]
SCOPES: Final[tuple[KeyScope, ...]] = ("read", "write", "admin")
"""Each includes those before it."""

PREFIX: Final = "pgf_"
"""By which a key that was published by mistake is recognised, by people and by secret scanners."""

LISTED_CHARACTERS: Final = len(PREFIX) + 6
"""Characters of a key that lists show."""


KEYS_TIMEOUT: Final = 2
"""Seconds for a connection to read keys: what was read counts for a few only."""


class WrongKeyError(WrongUsageError):
    """A key that cannot be made, or is not there; the message says why."""


class NoKeyError(WrongUsageError):
    """The API would be open to a network; the message says what to do."""


@dataclass(frozen=True, slots=True)
class NewKey:
    """A new key. `secret` is shown once and kept nowhere."""

    id: int
    name: str
    secret: str
    scope: KeyScope
    collections: tuple[str, ...] | None
    expires_at: datetime | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ListedKey:
    id: int
    name: str
    prefix: str
    scope: KeyScope
    collections: list[str] | None
    created_at: datetime
    last_used_at: datetime | None
    expires_at: datetime | None
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class KnownKey:
    """A key as the API knows it; `collections`: the ids of those that it is limited to."""

    id: int
    scope: KeyScope
    collections: tuple[int, ...] | None
    usable: bool


@dataclass(frozen=True, slots=True)
class KeyHolder:
    """Who a key is, for who has it."""

    name: str
    scope: KeyScope
    collections: list[str] | None
    expires_at: datetime | None


def add(
    connection: Connection,
    name: str | None,
    scope: KeyScope,
    collections: Sequence[str] = (),
    expires_at: datetime | None = None,
    permitted: Permitted = None,
) -> NewKey:
    """Make a key, limited to collections where any are named; their words are counted by themselves from then on.
    Who is limited makes none that may see more, and must name them. Raises WrongKeyError, WrongNameError."""
    if permitted is not None and not collections:
        raise WrongKeyError("name the `collections` of the key: yours may not see all of them")
    secret = PREFIX + secrets.token_urlsafe(32)
    name = _checked(name or f"key {secret[len(PREFIX) : LISTED_CHARACTERS]}")
    values = {
        "name": name,
        "prefix": secret[:LISTED_CHARACTERS],
        "hash": hashed(secret),
        "scope": scope,
        "collections": _ids(connection, collections, permitted),
        "expires_at": expires_at,
    }
    try:
        row = fetch_one(connection, "add_key", values)
    except psycopg.errors.UniqueViolation as error:
        raise WrongKeyError(
            f"there is a key {name!r} already: revoke it first, or take another name"
        ) from error
    if collections:
        word_statistics.count_collections(connection)
    return NewKey(
        id=row[0],
        name=name,
        secret=secret,
        scope=scope,
        collections=tuple(collections) or None,
        expires_at=expires_at,
        created_at=row[1],
    )


def listed(connection: Connection, permitted: Permitted = None) -> list[ListedKey]:
    """For who is limited those that may see no more."""
    return fetch_records(connection, ListedKey, statement("list_keys"), {"permitted": array(permitted)})


async def holder(connection: AsyncConnection, known: KnownKey) -> KeyHolder | None:
    values = {"id": known.id, "permitted": array(known.collections)}
    return await read_record(connection, KeyHolder, statement("get_key"), values)


def revoke(connection: Connection, which: str, permitted: Permitted = None) -> tuple[int, str]:
    """Revoke a key by its id or name; returns both. Raises WrongKeyError."""
    values = {"which": which, "permitted": array(permitted)}
    row = connection.execute(statement("revoke_key"), values).fetchone()
    if row is None:
        raise WrongKeyError(f"there is no key {which!r} in use: `pgfolio keys list` shows them")
    return row[0], row[1]


def require_key(connection: Connection, host: str) -> None:
    """Beyond this machine nobody is served without a key. Raises NoKeyError while there is none."""
    if not is_loopback(host) and not fetch_one(connection, "has_usable_key")[0]:
        raise NoKeyError(
            f"{host} can be reached from other machines, and without an API key everybody there could read all "
            "documents. Make a key first, `pgfolio keys add --name NAME`, or listen on 127.0.0.1"
        )


@lru_cache(100)
def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address to listen on. A name is not looked up."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.casefold() == "localhost"


def hashed(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()


@asynccontextmanager
async def keys_connection(conninfo: str, longest: float) -> AsyncIterator[AsyncConnection]:
    """A connection of their own, for when the pool's are all taken; no statement runs for longer than `longest`
    seconds. Raises DatabaseError."""
    async with connect_async(
        conninfo, "pgfolio-api-keys", autocommit=True, statement_seconds=longest, connect_timeout=KEYS_TIMEOUT
    ) as connection:
        connection.prepare_threshold = None
        yield connection


async def read(connection: AsyncConnection) -> dict[bytes, KnownKey]:
    """Every key by its hash."""
    rows = await (await connection.execute(statement("read_keys"))).fetchall()
    return {
        row[0]: KnownKey(row[1], row[2], None if row[3] is None else tuple(row[3]), row[4]) for row in rows
    }


async def used(connection: AsyncConnection, ids: Collection[int]) -> None:
    await connection.execute(statement("keys_used"), {"ids": list(ids)})


@asynccontextmanager
async def keys_reading_connection(
    conninfo: str, longest: float, replica: str | None
) -> AsyncIterator[AsyncConnection]:
    """The same to read them only: to the replica, if there is one, while the database itself cannot be reached.
    Raises DatabaseError."""
    async with AsyncExitStack() as opened:
        try:
            connection = await opened.enter_async_context(keys_connection(conninfo, longest))
        except DatabaseError:
            if replica is None:
                raise
            connection = await opened.enter_async_context(keys_connection(replica, longest))
        yield connection


def _checked(name: str) -> str:
    if name.isdecimal():
        raise WrongKeyError(f"a key cannot be called {name!r}: a number would be an id")
    return check_name("key", name)


def _ids(connection: Connection, names: Sequence[str], permitted: Permitted) -> list[int] | None:
    if not names:
        return None
    values = {"names": list(names), "permitted": array(permitted)}
    rows = connection.execute(statement("collection_ids"), values)
    known = {row[0]: row[1] for row in rows}
    if missing := [name for name in names if name not in known]:
        names_missing = ", ".join(map(repr, missing))
        raise WrongKeyError(
            f"there is no collection {names_missing}: `pgfolio status` shows those that there are"
        )
    return sorted(known.values())
