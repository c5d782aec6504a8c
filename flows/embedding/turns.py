"""Requests at once: over all processes of a run, where they are more than may ask at once."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from pgfolio.schema.database.per_thread import ThreadConnections
from pgfolio.schema.operations import turns

if TYPE_CHECKING:
    from collections.abc import Iterator


class SharedTurns:
    """PostgreSQL gives them to the run's threads, wherever they are, and takes them back from a process that
    ended."""

    def __init__(self, conninfo: str, run_id: int, number: int) -> None:
        self._connections = ThreadConnections(conninfo)
        self._run_id = run_id
        self._number = number

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Waits for one."""
        with turns.held(self._connections.get(), self._run_id, self._number):
            yield

    def close(self) -> None:
        self._connections.close()
