"""A database that stands still, and clients that do not wait: every request ends in time, and its work with it."""

from __future__ import annotations

import os
import signal
import socket
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from pgfolio.schema.database.connect import connect
from tests.query_api.library import make_key, running_api, stock
from tests.query_api.service.test_operations import until
from tests.query_api.service.test_problems import check

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pgfolio.config.settings import Settings

QUESTION = {"query": "how is a failed task retried"}


@contextmanager
def frozen(conninfo: str, postgres: str) -> Iterator[None]:
    """Inside, the database's processes stand still: whoever asks them gets no answer and no error."""
    with psycopg.connect(postgres, autocommit=True) as connection:
        name = conninfo_to_dict(conninfo)["dbname"]
        pids = [
            row[0]
            for row in connection.execute("select pid from pg_stat_activity where datname = %s", [name])
        ]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)


def statements_waiting(conninfo: str) -> int:
    """Of the API, for a lock."""
    with connect(conninfo) as connection:
        row = connection.execute(
            "select count(*) from pg_stat_activity where application_name = 'pgfolio-api' and "
            "wait_event_type = 'Lock' and datname = current_database()"
        ).fetchone()
    return int(row[0]) if row else 0


@pytest.mark.parametrize("method", ["POST /search", "POST /ask", "GET /documents"])
def test_a_database_that_stands_still_costs_no_request_more_than_its_timeout(
    conninfo: str, new_settings: Callable[..., Settings], postgres: str, method: str
) -> None:
    settings = new_settings(database_url=conninfo, api={"timeout": 1.5, "log": "off"})
    stock(conninfo, settings)
    key = make_key(conninfo)
    verb, path = method.split()
    body = {"POST /search": QUESTION, "POST /ask": {"question": QUESTION["query"]}}.get(method)
    with running_api(settings, conninfo) as client:
        client.headers["X-API-Key"] = key
        assert client.request(verb, path, json=body).status_code == 200
        with frozen(conninfo, postgres):
            for _ in range(2):
                began = time.monotonic()
                answer = client.request(verb, path, json=body)
                assert time.monotonic() - began < 4.0
                assert answer.json()["detail"]
                check(answer, 503, answer.json()["type"].rpartition(":")[2])
            assert client.get("/health/live").status_code == 200
        until(lambda: client.request(verb, path, json=body).status_code == 200)


@pytest.mark.parametrize("path", ["/search", "/ask"])
def test_a_client_that_leaves_ends_its_statement(conninfo: str, settings: Settings, path: str) -> None:
    stock(conninfo, settings)
    body = b'{"query": "task"}' if path == "/search" else b'{"question": "task"}'
    with running_api(settings, conninfo) as client, connect(conninfo) as other:
        other.execute("lock table documents in access exclusive mode")

        with socket.create_connection((client.base_url.host, client.base_url.port or 0)) as leaving:
            leaving.sendall(
                f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(body)}\r\n\r\n".encode()
                + body
            )
            until(lambda: statements_waiting(conninfo) == 1)
        until(lambda: statements_waiting(conninfo) == 0, 3.0)
        other.rollback()
        assert client.post("/search", json=QUESTION).status_code == 200
