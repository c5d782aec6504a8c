"""Writes how far a sync is into its run's row, for whoever looks from elsewhere: once a second at most, over a
connection of its own, and never to the sync's harm."""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from pgfolio.schema.database.connect import connect
from pgfolio.schema.operations import runs

if TYPE_CHECKING:
    from pgfolio.schema.database.connect import Connection
    from pgfolio.schema.records import Source

LOG = logging.getLogger("pgfolio.flows.run")
INTERVAL_SECONDS: Final = 1.0


class ProgressRecorder:
    """Of one run. Opens its connection when there is something to do."""

    def __init__(self, conninfo: str) -> None:
        self._conninfo = conninfo
        self._opened = ExitStack()
        self._connection: Connection | None = None
        self._run_id = self._source_id = 0
        self._progress: dict[str, Any] = {}
        self._written_at = 0.0
        self._is_failing = False

    def begin(self, run_id: int | None, source: Source, files: int) -> None:
        """A source's files are about to be read."""
        if run_id is None:
            return
        self._run_id, self._source_id = run_id, source.id
        started_at = datetime.now(UTC).isoformat(timespec="seconds")
        self._progress = {"files_done": 0, "files_total": files, "chunks": 0, "started_at": started_at}
        self._write()

    def advance(self, files: int, chunks: int) -> None:
        if self._progress:
            self._progress["files_done"] += files
            self._progress["chunks"] += chunks
            if time.monotonic() - self._written_at >= INTERVAL_SECONDS:
                self._write()

    def close(self) -> None:
        self._opened.close()

    def _write(self) -> None:
        self._written_at = time.monotonic()
        if self._is_failing:
            return
        try:
            if self._connection is None:
                self._connection = self._opened.enter_context(connect(self._conninfo, autocommit=True))
            runs.record_progress(self._connection, self._run_id, self._source_id, self._progress)
        except Exception as error:  # noqa: BLE001 -- the sync itself says what is wrong with the database
            self._is_failing = True
            LOG.warning("how far the sync is cannot be written: %s", error)
