"""PgBouncer in transaction mode between pgfolio and PostgreSQL, as a process."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from pgfolio.flows.run.options import FailedError
from pgfolio.schema.corpus import sources
from pgfolio.schema.corpus.sources import SourceBusyError
from pgfolio.schema.database.connect import connect, database
from pgfolio.schema.database.errors import DatabaseError
from pgfolio.schema.database.statements import statement
from pgfolio.schema.search.pool import in_snapshot, open_pool
from tests.databases import empty_database
from tests.job import check_answers, do_job, library_folder, synced
from tests.pgbouncer import pgbouncer
from tests.query_api.library import running_api, stock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pgfolio.config.settings import Settings
    from pgfolio.schema.database.connect import AsyncConnection


@pytest.fixture
def behind(conninfo: str, new_settings: Callable[..., Settings]) -> Callable[[str], Settings]:
    """The settings of who is given a pooler's URL, and PostgreSQL's own for the few that need it."""
    return lambda pooled: new_settings(database_url=pooled, database_direct_url=conninfo)


def test_the_whole_job_is_done_through_a_pooler(
    conninfo: str, behind: Callable[[str], Settings], tmp_path: Path
) -> None:
    with pgbouncer(conninfo) as pooled:
        do_job(behind(pooled), behind(pooled), library_folder(tmp_path))


def test_sessions_that_are_shared_keep_no_setting_of_ours(
    conninfo: str, behind: Callable[[str], Settings]
) -> None:
    """A statement's time limit, or commits that are not waited for, would be a stranger's next."""
    settings = behind(conninfo)
    stock(conninfo, settings)
    with pgbouncer(conninfo, size=2) as pooled, running_api(behind(pooled), pooled) as client:
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(lambda _: client.post("/search", json={"query": "retries"}), range(40)))
        with psycopg.connect(pooled) as one, psycopg.connect(pooled) as two, psycopg.connect(conninfo) as own:
            shared = [in_force(one), in_force(two)]
            assert shared == [in_force(own)] * 2


def test_no_plan_is_compiled_behind_a_pooler(conninfo: str) -> None:
    """On Debian's PostgreSQL, whose `jit` is on, that took 0.6 s for a search of 20 ms."""
    with psycopg.connect(conninfo) as connection:
        name = sql.Identifier(connection.info.dbname)
        connection.execute(sql.SQL("alter database {} set jit = on").format(name))

    async def asked(pooled: str) -> object:
        async def read(connection: AsyncConnection) -> object:
            return await (await connection.execute("select current_setting('jit')")).fetchone()

        async with open_pool(pooled, 2, 40, longest=5) as pool:
            return await in_snapshot(pool, read)

    with pgbouncer(conninfo) as pooled, psycopg.connect(pooled) as other:
        assert asyncio.run(asked(pooled)) == ("off",)
        assert other.execute("select current_setting('jit')").fetchone() == ("on",)


def in_force(connection: psycopg.Connection[tuple[object, ...]]) -> tuple[object, ...] | None:
    """What is set in a session, and how many statements are prepared there."""
    return connection.execute(
        "select current_setting('statement_timeout'), current_setting('synchronous_commit'),"
        " current_setting('jit'), (select count(*) from pg_prepared_statements)"
    ).fetchone()


def test_a_statement_takes_no_longer_than_allowed_through_a_pooler(conninfo: str) -> None:
    def sleep(pooled: str) -> None:
        with connect(pooled, timeout=0.05) as connection:
            connection.execute("select pg_sleep(5)")

    with pgbouncer(conninfo) as pooled, pytest.raises(DatabaseError, match="took longer"):
        sleep(pooled)


def test_two_syncs_of_one_source_through_a_pooler_are_not_run_at_once(
    conninfo: str, behind: Callable[[str], Settings], tmp_path: Path
) -> None:
    root = library_folder(tmp_path)
    with pgbouncer(conninfo) as pooled, database(behind(pooled)) as direct, connect(direct) as connection:
        source = sources.ensure_source(connection, str(root), name="library")
        connection.commit()
        busy = pytest.raises((SourceBusyError, FailedError), match="another sync")
        with sources.owned(connection, source), busy:
            synced(behind(pooled), direct, root)
        assert synced(behind(pooled), direct, root) == {"added": 2}


@pytest.mark.parametrize("size", [1, 2, 30])
def test_flows_refuse_a_pooler_alone(conninfo: str, new_settings: Callable[..., Settings], size: int) -> None:
    with pgbouncer(conninfo, size=size) as pooled:
        settings = new_settings(database_url=pooled)
        with pytest.raises(DatabaseError, match="PGFOLIO_DATABASE_DIRECT_URL"), database(settings):
            pass
        mistaken = new_settings(database_url=conninfo, database_direct_url=pooled)
        with pytest.raises(DatabaseError, match="in transaction mode"), database(mistaken):
            pass


def test_flows_refuse_a_pooler_that_others_use(conninfo: str, new_settings: Callable[..., Settings]) -> None:
    """Whose sessions change hands all the time, so that none comes back to a witness."""
    with pgbouncer(conninfo, size=8) as pooled:
        busy = [psycopg.connect(pooled, autocommit=True, prepare_threshold=None) for _ in range(4)]
        going_on = True

        def ask(connection: psycopg.Connection[tuple[object, ...]]) -> None:
            while going_on:
                connection.execute("select pg_sleep(0.002)")

        with ThreadPoolExecutor(4) as threads:
            for connection in busy:
                threads.submit(ask, connection)
            try:
                for _ in range(5):
                    refused = pytest.raises(DatabaseError, match="transaction mode")
                    with refused, database(new_settings(database_url=pooled)):
                        pass
            finally:
                going_on = False
        for connection in busy:
            connection.close()


@pytest.mark.parametrize("size", [pytest.param(2, marks=pytest.mark.long), 30])
def test_a_pooler_that_leaves_each_client_its_session_is_no_obstacle(
    conninfo: str, new_settings: Callable[..., Settings], size: int
) -> None:
    with (
        pgbouncer(conninfo, "session", size) as pooled,
        database(new_settings(database_url=pooled)) as used,
        connect(used) as connection,
    ):
        lock = {"lock_class": 1, "lock_id": 1}
        assert connection.execute(statement("lock_session"), lock).fetchone() == (True,)


def test_the_api_is_content_with_a_pooler_alone(
    conninfo: str, new_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    direct = new_settings(database_url=conninfo)
    synced(direct, conninfo, library_folder(tmp_path))
    with (
        pgbouncer(conninfo) as pooled,
        database(new_settings(database_url=pooled), pooled=True) as used,
        running_api(new_settings(database_url=pooled), used) as client,
    ):
        check_answers(client)
        trace = client.post("/search", json={"query": "stripes"}).json()["trace_id"]
        assert client.get(f"/traces/{trace}").status_code == 200


def test_migrations_are_not_made_through_a_pooler(
    postgres: str, new_settings: Callable[..., Settings]
) -> None:
    with empty_database(postgres, "test_unmigrated") as conninfo, pgbouncer(conninfo) as pooled:
        settings = new_settings(database_url=pooled)
        with pytest.raises(DatabaseError, match="DIRECT_URL"), database(settings, pooled=True):
            pass


def test_two_urls_of_two_databases_are_refused(
    conninfo: str, postgres: str, new_settings: Callable[..., Settings]
) -> None:
    other = make_conninfo(postgres, dbname="pgfolio_template")
    with pgbouncer(other) as pooled:
        settings = new_settings(database_url=pooled, database_direct_url=conninfo)
        with pytest.raises(DatabaseError, match="two databases"), database(settings, pooled=True):
            pass
