"""Rows of runs: a dead one is seen as dead, whoever else is at work."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pgfolio.schema.database.connect import connect
from pgfolio.schema.operations import runs

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from pgfolio.schema.database.connect import Connection


def latest(reader: Connection) -> tuple[str, str]:
    [run] = runs.last(reader, None, 1)
    reader.commit()
    return run.status, run.error


def test_a_run_whose_process_died_has_failed_at_once(
    conninfo: str, new_database: Callable[[], AbstractContextManager[str]]
) -> None:
    """It was running until a sync began, and for ever while one of another database of the server did."""
    with connect(conninfo) as reader, new_database() as another, connect(another) as beside:
        with connect(conninfo) as process:
            number = runs.start(process, "reembed", "test")
            process.commit()
            assert latest(reader) == ("running", "")
        assert runs.start(beside, "sync", "test") == number
        beside.commit()
        deadline = time.monotonic() + 5
        while latest(reader)[0] == "running" and time.monotonic() < deadline:
            time.sleep(0.01)
        assert latest(reader) == ("failed", runs.DEAD)
        runs.start(reader, "sync", "test")
        stored = reader.execute("select status, error from runs order by id").fetchall()
        assert stored == [("failed", runs.DEAD), ("running", "")]
