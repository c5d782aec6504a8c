"""A connection for each thread that asks, all closed together."""

from __future__ import annotations

from contextlib import ExitStack
from threading import Lock, local
from typing import TYPE_CHECKING

from pgfolio.schema.database.connect import connect

if TYPE_CHECKING:
    from pgfolio.schema.database.connect import Connection


class ThreadConnections:
    """In autocommit. Opened when a thread first asks for its own."""

    def __init__(self, conninfo: str) -> None:
        self._conninfo = conninfo
        self._lock = Lock()
        self._opened = ExitStack()
        self._of_thread = local()

    def get(self) -> Connection:
        """Raises DatabaseError."""
        connection: Connection | None = getattr(self._of_thread, "connection", None)
        if connection is None:
            opening = connect(self._conninfo, autocommit=True)
            with self._lock:
                connection = self._opened.enter_context(opening)
            self._of_thread.connection = connection
        return connection

    def close(self) -> None:
        """Once no thread uses them."""
        with self._lock:
            self._opened.close()
