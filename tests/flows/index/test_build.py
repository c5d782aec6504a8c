"""While an index is built, whoever watches the run sees how far it is; what the build met with is told afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from pgfolio.flows.index.build import build
from pgfolio.flows.run.context import RunContext
from pgfolio.flows.run.options import Options
from pgfolio.flows.run.progress import NullProgress
from pgfolio.schema.database.connect import connect
from pgfolio.schema.records import Space
from pgfolio.schema.vectors import generations, hnsw, reuse
from pgfolio.schema.vectors.tuning import Parameters

if TYPE_CHECKING:
    from pgfolio.config.settings import Settings
    from pgfolio.schema.database.connect import Connection
    from pgfolio.schema.records import Generation

ROWS = 4000
SLOW = Parameters(40, 400)
"""Takes some seconds over so few rows."""


class Watching(NullProgress):
    """A display that remembers what it was told."""

    def __init__(self) -> None:
        self.parts: list[float] = []

    def built(self, part: float) -> None:
        self.parts.append(part)


@pytest.fixture
def filled(conninfo: str) -> Generation:
    with connect(conninfo) as connection:
        connection.execute("insert into collections (name) values ('c')")
        connection.execute("insert into sources (name, root, collection_id) values ('s', '/s', 1)")
        connection.execute(
            "insert into documents (source_id, collection_id, path, mime, language, content_hash, text, updated_at) "
            "values (1, 1, 'a', 'text/plain', 'simple', '', '', now())"
        )
        connection.execute(
            "insert into chunks (id, document_id, collection_id, ordinal, content, heading, start_at, end_at, "
            "tokens, hash, language) select i, 1, 1, i, '', '', 0, 0, 0, '', 'simple' from generate_series(1, %s) i",
            [ROWS],
        )
        generation = generations.create_generation(connection, Space("local", "made", 256), "active")
        made = np.random.default_rng(1).normal(size=(ROWS, 256)).astype(np.float32)
        reuse.add_vectors(connection, generation, [(i, 1, vector) for i, vector in enumerate(made, 1)])
        return generation


@pytest.mark.long
def test_a_build_is_watched_from_beginning_to_end(
    settings: Settings, conninfo: str, filled: Generation
) -> None:
    display = Watching()
    run = RunContext(settings, conninfo, Options(), display)
    with connect(conninfo) as connection:
        build(run, connection, filled, SLOW)
        assert hnsw.is_valid(connection, filled)
    assert len(display.parts) >= 3
    assert display.parts == sorted(display.parts)
    assert any(0 < part < 1 for part in display.parts)
    assert display.parts[-1] == 1.0
    assert run.report.notes == []


def test_a_build_that_outgrows_its_memory_says_how_much_it_needs(
    settings: Settings, conninfo: str, filled: Generation
) -> None:
    run = RunContext(settings, conninfo, Options())
    with connect(conninfo) as connection:
        connection.execute("set maintenance_work_mem = '1MB'")
        build(run, connection, filled, Parameters(16, 64))
        assert hnsw.is_valid(connection, filled)
    (note,) = run.report.notes
    assert "did not fit into maintenance_work_mem" in note
    assert "64 MB" in note


def test_a_build_without_enough_shared_memory_is_done_by_one_process(
    settings: Settings, conninfo: str, filled: Generation
) -> None:
    """As in a container whose /dev/shm is 64 MB: workers share the graph through it."""
    run = RunContext(settings, conninfo, Options())
    with connect(conninfo) as connection:
        small(connection)
        build(run, connection, filled, Parameters(16, 64))
        assert hnsw.is_valid(connection, filled)
    (note,) = run.report.notes
    assert "--shm-size" in note


def small(connection: Connection) -> None:
    """A server that cannot give workers what they share: a build of more processes than one fails as there."""
    connection.execute(
        "create function refuse() returns event_trigger language plpgsql as $$ begin "
        "if current_setting('max_parallel_maintenance_workers')::int > 0 then "
        "raise exception 'could not resize shared memory segment' using errcode = 'disk_full'; end if; end $$"
    )
    connection.execute("create event trigger refuse on ddl_command_start when tag in ('CREATE INDEX') "
                       "execute function refuse()")  # fmt: skip
