"""Says every few seconds that this process is alive: a thread with a connection of its own, and never to the harm of
what the process does."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Final

from pgfolio.schema.database.connect import connect
from pgfolio.schema.operations import heartbeats

if TYPE_CHECKING:
    from pgfolio.schema.operations.heartbeats import Process

LOG = logging.getLogger("pgfolio.flows.run")
INTERVAL_SECONDS: Final = 10.0


def start_heartbeat(conninfo: str, process: Process) -> None:
    """Until the process ends. A database that goes away is waited for."""
    threading.Thread(target=_beat, args=(conninfo, process), name="heartbeat", daemon=True).start()


def _beat(conninfo: str, process: Process) -> None:
    stopped = threading.Event()
    while True:
        try:
            with connect(conninfo, autocommit=True) as connection:
                while True:
                    heartbeats.beat(connection, process)
                    stopped.wait(INTERVAL_SECONDS)
        except Exception as error:  # noqa: BLE001 -- the process itself says what is wrong with the database
            LOG.info("no heartbeat could be written: %s", error)
            stopped.wait(INTERVAL_SECONDS)
