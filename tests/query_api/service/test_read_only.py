"""A database that takes no writes, as a replica, or after a failover: what only reads goes on, with keys."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpx
import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from pgfolio.query_api.auth.keyring import MAX_AGE_SECONDS
from pgfolio.schema.database.connect import connect
from tests.query_api.auth.test_keys import pgfolio, served
from tests.query_api.library import make_key, running_api, stock
from tests.query_api.service.test_operations import until
from tests.query_api.service.test_problems import check

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pgfolio.config.settings import Settings

QUESTION = {"query": "how is a failed task retried"}


@contextmanager
def writes_refused(conninfo: str, postgres: str) -> Iterator[None]:
    """As after a failover: every connection is lost, and new ones only read."""
    name = sql.Identifier(str(conninfo_to_dict(conninfo)["dbname"]))

    def turn(to: str) -> None:
        change = sql.SQL("alter database {} set default_transaction_read_only = {}")
        connection.execute(change.format(name, sql.SQL(to)))
        connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s",
            [name.as_string().strip('"')],
        )

    with psycopg.connect(postgres, autocommit=True) as connection:
        turn("on")
        try:
            yield
        finally:
            turn("off")


@contextmanager
def reader(conninfo: str) -> Iterator[str]:
    """The connection string of a role that may select, and nothing else."""
    with connect(conninfo) as connection:
        connection.execute("create role pgfolio_reader login")
        connection.execute("grant select on all tables in schema public to pgfolio_reader")
    try:
        yield make_conninfo(conninfo, user="pgfolio_reader")
    finally:
        with connect(conninfo) as connection:
            connection.execute("drop owned by pgfolio_reader")
            connection.execute("drop role pgfolio_reader")


def check_reads(client: httpx.Client) -> None:
    for _ in range(3):
        assert client.post("/search", json=QUESTION).json()["results"]
        assert client.post("/ask", json={"question": QUESTION["query"]}).json()["answered"]
        for path in ("/documents", "/documents/1", "/collections", "/status", "/metrics"):
            assert client.get(path).status_code == 200, path
    for refused in (
        client.post("/documents", json={"title": "a", "content": "b"}),
        client.delete("/documents/1"),
    ):
        assert "writes" in check(refused, 503, "database-unavailable")["detail"]


@pytest.mark.long
def test_a_failover_to_a_reader_locks_no_key_out(settings: Settings, conninfo: str, postgres: str) -> None:
    stock(conninfo, settings)
    key = make_key(conninfo, "admin")
    with running_api(settings, conninfo) as client:
        client.headers["Authorization"] = f"Bearer {key}"
        assert client.get("/health/ready").json()["degraded"] == []
        with writes_refused(conninfo, postgres):
            until(lambda: client.post("/search", json=QUESTION).status_code == 200)
            end = time.monotonic() + MAX_AGE_SECONDS + 0.5
            while time.monotonic() < end:
                assert client.post("/search", json=QUESTION).status_code == 200
                time.sleep(0.1)
            check_reads(client)
            ready = client.get("/health/ready")
            assert ready.status_code == 200
            assert [text.split(":")[0] for text in ready.json()["degraded"]] == ["key use", "traces"]
        until(lambda: client.get("/health/ready").json()["degraded"] == [])
        trace = client.post("/search", json=QUESTION).json()["trace_id"]
        assert client.get(f"/traces/{trace}").status_code == 200


def test_a_key_that_is_revoked_while_writes_are_refused_opens_nothing(
    settings: Settings, conninfo: str, postgres: str
) -> None:
    """Keys are still read: here the revocation is made by a connection that says that it may write."""
    stock(conninfo, settings)
    key = make_key(conninfo)
    with running_api(settings, conninfo) as client, writes_refused(conninfo, postgres):
        client.headers["Authorization"] = f"Bearer {key}"
        until(lambda: client.post("/search", json=QUESTION).status_code == 200)
        with psycopg.connect(conninfo, options="-c default_transaction_read_only=off") as connection:
            connection.execute("update api_keys set revoked_at = now()")
        until(lambda: client.post("/search", json=QUESTION).status_code == 401)


def test_the_api_is_served_by_a_role_that_only_reads(
    settings: Settings, conninfo: str, new_settings: Callable[..., Settings]
) -> None:
    stock(conninfo, settings)
    key = make_key(conninfo, "admin")
    with reader(conninfo) as reading, served(reading) as (process, url):
        with client_of(url, key) as client:
            check_reads(client)
            time.sleep(2)
            check_reads(client)
            assert len(client.get("/health/ready").json()["degraded"]) == 2
        process.terminate()
        assert process.stderr is not None
        faults = [line for line in process.stderr.read().splitlines() if '"background"' in line]
        assert len(faults) == 2, faults  # once each, not once a round
        assert all("InsufficientPrivilege" in line for line in faults)


def test_a_role_that_may_not_even_read_is_told_what_it_lacks(settings: Settings, conninfo: str) -> None:
    stock(conninfo, settings)
    with reader(conninfo) as reading:
        with connect(conninfo) as connection:
            connection.execute("revoke select on documents from pgfolio_reader")
        with running_api(settings, reading) as client:
            detail = check(client.get("/documents"), 503, "database-unavailable")["detail"]
            assert "documents" in detail
            assert "grant" in detail


@pytest.mark.parametrize("command", ["search", "status"])
def test_commands_that_read_need_no_right_to_write(settings: Settings, conninfo: str, command: str) -> None:
    stock(conninfo, settings)
    with reader(conninfo) as reading:
        done = pgfolio(reading, *([command, "retry"] if command == "search" else [command]))
        assert done.returncode == 0, done.stderr


def client_of(url: str, key: str) -> httpx.Client:
    return httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=20)


def test_migrations_that_are_missing_are_told_where_nothing_can_be_written(
    conninfo: str, postgres: str
) -> None:
    with connect(conninfo) as connection:
        connection.execute("delete from _yoyo_migration where migration_id like '0001%'")
    with writes_refused(conninfo, postgres):
        done = pgfolio(conninfo, "search", "retry")
    assert (done.returncode, done.stdout) == (1, "")
    assert "takes no writes" in done.stderr
    assert "Traceback" not in done.stderr
