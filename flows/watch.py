"""`python -m pgfolio.flows.watch`: syncs a folder when something changes in it. Started by `up --watch`; the
scheduled sync stays, for what events do not tell."""

from __future__ import annotations

import logging
import os
import time
from typing import TYPE_CHECKING, Final

import click

from pgfolio.config import command
from pgfolio.config.loading import load_settings
from pgfolio.flows.discovery.watching import SCAN_SECONDS, changed, sort_out
from pgfolio.flows.ingest.pipeline import run_sync
from pgfolio.flows.run.options import Options
from pgfolio.schema.corpus import sources
from pgfolio.schema.corpus.sources import SourceBusyError
from pgfolio.schema.database.connect import connect, database
from pgfolio.schema.database.errors import DatabaseError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pgfolio.config.settings import Settings
    from pgfolio.schema.records import Source

LOG = logging.getLogger("pgfolio.flows.watch")
WATCH: Final = Options(started_by="watch")
ROUND_SECONDS: Final = 60.0
"""After so long the sources are listed anew: one may have come, or its folder."""
BUSY_SECONDS: Final = 0.5
PAUSE_SECONDS: Final = 10.0
"""After a round that could not go on."""


def watch(settings: Settings, conninfo: str) -> None:
    """For ever. Raises ConfigError."""
    noted: set[str] = set()

    def note(sentence: str) -> None:
        if sentence not in noted:
            noted.add(sentence)
            LOG.warning("note: %s", sentence)

    while True:
        try:
            _round(settings, conninfo, note)
        except DatabaseError as error:
            LOG.warning("%s", error)
            time.sleep(PAUSE_SECONDS)


def _round(settings: Settings, conninfo: str, note: Callable[[str], None]) -> None:
    """Until other folders are to be watched, or the same ones otherwise."""
    known = _folders(conninfo)
    watched = sort_out({source.id: source.root for source in known.values()})
    for reason in watched.reasons:
        note(f"{reason}: it is looked at every {SCAN_SECONDS:.0f} s instead")
    ignored, hidden = [os.path.realpath(settings.home)], settings.crawl.hidden
    listed_at = -ROUND_SECONDS
    unseen = set(known)  # what changed before somebody watched
    for due in changed(watched, ignored, hidden=hidden, note=note):
        _sync(settings, conninfo, [known[source_id] for source_id in sorted(due | unseen)])
        unseen.clear()
        if time.monotonic() - listed_at >= ROUND_SECONDS:
            listed_at = time.monotonic()
            now = _folders(conninfo)
            if sort_out({source.id: source.root for source in now.values()}) != watched:
                return
            known = now


def _folders(conninfo: str) -> dict[int, Source]:
    with connect(conninfo, autocommit=True) as connection:
        return {source.id: source for source in sources.list_sources(connection) if source.kind == "folder"}


def _sync(settings: Settings, conninfo: str, selected: Iterable[Source]) -> None:
    """One after the other: a source that another sync has is waited for, since that may have passed the change by."""
    for source in selected:
        while True:
            try:
                run_sync(settings, conninfo, [source], WATCH)
            except Exception as error:  # noqa: BLE001 -- its run says so; the scheduled sync comes
                if isinstance(error.__cause__ or error, SourceBusyError):
                    time.sleep(BUSY_SECONDS)
                    continue
                LOG.warning("%s: %s", source.name, error)
            break


@click.command()
def main() -> None:
    """Sync folders when something changes in them."""
    logging.basicConfig(format="%(message)s")
    settings = load_settings()
    with database(settings) as conninfo:
        watch(settings, conninfo)


if __name__ == "__main__":
    command.run(main)
