"""The one builder of HNSW indexes: of a sync, of a move to another space, of a repair. Shows how far a build is, as
PostgreSQL reports it to other sessions."""

from __future__ import annotations

import contextvars
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from threading import Event, Thread
from typing import TYPE_CHECKING

from pgfolio.config.machine import cores
from pgfolio.flows.run.progress import ShowsBuild
from pgfolio.schema.database.connect import connect
from pgfolio.schema.vectors import hnsw, segments, tuning
from pgfolio.schema.vectors.tuning import Parameters

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pgfolio.flows.run.context import RunContext
    from pgfolio.schema.database.connect import Connection
    from pgfolio.schema.records import Generation

CORES_PER_BUILD = 4

POLL_SECONDS = 0.5
"""Between two looks at a build's progress."""


def parameters_of(run: RunContext, connection: Connection, generation: Generation) -> Parameters:
    """What every build of the generation uses: what it was tuned to, else the settings'."""
    tuned, _ = tuning.tuned(connection, generation)
    return tuned or Parameters(run.settings.index.m, run.settings.index.ef_construction)


def build(run: RunContext, connection: Connection, member: Generation, parameters: Parameters) -> None:
    """The index of a segment, with its time remembered for the next choice. Commits."""
    connection.commit()  # a build may take hours: no snapshot of the caller's stays open meanwhile
    began = time.perf_counter()
    with run.report.timed("index"), displayed(run, connection):
        built = hnsw.build(connection, member, parameters.m, parameters.ef_construction)
        took = time.perf_counter() - began
        segments.record_cost(connection, member, "build", segments.size(connection, member), took)
        connection.commit()
    note_advice(run, built)


def build_all(
    run: RunContext,
    connection: Connection,
    members: Sequence[Generation],
    parameters: Parameters,
    at_once: int = max(cores() // CORES_PER_BUILD, 1),
) -> None:
    """Several segments, some of them at the same time where there are cores for it: a build's beginning and end are
    one process's. Commits."""
    if min(at_once, len(members)) <= 1:
        for member in members:
            build(run, connection, member, parameters)
        return
    connection.commit()

    def build_one(member: Generation) -> None:
        with connect(run.conninfo) as own:
            build(run, own, member, parameters)

    with ThreadPoolExecutor(at_once, thread_name_prefix="build") as pool:
        list(pool.map(build_one, members))


def note_advice(run: RunContext, built: hnsw.IndexBuild) -> None:
    """What a build met with and whoever runs the server can change."""
    if built.beyond_memory:
        run.report.note(
            f"the index of {built.rows:,} vectors did not fit into maintenance_work_mem, which makes its build many "
            "times slower: raise it (PGFOLIO_POSTGRES__MAINTENANCE_WORK_MEM_MB for the bundled PostgreSQL) to "
            f"{built.needed_mb:,} MB"
        )
    if built.serial:
        run.report.note(
            f"the index of {built.rows:,} vectors was built by one process, for there was not enough shared memory "
            "for more: give the server a larger /dev/shm (docker: --shm-size)"
        )


@contextmanager
def displayed(run: RunContext, connection: Connection) -> Iterator[None]:
    """Inside, the display shows how far the build is that this connection does."""
    display = run.progress
    if not isinstance(display, ShowsBuild):
        yield
        return
    done = Event()
    # A new thread has no context variables, and Prefect finds the flow run that an artifact belongs to by one.
    context = contextvars.copy_context()
    thread = Thread(
        target=context.run,
        args=(_display_progress, run.conninfo, connection.info.backend_pid, display, done),
        name="build",
        daemon=True,
    )
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _display_progress(conninfo: str, pid: int, display: ShowsBuild, done: Event) -> None:
    """Nothing that goes wrong here may fail a build."""
    begun = False
    with suppress(Exception), connect(conninfo, autocommit=True) as connection:
        while not done.wait(POLL_SECONDS):
            part = hnsw.progress(connection, pid)
            if part is not None:
                begun = True
                display.built(part)
        if begun:
            display.built(1.0)
