"""Keeps syncs away for a moment: owns every source, at once or when those that run are done."""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, NoReturn

from tenacity import RetryCallState, Retrying, retry_if_result, stop_after_delay, wait_fixed

from pgfolio.schema.corpus import sources
from pgfolio.schema.corpus.sources import SourceBusyError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgfolio.flows.run.progress import Progress
    from pgfolio.schema.database.connect import Connection
    from pgfolio.schema.records import Source

POLL_SECONDS = 0.2
MAX_WAIT_SECONDS = 3600.0
"""Seconds that syncs are waited for."""
MAX_GIVE_WAY_SECONDS = 600.0
"""Seconds that one step in the background lets syncs go first: where one always runs, it would never be done."""


@contextmanager
def unless_syncing(connection: Connection) -> Iterator[bool]:
    """True: inside, no sync runs. False: one does, of any source, and nothing is owned."""
    with ExitStack() as owned:
        free = not _own_free(connection, owned, set())
        if not free:
            owned.close()
        yield free


@contextmanager
def without_syncs(
    connection: Connection, progress: Progress, max_wait: float = MAX_WAIT_SECONDS
) -> Iterator[frozenset[int]]:
    """Inside, no sync runs of the sources whose ids are given. Raises SourceBusyError after `max_wait` seconds.

    Sources that are free are left free while others are waited for, so that no sync is turned away; after half of
    the time they stay owned, or syncs that take turns could go on for ever.
    """
    with ExitStack() as owned:
        owned_ids: set[int] = set()

        def wait_for_busy(state: RetryCallState) -> None:
            # A sync that starts meanwhile must not be turned away, and is again waited for: only in the second half
            # of the time is what is free kept, or syncs that take turns could go on for ever.
            if (state.seconds_since_start or 0.0) < max_wait / 2:
                owned.close()
                owned_ids.clear()
            progress.stage(f"waiting for the sync of {_busy_names(state)}")

        def give_up(state: RetryCallState) -> NoReturn:
            raise SourceBusyError(
                f"syncs of {_busy_names(state)} did not end within {max_wait:.0f} s: "
                "run it again; what is done is kept"
            )

        retrying = Retrying(
            retry=retry_if_result(bool),
            wait=wait_fixed(POLL_SECONDS),
            stop=stop_after_delay(max_wait),
            before_sleep=wait_for_busy,
            retry_error_callback=give_up,
        )
        retrying(_own_free, connection, owned, owned_ids)
        yield frozenset(owned_ids)


def wait_for_syncs(connection: Connection, max_wait: float = MAX_GIVE_WAY_SECONDS) -> None:
    """Until none runs, or for so many seconds; `connection` is in autocommit. One may begin right afterwards."""
    deadline = time.monotonic() + max_wait
    while sources.any_owned(connection) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)


def _busy_names(state: RetryCallState) -> str:
    busy: list[Source] = state.outcome.result() if state.outcome else []
    return ", ".join(source.name for source in busy)


def _own_free(connection: Connection, owned: ExitStack, owned_ids: set[int]) -> list[Source]:
    """Own what is free; those that are not."""
    busy = []
    all_sources = sources.list_sources(connection)
    connection.commit()
    for source in all_sources:
        if source.id in owned_ids:
            continue
        try:
            owned.enter_context(sources.owned(connection, source))
            owned_ids.add(source.id)
        except SourceBusyError:
            busy.append(source)
    return busy
