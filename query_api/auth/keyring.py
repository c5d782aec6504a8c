"""Who holds which key: every key's hash in memory, read anew twice a second, so that a key that was made or revoked
counts in every process within a second, and a request waits for no query of its own.

Fails closed: with nothing read for some seconds nobody is let in. When a key was last used is written beside that: a
database that takes no writes locks nobody out.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager, nullcontext
from typing import TYPE_CHECKING, Final

from pgfolio.schema.database.errors import DatabaseError
from pgfolio.schema.operations import api_keys as stored

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager

    from pgfolio.query_api.background import Supervisor
    from pgfolio.schema.database.connect import AsyncConnection
    from pgfolio.schema.operations.api_keys import KnownKey

REFRESH_SECONDS: Final = 0.5
"""Seconds between two looks. A look takes a millisecond on a connection of its own: a full pool does not delay it."""

TIMEOUT_SECONDS: Final = 3.0
"""Seconds for one look."""

MAX_AGE_SECONDS: Final = 5.0
"""Seconds after which what was read counts no more."""

USE_SECONDS: Final = 60.0
"""Seconds for which a key's last use is not written again, as `keys_used` has it too."""


NOT_READ: Final = f"not read anew; after {MAX_AGE_SECONDS:g} s nobody is let in"
NOT_WRITTEN: Final = "when keys were last used is not written"


class KeyRing:
    """Every key by its hash. `exist`: one was ever made; from then on the API is closed to who has none."""

    def __init__(self, conninfo: str, replica: str | None = None) -> None:
        self._conninfo = conninfo
        self._replica = replica
        self._known: dict[bytes, KnownKey] = {}
        self._used: set[int] = set()
        self._use_written: dict[int, float] = {}
        self._read_at = 0.0

    @property
    def exist(self) -> bool:
        """Raises DatabaseError when that is not known."""
        self.check_current()
        return bool(self._known)

    def check_current(self) -> None:
        """Raises DatabaseError when what was read is too old to count."""
        if time.monotonic() - self._read_at > MAX_AGE_SECONDS:
            raise DatabaseError(
                "API keys cannot be checked: the database does not let them be read; is it running?"
            )

    def find(self, secret: str) -> KnownKey | None:
        """The usable key that this is. Found by its hash: how long that takes tells nothing of a key."""
        known = self._known.get(stored.hashed(secret))
        if known is None or not known.usable:
            return None
        self._used.add(known.id)
        return known

    def connection(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """One to read them over. Raises DatabaseError."""
        return stored.keys_reading_connection(self._conninfo, TIMEOUT_SECONDS, self._replica)

    async def refresh(self) -> None:
        """Read them once. Raises DatabaseError."""
        async with self.connection() as connection:
            await self.read(connection)

    async def read(self, connection: AsyncConnection) -> None:
        """Read them over a connection that stays open."""
        async with asyncio.timeout(TIMEOUT_SECONDS):
            self._known = await stored.read(connection)
            self._read_at = time.monotonic()

    async def write_use(self) -> None:
        """Write which keys were used, over a connection that is open no longer: it is needed once a minute."""
        now, seen = time.monotonic(), set(self._used)
        used = {key for key in seen if now - self._use_written.get(key, -USE_SECONDS) >= USE_SECONDS}
        if used:
            async with (
                asyncio.timeout(TIMEOUT_SECONDS),
                stored.keys_connection(self._conninfo, TIMEOUT_SECONDS) as connection,
            ):
                await stored.used(connection, used)
            self._use_written |= dict.fromkeys(used, now)
        self._used -= seen


@asynccontextmanager
async def open_keys(
    conninfo: str, supervisor: Supervisor, *, read_only: bool = False, replica: str | None = None
) -> AsyncIterator[KeyRing]:
    """Keys that stay up to date; `read_only`: when they were used is not written. Raises DatabaseError."""
    ring = KeyRing(conninfo, replica)
    await ring.refresh()
    reading = supervisor.running("keys", NOT_READ, ring.connection, ring.read, REFRESH_SECONDS)
    writing = supervisor.running(
        "key use", NOT_WRITTEN, nullcontext, lambda _: ring.write_use(), REFRESH_SECONDS
    )
    async with reading, nullcontext() if read_only else writing:
        yield ring
