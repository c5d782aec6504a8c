"""`api.database_url`: what is read comes from a replica, and from the primary where that cannot answer."""

from __future__ import annotations

import shutil
import tempfile
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from pgfolio.query_api.auth.keyring import MAX_AGE_SECONDS
from pgfolio.schema.database.connect import database, prepare
from pgfolio.schema.database.errors import DatabaseError
from pgfolio.schema.search.pool import POOL_TIMEOUT, REPLICA_TIMEOUT
from tests.query_api.auth.test_keys import pgfolio, served
from tests.query_api.library import LOCAL, asking, make_key, running_api, stock, switch, unreachable
from tests.query_api.service.test_operations import numbers
from tests.standby import primary, promote, standby, stop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pgfolio.config.settings import Settings

QUESTION = {"query": "how is a failed task retried"}
GONE = "postgresql://127.0.0.1:1/gone"


@pytest.fixture
def copy(conninfo: str, settings: Settings, postgres: str) -> Iterator[str]:
    """A stocked database's copy: a replica that hears of nothing since."""
    stock(conninfo, settings)
    name = f"{conninfo_to_dict(conninfo)['dbname']}_copy"
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(
            sql.SQL("create database {} template {}").format(
                sql.Identifier(name), sql.Identifier(str(conninfo_to_dict(conninfo)["dbname"]))
            )
        )
        yield make_conninfo(postgres, dbname=name)
        connection.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


@pytest.fixture
def with_replica(new_settings: Callable[..., Settings], conninfo: str) -> Callable[[str], Settings]:
    return lambda replica: new_settings(database_url=conninfo, api={"database_url": replica})


def title(client: httpx.Client) -> str:
    answer = client.post("/search", json=QUESTION)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["results"][0]["title"])


def renamed(conninfo: str) -> None:
    with psycopg.connect(conninfo) as connection:
        connection.execute("update documents set title = 'Of the replica'")


def test_it_reads_from_the_replica_and_writes_to_the_primary(
    conninfo: str, copy: str, with_replica: Callable[[str], Settings]
) -> None:
    renamed(copy)
    with running_api(with_replica(copy), conninfo) as client:
        assert title(client) == "Of the replica"
        pushed = client.post("/documents", json={"title": "a", "content": "b"})
        assert pushed.status_code == 202
        assert client.get(pushed.headers["Location"]).json()["state"] == "pending"
        trace = client.post("/search", json=QUESTION).json()["trace_id"]
        assert client.get(f"/traces/{trace}").status_code == 200
    with psycopg.connect(copy) as connection:
        assert connection.execute("select count(*) from pushes").fetchone() == (0,)


@pytest.mark.parametrize(
    "behind",
    [
        "alter table chunks drop column heading cascade",
        "drop function shown(jsonb) cascade",
        "drop table vectors_1 cascade",
        "drop table posting_segments cascade",
    ],
)
def test_a_replica_that_lacks_a_migration_or_a_generation_costs_a_retry(
    conninfo: str, copy: str, with_replica: Callable[[str], Settings], behind: str
) -> None:
    with psycopg.connect(copy) as connection:
        connection.execute(behind.encode())
    with running_api(with_replica(copy), conninfo) as client:
        for _ in range(3):
            assert title(client) == "Retrying failed tasks"
            assert client.post("/ask", json={"question": QUESTION["query"]}).status_code == 200


def test_a_replica_that_is_behind_a_switch_answers_from_its_own_generation(
    conninfo: str, copy: str, with_replica: Callable[[str], Settings], settings: Settings
) -> None:
    from dataclasses import replace

    with running_api(with_replica(copy), conninfo) as client:
        title(client)
        switch(conninfo, settings, replace(LOCAL, dimensions=128), drop=True)
        for _ in range(3):
            title(client)
        with psycopg.connect(copy, autocommit=True) as connection:
            connection.execute("drop table vectors_1 cascade")
        for _ in range(3):
            title(client)


def test_a_replica_that_was_never_there_costs_no_answer(
    conninfo: str, copy: str, with_replica: Callable[[str], Settings]
) -> None:
    with database(with_replica(GONE), pooled=True) as used, running_api(with_replica(GONE), used) as client:
        for _ in range(3):
            title(client)


def test_a_replica_that_goes_and_comes_costs_a_retry(
    conninfo: str, copy: str, with_replica: Callable[[str], Settings], postgres: str
) -> None:
    renamed(copy)
    name = sql.Identifier(str(conninfo_to_dict(copy)["dbname"]))
    allow = sql.SQL("alter database {} with allow_connections {}")
    with running_api(with_replica(copy), conninfo) as client:
        assert title(client) == "Of the replica"
        with psycopg.connect(postgres, autocommit=True) as connection:
            connection.execute(allow.format(name, sql.SQL("false")))
            connection.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s",
                [conninfo_to_dict(copy)["dbname"]],
            )
            began = time.monotonic()
            for _ in range(20):
                assert title(client) == "Retrying failed tasks"
            assert time.monotonic() - began < REPLICA_TIMEOUT + 2
            connection.execute(allow.format(name, sql.SQL("true")))


@pytest.mark.long
def test_keys_are_read_from_the_replica_while_the_primary_is_gone(
    conninfo: str, copy: str, with_replica: Callable[[str], Settings], postgres: str
) -> None:
    key = make_key(conninfo)
    make_key(copy)
    with psycopg.connect(conninfo) as one, psycopg.connect(copy) as other:
        row = one.execute("select hash from api_keys").fetchone()
        other.execute("update api_keys set hash = %s", row)
    with running_api(with_replica(copy), conninfo) as client:
        client.headers["Authorization"] = f"Bearer {key}"
        title(client)
        with unreachable(conninfo, postgres):
            time.sleep(MAX_AGE_SECONDS + 1)
            assert title(client) == "Retrying failed tasks"


def test_a_replica_that_rests_is_asked_while_the_primary_is_gone(
    conninfo: str, copy: str, with_replica: Callable[[str], Settings], postgres: str
) -> None:
    with running_api(with_replica(copy), conninfo) as client:
        title(client)
        with psycopg.connect(copy, autocommit=True) as connection:
            connection.execute("alter function shown(jsonb) rename to hidden")
            title(client)
            connection.execute("alter function hidden(jsonb) rename to shown")
        with unreachable(conninfo, postgres):
            assert title(client) == "Retrying failed tasks"


def test_a_replica_of_another_database_is_refused(
    conninfo: str, copy: str, with_replica: Callable[[str], Settings]
) -> None:
    with pytest.raises(DatabaseError, match="two databases"), database(with_replica(copy), pooled=True):
        pass


@contextmanager
def keys_in_both(conninfo: str, copy: str) -> Iterator[str]:
    """A key that both databases know."""
    secret = make_key(conninfo, "admin")
    with psycopg.connect(conninfo) as one, psycopg.connect(copy) as other:
        row = one.execute("select name, prefix, hash, scope from api_keys").fetchone()
        other.execute("insert into api_keys (name, prefix, hash, scope) values (%s, %s, %s, %s)", row)
    yield secret


@pytest.mark.long
def test_it_starts_while_the_primary_is_gone_and_goes_on_when_that_is_back(
    conninfo: str, copy: str, postgres: str
) -> None:
    """As a command, listening to a network, with two workers: keys, searches and `/status` are of the replica."""
    renamed(copy)
    with keys_in_both(conninfo, copy) as key, unreachable(conninfo, postgres) as back:
        values = {"PGFOLIO_API__DATABASE_URL": copy, "PGFOLIO_API__WORKERS": "2"}
        with (
            served(conninfo, "--host", "0.0.0.0", **values) as (_, url),  # noqa: S104
            httpx.Client(base_url=url) as client,
        ):
            client.headers["Authorization"] = f"Bearer {key}"
            assert title(client) == "Of the replica"
            assert client.get("/status").json()["sources"]
            assert client.get("/health/ready").status_code == 200
            assert client.get("/metrics").status_code == 200
            assert client.post("/documents", json={"title": "a", "content": "b"}).status_code == 503
            back()
            pushed = client.post("/documents", json={"title": "a", "content": "b"})
            assert pushed.status_code == 202
            assert client.get(pushed.headers["Location"]).json()["state"] == "pending"
            assert title(client) == "Of the replica"


def test_a_replica_that_cannot_serve_alone_is_a_sentence_at_the_start(
    conninfo: str, copy: str, with_replica: Callable[[str], Settings], postgres: str
) -> None:
    with psycopg.connect(copy) as connection:
        connection.execute("delete from _yoyo_migration where migration_id like '0051%'")
    with unreachable(conninfo, postgres):
        for replica, sentence in ((copy, "lacks the migration 0051"), (GONE, "cannot reach the database")):
            refused = pytest.raises(DatabaseError, match=sentence)
            with refused, database(with_replica(replica), pooled=True):
                pass


@pytest.mark.long
def test_a_database_that_was_gone_for_a_while_is_used_as_soon_as_it_is_back(
    conninfo: str, settings: Settings, postgres: str
) -> None:
    """The pool's own pauses between two tries grow to minutes, in which it lets nobody else try."""
    stock(conninfo, settings)
    with running_api(settings, conninfo) as client:
        title(client)
        with unreachable(conninfo, postgres):
            until = time.monotonic() + 16.5
            while time.monotonic() < until:
                assert client.post("/search", json=QUESTION).status_code == 503
        back = time.monotonic()
        while client.post("/search", json=QUESTION).status_code != 200:
            assert time.monotonic() - back < POOL_TIMEOUT + 1


@pytest.mark.long
def test_a_real_standby_is_read_lags_is_promoted_and_goes(
    new_settings: Callable[..., Settings],
) -> None:
    """Searches go on all the time, with keys: while the primary dies, the standby is promoted, and ends itself."""
    homes = Path(tempfile.mkdtemp(prefix="pgfolio-standby-"))
    homes.chmod(0o755)
    with primary(homes / "a") as conninfo, standby(homes / "b", homes / "a") as replica:
        prepare(conninfo)
        settings = new_settings(database_url=conninfo, api={"database_url": replica})
        stock(conninfo, settings)
        key = make_key(conninfo)
        with database(settings, pooled=True) as used, running_api(settings, used) as client:
            client.headers["Authorization"] = f"Bearer {key}"
            with asking(client, QUESTION) as answers:
                trace = client.post("/search", json=QUESTION).json()["trace_id"]
                assert client.get(f"/traces/{trace}").status_code == 200
                assert told(client) == {"replica_follows": 1, "replica_lag_seconds": 0}
                pause(replica, "pg_wal_replay_pause")
                switch(conninfo, settings, replace(LOCAL, dimensions=128), drop=True)
                time.sleep(1)
                assert 1 < told(client)["replica_lag_seconds"] < 10
                check_behind(conninfo, replica)
                pause(replica, "pg_wal_replay_resume")
                time.sleep(1)
                stop(homes / "a")  # started again within seconds
                time.sleep(4)
                promote(replica)
                assert told(client) == {"replica_follows": 0}
                time.sleep(1)
                stop(homes / "b")
                time.sleep(3)
            assert len(answers) > 20
            assert {problem for problem, _ in answers} == {""}
            assert max(seconds for _, seconds in answers) < POOL_TIMEOUT + 1
    shutil.rmtree(homes, ignore_errors=True)


def told(client: httpx.Client) -> dict[str, float]:
    """What Prometheus is told of the replica."""
    shown = {name.removeprefix("pgfolio_"): value for (name, _), value in numbers(client).items()}
    return {name: value for name, value in shown.items() if name.startswith("replica")}


def check_behind(conninfo: str, replica: str) -> None:
    values = {"PGFOLIO_API__DATABASE_URL": replica, "PGFOLIO_MONITORING__REPLICA_LAG_SECONDS": "0.5"}
    done = pgfolio(conninfo, "status", "--check", "--only", "replica", **values)
    assert (done.returncode, "behind its primary" in done.stdout) == (1, True), done.stdout + done.stderr


def pause(conninfo: str, function: str) -> None:
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute(sql.SQL("select {}()").format(sql.Identifier(function)))
