"""Keeps syncs away for a moment: owns every source, at once or when those that run are done."""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from pgfolio.schema.corpus import sources
from pgfolio.schema.corpus.sources import SourceBusyError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgfolio.flows.run.context import Progress
    from pgfolio.schema.database.connect import Connection
    from pgfolio.schema.records import Source

POLL = 0.2
PATIENCE = 3600.0
"""Seconds that syncs are waited for."""


@contextmanager
def unless_syncing(connection: Connection) -> Iterator[bool]:
    """True: inside, no sync runs. False: one does, of any source, and nothing is held."""
    with ExitStack() as held:
        free = not _take(connection, held, set())
        if not free:
            held.close()
        yield free


@contextmanager
def without_syncs(
    connection: Connection, progress: Progress, patience: float = PATIENCE
) -> Iterator[frozenset[int]]:
    """Inside, no sync runs of the sources whose ids are given. Raises SourceBusyError when patience is over.

    Sources that are free are left free while others are waited for, so that no sync is turned away; after half of
    the time they are held, or syncs that take turns could go on for ever.
    """
    began = time.monotonic()
    with ExitStack() as held:
        mine: set[int] = set()
        while busy := _take(connection, held, mine):
            waited = time.monotonic() - began
            if waited > patience:
                raise SourceBusyError(
                    f"syncs of {', '.join(source.name for source in busy)} did not end within {patience:.0f} s: "
                    "run it again; what is done is kept"
                )
            if waited < patience / 2:
                held.close()
                mine.clear()
            progress.stage(f"waiting for the sync of {', '.join(source.name for source in busy)}")
            time.sleep(POLL)
        yield frozenset(mine)


def _take(connection: Connection, held: ExitStack, mine: set[int]) -> list[Source]:
    """Own what is free; those that are not."""
    busy = []
    known = sources.list_sources(connection)
    connection.commit()
    for source in known:
        if source.id in mine:
            continue
        try:
            held.enter_context(sources.owned(connection, source))
            mine.add(source.id)
        except SourceBusyError:
            busy.append(source)
    return busy
