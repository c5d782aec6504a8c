"""Makes documents of what is pushed, as it comes: waits for the database to say so, then syncs those sources. Beside
that, in a thread of its own, since it may take hours, does what is asked of the flows over HTTP.

A process of its own: `python -m pgfolio.flows.listen`, which `pgfolio up` starts. Several may run; one does the work.
"""

from __future__ import annotations

import logging
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Final

import click

from pgfolio.config import command
from pgfolio.config.loading import load_settings
from pgfolio.flows.ingest.requests import answer_requests
from pgfolio.flows.launch import find_launcher, launch_sync
from pgfolio.flows.run.heartbeat import start_heartbeat
from pgfolio.flows.run.options import Options
from pgfolio.schema.corpus import push_queue, sources
from pgfolio.schema.corpus.sources import SourceBusyError
from pgfolio.schema.database.connect import database
from pgfolio.schema.database.errors import DatabaseError
from pgfolio.schema.operations import requests

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgfolio.config.settings import Settings
    from pgfolio.flows.run.report import Report
    from pgfolio.schema.database.connect import Connection
    from pgfolio.schema.records import Source

    SyncOne = Callable[[Source, Options], Report]
    Sync = Callable[[list[Source]], object]

LOG = logging.getLogger("pgfolio.flows.listen")
POLL_SECONDS: Final = 5.0
"""Seconds between two looks when nobody calls: a call is lost while the connection is."""

BUSY_SECONDS: Final = 0.5
"""Seconds until another look while another sync has the source."""

PUSH: Final = Options(started_by="push")

PAUSE_SECONDS: Final = (2.0, 60.0)
"""Seconds after a run that could not go on, or that left what it should have taken: at first, and at most."""


def listen(conninfo: str, sync: Sync) -> None:
    """For ever. A database that goes away is waited for."""
    while True:
        try:
            with push_queue.listening(conninfo) as connection:
                pause = PAUSE_SECONDS[0]
                while True:
                    pause = _sync_due(connection, sync, pause)
        except DatabaseError as error:
            LOG.warning("%s", error)
            time.sleep(POLL_SECONDS)


def _sync_due(connection: Connection, sync: Sync, pause: float) -> float:
    """One look, and the wait after it; returns the pause after the next failure."""
    due = push_queue.due(connection)
    if not due:
        push_queue.woken(connection, POLL_SECONDS)
        return PAUSE_SECONDS[0]
    try:
        sync([source for source in sources.list_sources(connection) if source.id in due])
    except Exception as error:  # noqa: BLE001 -- its run says so; what waits is tried again
        if isinstance(error.__cause__ or error, SourceBusyError):
            time.sleep(BUSY_SECONDS)
            return pause
        LOG.warning("%s: %s", type(error).__name__, error)
    if due.items() & push_queue.due(connection).items():  # the oldest of a source is still waiting
        push_queue.woken(connection, pause)
        return min(pause * 2, PAUSE_SECONDS[1])
    return PAUSE_SECONDS[0]


def listen_requests(conninfo: str, settings: Settings, sync: SyncOne) -> None:
    """For ever. A database that goes away is waited for."""
    while True:
        try:
            with requests.listening(conninfo) as connection:
                while True:
                    busy = answer_requests(connection, conninfo, settings, sync)
                    push_queue.woken(connection, BUSY_SECONDS if busy else POLL_SECONDS)
        except Exception as error:  # noqa: BLE001 -- a request's own errors are in its row; this thread goes on
            LOG.warning("%s: %s", type(error).__name__, error)
            time.sleep(POLL_SECONDS)


def _sync(settings: Settings, conninfo: str, selected: list[Source], options: Options = PUSH) -> Report:
    launcher = find_launcher(settings, options)
    if launcher.note:
        LOG.warning("%s", launcher.note)
    return launch_sync(launcher, settings, conninfo, selected, options)


@click.command()
def main() -> None:
    """Make documents of what is pushed, as it comes, and do what is asked of the flows over HTTP."""
    logging.basicConfig(format="%(asctime)s %(message)s")
    settings = load_settings()
    with database(settings) as conninfo:

        def sync_one(source: Source, options: Options) -> Report:
            return _sync(settings, conninfo, [source], options)

        start_heartbeat(conninfo, "listener")
        arguments = (conninfo, settings, sync_one)
        threading.Thread(target=listen_requests, args=arguments, name="requests", daemon=True).start()
        listen(conninfo, partial(_sync, settings, conninfo))


if __name__ == "__main__":
    command.run(main)
