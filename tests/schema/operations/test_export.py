"""`pgfolio export`: what a database has stands in another one, where the next sync finds nothing to do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from pgfolio.flows.integrity.verify import run_verify
from pgfolio.schema.database.connect import connect, prepare
from pgfolio.schema.database.errors import DatabaseError
from pgfolio.schema.operations.export import NotEmptyError, export
from pgfolio.schema.vectors import generations, segments
from tests.databases import empty_database
from tests.fakes.openai_server import KEY, FakeOpenAI
from tests.job import check_answers, library_folder, synced
from tests.query_api.auth.test_keys import environment, pgfolio
from tests.query_api.library import make_key, running_api, stock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pgfolio.config.settings import Settings


@pytest.fixture
def target(postgres: str) -> Iterator[str]:
    """An empty database."""
    with empty_database(postgres, "test_target") as conninfo:
        yield conninfo


def exported(source: str, target: str) -> dict[str, int]:
    return export(source, target, 16, 64, lambda _: None)


def test_a_copy_answers_the_same_and_has_nothing_to_sync(
    conninfo: str, target: str, new_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    root = library_folder(tmp_path)
    with FakeOpenAI() as server:
        hosted = {"openai_api_key": KEY, "openai_base_url": server.url}
        embedding = {"provider": "openai", "model": "tiny-embedding"}
        settings = new_settings(database_url=conninfo, embedding=embedding, **hosted)
        synced(settings, conninfo, root)
        (root / "new.md").write_text("# Über Zebras\n\nDas Zebra läuft schnell durch die Steppe.\n")
        synced(settings, conninfo, root)
        key = make_key(conninfo)
        embedded = len(server.requests)
        rows = exported(conninfo, target)
        assert rows["documents"] == 3
        copied = settings.model_copy(update={"database_url": None})
        assert synced(copied, target, root) == {"unchanged": 3}
        assert len(server.requests) == embedded
        assert run_verify(target, copied).complete
        (root / "more.md").write_text("# More\n\nThe numbers of what comes later are new ones.\n")
        assert synced(copied, target, root) == {"added": 1, "unchanged": 3}
        with running_api(copied, target) as client:
            client.headers["Authorization"] = f"Bearer {key}"
            check_answers(client)


def test_indexes_and_several_segments_come_along(conninfo: str, target: str, settings: Settings) -> None:
    stock(conninfo, settings)
    with connect(conninfo) as connection:
        generation = generations.active_generation(connection)
        assert generation is not None
        table = segments.create(connection, generation).segment_table
        connection.execute(
            sql.SQL(
                "with moved as (delete from only vectors_1 where chunk_id < 4 returning *) insert into {} table moved"
            ).format(sql.Identifier(table))
        )
    rows = exported(conninfo, target)
    assert rows["vectors_1"] == rows["chunks"] > 0
    with psycopg.connect(target) as connection:
        assert connection.execute(
            "select indisvalid from pg_index where indexrelid = 'vectors_1_hnsw'::regclass"
        ).fetchone() == (True,)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (
            "create table invoices (id integer)",
            "is not empty, it has invoices: name an empty database, or a schema",
        ),
        ("create view documents_seen as select 1", "documents_seen"),
        ("insert into collections (name) values ('x')", "its collections have rows"),
    ],
)
def test_a_target_that_is_not_empty_is_refused_and_left_as_it_is(
    conninfo: str, target: str, made: str, said: str
) -> None:
    if "insert" in made:
        prepare(target)
    with psycopg.connect(target) as connection:
        connection.execute(made.encode())
    with pytest.raises(NotEmptyError, match=said):
        exported(conninfo, target)
    if "insert" not in made:
        with psycopg.connect(target) as connection:
            assert connection.execute("select to_regclass('chunks')").fetchone() == (None,)


def test_a_database_is_not_exported_to_itself(conninfo: str, settings: Settings, tmp_path: Path) -> None:
    synced(settings, conninfo, library_folder(tmp_path))
    with pytest.raises(NotEmptyError, match="not empty"):
        exported(conninfo, conninfo)


def test_what_is_interrupted_leaves_nothing_half_done(
    conninfo: str, target: str, settings: Settings, tmp_path: Path
) -> None:
    synced(settings, conninfo, library_folder(tmp_path))
    prepare(target)

    def interrupt(stage: str) -> None:
        if stage.startswith("building"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(conninfo, target, 16, 64, interrupt)
    with psycopg.connect(target) as connection:
        assert connection.execute("select count(*) from documents").fetchone() == (0,)
        assert connection.execute("select to_regclass('vectors_1')").fetchone() == (None,)
    assert exported(conninfo, target)["documents"] == 2


def test_ctrl_c_of_the_command_leaves_nothing_half_done(
    conninfo: str, target: str, settings: Settings, tmp_path: Path
) -> None:
    synced(settings, conninfo, library_folder(tmp_path))
    prepare(target)
    with psycopg.connect(target) as blocking:
        blocking.execute("lock table chunks in access exclusive mode")
        command = [sys.executable, "-m", "pgfolio.flows", "export", "--to", target]
        with subprocess.Popen(
            command, env=environment(conninfo), stderr=subprocess.PIPE, text=True
        ) as process:
            until_waiting(target)
            os.kill(process.pid, signal.SIGINT)
            _, said = process.communicate(timeout=20)
        assert process.returncode == 130, said
        blocking.rollback()
    with psycopg.connect(target) as connection:
        assert connection.execute("select count(*) from collections").fetchone() == (0,)


def until_waiting(conninfo: str) -> None:
    with psycopg.connect(conninfo, autocommit=True) as connection:
        for _ in range(200):
            if connection.execute(
                "select 1 from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
            ).fetchone():
                return
            time.sleep(0.05)
    pytest.fail("nothing waits")


def test_the_command_says_what_to_do_next_without_a_password(
    conninfo: str, target: str, settings: Settings, tmp_path: Path
) -> None:
    synced(settings, conninfo, library_folder(tmp_path))
    done = pgfolio(conninfo, "export", "--to", make_conninfo(target, password="s3cret"))
    assert done.returncode == 0, done.stderr
    assert "copied 2 documents" in done.stdout + done.stderr
    assert "s3cret" not in done.stdout + done.stderr
    again = pgfolio(conninfo, "export", "--to", target)
    assert (again.returncode, "not empty" in again.stderr) == (1, True)


def test_a_target_that_cannot_be_reached_is_a_sentence(conninfo: str) -> None:
    with pytest.raises(DatabaseError, match="cannot reach"):
        exported(conninfo, "postgresql://127.0.0.1:1/none")
