"""Builds an HNSW index and shows how far it is, as PostgreSQL tells other sessions."""

from __future__ import annotations

import contextvars
import time
from contextlib import contextmanager, suppress
from threading import Event, Thread
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from pgfolio.schema.database.connect import connect
from pgfolio.schema.vectors import hnsw, segments

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgfolio.flows.run.context import Run
    from pgfolio.schema.database.connect import Connection
    from pgfolio.schema.records import Generation
    from pgfolio.schema.vectors.tuning import Parameters

LOOK = 0.5
"""Seconds between two looks at a build."""


@runtime_checkable
class ShowsBuild(Protocol):
    """A display that also shows how much of an index is built: a part from 0 to 1."""

    def built(self, part: float) -> None: ...


def build(run: Run, connection: Connection, member: Generation, wanted: Parameters) -> None:
    """The index of a segment, with its time remembered for the next choice. Commits."""
    connection.commit()
    began = time.perf_counter()
    with run.report.timed("index"), shown(run, connection):
        made = hnsw.build(connection, member, wanted.m, wanted.ef_construction)
        took = time.perf_counter() - began
        segments.record_cost(connection, member, "build", segments.size(connection, member), took)
        connection.commit()
    tell(run, made)


def tell(run: Run, made: hnsw.Built) -> None:
    """What a build met with and whoever runs the server can change."""
    if made.beyond_memory:
        run.report.note(
            f"the index of {made.rows:,} vectors did not fit into maintenance_work_mem, which makes its build many "
            "times slower: raise it (PGFOLIO_POSTGRES__MAINTENANCE_WORK_MEM_MB for the bundled PostgreSQL) to "
            f"{made.wanted_mb:,} MB"
        )
    if made.serial:
        run.report.note(
            f"the index of {made.rows:,} vectors was built by one process, for there was not enough shared memory "
            "for more: give the server a larger /dev/shm (docker: --shm-size)"
        )


@contextmanager
def shown(run: Run, connection: Connection) -> Iterator[None]:
    """Inside, the display is told how far the build is that this connection does."""
    display = run.progress
    if not isinstance(display, ShowsBuild):
        yield
        return
    done = Event()
    context = contextvars.copy_context()  # a Prefect artifact belongs to the flow run that it is made in
    watching = Thread(
        target=context.run,
        args=(_watch, run.conninfo, connection.info.backend_pid, display, done),
        name="build",
        daemon=True,
    )
    watching.start()
    try:
        yield
    finally:
        done.set()
        watching.join()


def _watch(conninfo: str, pid: int, display: ShowsBuild, done: Event) -> None:
    """Nothing that goes wrong here may fail a build."""
    seen = False
    with suppress(Exception), connect(conninfo, autocommit=True) as connection:
        while not done.wait(LOOK):
            part = hnsw.progress(connection, pid)
            if part is not None:
                seen = True
                display.built(part)
        if seen:
            display.built(1.0)
