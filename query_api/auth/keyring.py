"""Who holds which key: every key's hash in memory, read anew twice a second, so that a key that was made or revoked
counts in every process within a second, and a request waits for no query of its own.

Fails closed: with nothing read for some seconds nobody is let in.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

from pgfolio.schema.database.errors import DatabaseError
from pgfolio.schema.operations import api_keys as stored

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pgfolio.schema.database.connect import AsyncConnection
    from pgfolio.schema.operations.api_keys import KnownKey

REFRESH_SECONDS: Final = 0.5
"""Seconds between two looks. A look takes a millisecond on a connection of its own: a full pool does not delay it."""

TIMEOUT_SECONDS: Final = 3.0
"""Seconds for one look."""

MAX_AGE_SECONDS: Final = 5.0
"""Seconds after which what was read counts no more."""


class KeyRing:
    """Every key by its hash. `exist`: one was ever made; from then on the API is closed to who has none."""

    def __init__(self, conninfo: str) -> None:
        self._conninfo = conninfo
        self._known: dict[bytes, KnownKey] = {}
        self._used: set[int] = set()
        self._read_at = 0.0

    @property
    def exist(self) -> bool:
        """Raises DatabaseError when that is not known."""
        if time.monotonic() - self._read_at > MAX_AGE_SECONDS:
            raise DatabaseError("API keys cannot be checked: the database does not answer; is it running?")
        return bool(self._known)

    def find(self, secret: str) -> KnownKey | None:
        """The usable key that this is. Found by its hash: how long that takes tells nothing of a key."""
        known = self._known.get(stored.hashed(secret))
        if known is None or not known.usable:
            return None
        self._used.add(known.id)
        return known

    async def refresh(self) -> None:
        """Read them once. Raises DatabaseError."""
        async with stored.keys_connection(self._conninfo, TIMEOUT_SECONDS) as connection:
            await self._refresh(connection)

    async def watch(self) -> None:
        """Goes on reading, over a connection that is opened anew when it is lost."""
        while True:
            with suppress(DatabaseError, TimeoutError):
                async with stored.keys_connection(self._conninfo, TIMEOUT_SECONDS) as connection:
                    while True:
                        await self._refresh(connection)
                        await asyncio.sleep(REFRESH_SECONDS)
            await asyncio.sleep(REFRESH_SECONDS)

    async def _refresh(self, connection: AsyncConnection) -> None:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            if self._used:
                used, self._used = self._used, set()
                await stored.used(connection, used)
            self._known = await stored.read(connection)
            self._read_at = time.monotonic()


@asynccontextmanager
async def open_keys(conninfo: str) -> AsyncIterator[KeyRing]:
    """Keys that stay up to date. Raises DatabaseError."""
    ring = KeyRing(conninfo)
    await ring.refresh()
    watching = asyncio.create_task(ring.watch())
    try:
        yield ring
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
