"""The service stays up under more than it can do: rates, a full pool, slow statements, requests without an end."""

from __future__ import annotations

import asyncio
import random
import socket
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import psycopg
import pytest

from pgfolio.query_api.auth.rate_limit import CallerRateLimiter
from pgfolio.schema.database.errors import DatabaseError
from pgfolio.schema.search.pool import in_snapshot, open_pool
from pgfolio.schema.search.vector import active_generation, nearest
from tests.fakes.openai_server import KEY, FakeOpenAI, FaultScenario
from tests.query_api.library import make_key, running_api, stock, stock_hosted
from tests.query_api.service.test_problems import check

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgfolio.config.settings import Settings
    from pgfolio.schema.database.connect import AsyncConnection
    from pgfolio.schema.search.pool import Pool


def test_each_key_has_its_own_rate_limit_and_a_retry_after(
    settings: Settings, conninfo: str, new_settings: Callable[..., Settings]
) -> None:
    stock(conninfo, settings)
    first, second = make_key(conninfo), make_key(conninfo)
    limited = new_settings(database_url=conninfo, api={"requests_per_minute": 6})
    with running_api(limited, conninfo) as client:
        answers = [client.get("/documents", headers={"X-API-Key": first}) for _ in range(8)]
        assert Counter(answer.status_code for answer in answers) == {200: 6, 429: 2}
        check(answers[-1], 429, "too-many-requests")
        assert 1 <= int(answers[-1].headers["Retry-After"]) <= 10
        assert client.get("/documents", headers={"X-API-Key": second}).status_code == 200
        assert client.get("/documents").status_code == 401
        assert {client.get("/health/live").status_code for _ in range(10)} == {200}
        metrics = client.get("/metrics", headers={"X-API-Key": second}).text
    assert 'pgfolio_refused_total{reason="rate_limited"} ' in metrics


def test_an_open_api_limits_each_address(library: str, new_settings: Callable[..., Settings]) -> None:
    limited = new_settings(database_url=library, api={"requests_per_minute": 3})
    with running_api(limited, library) as client:
        spoofed = [{"X-Forwarded-For": f"10.0.0.{n}", "Forwarded": f"for=10.0.0.{n}"} for n in range(5)]
        codes = [client.get("/documents", headers=headers).status_code for headers in spoofed]
    assert codes == [200, 200, 200, 429, 429]


def test_an_allowance_comes_back_evenly() -> None:
    limiter = CallerRateLimiter(600)
    taken = sum(limiter.retry_after("a") == 0.0 for _ in range(700))
    assert 600 <= taken <= 605
    time.sleep(max(limiter.retry_after("a"), 0.01))
    assert limiter.retry_after("a") == 0.0
    assert {CallerRateLimiter(0).retry_after("a") for _ in range(10)} == {0.0}


def test_a_burst_gets_answers_or_is_turned_away_at_once(
    library: str, new_settings: Callable[..., Settings]
) -> None:
    tight = new_settings(database_url=library, api={"pool_size": 2, "max_waiting": 10})

    async def burst(url: str) -> list[httpx.Response]:
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(base_url=url, timeout=20, limits=limits) as client:
            body = {"query": "retry a failed task"}
            requests = [client.post("/search", json={**body, "exact": n % 2 == 0}) for n in range(200)]
            return await asyncio.gather(*requests)

    with running_api(tight, library) as client:
        began = time.monotonic()
        answers = asyncio.run(burst(str(client.base_url)))
        took = time.monotonic() - began
        assert client.post("/search", json={"query": "task"}).status_code == 200
    codes = Counter(answer.status_code for answer in answers)
    assert set(codes) == {200, 503}
    assert took < 15
    turned_away = next(answer for answer in answers if answer.status_code == 503)
    check(turned_away, 503, "busy")
    assert int(turned_away.headers["Retry-After"]) >= 1


def test_a_statement_that_takes_too_long_is_ended(
    conninfo: str, settings: Settings, new_settings: Callable[..., Settings]
) -> None:
    stock(conninfo, settings)
    short = new_settings(database_url=conninfo, api={"statement_timeout": 0.3, "pool_size": 1})
    with running_api(short, conninfo) as client, psycopg.connect(conninfo) as other:
        other.execute("lock table documents, sources in access exclusive mode")
        for method, path, body in (("POST", "/search", {"query": "task"}), ("GET", "/status", None)):
            began = time.monotonic()
            answer = client.request(method, path, json=body)
            assert time.monotonic() - began < 2.0
            assert "STATEMENT_TIMEOUT" in check(answer, 503, "database-unavailable")["detail"]
        other.rollback()
        assert client.post("/search", json={"query": "task"}).json()["total_returned"] > 0


def test_no_request_runs_for_ever_and_the_next_is_answered(
    conninfo: str, settings: Settings, new_settings: Callable[..., Settings]
) -> None:
    stock(conninfo, settings)
    short = new_settings(database_url=conninfo, api={"timeout": 0.5, "pool_size": 1})
    body: dict[str, Any] = {"query": "task", "mode": "vector", "limit": 3}
    with running_api(short, conninfo) as client, psycopg.connect(conninfo) as other:
        results = client.post("/search", json=body).json()["results"]
        other.execute("lock table documents in access exclusive mode")
        for slow_body in (body, {**body, "mode": "hybrid"}):
            answer = client.post("/search", json=slow_body)
            check(answer, 503, "took-too-long")
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
        other.rollback()
        assert client.post("/search", json=body).json()["results"] == results
        assert client.post("/search", json={**body, "ef_search": 7}).json()["results"] == results


def test_a_search_that_is_ended_leaves_its_connection_as_it_was(conninfo: str, settings: Settings) -> None:
    stock(conninfo, settings)

    async def ended() -> bool:
        async with open_pool(conninfo, 1, 64) as pool:
            generation = await in_snapshot(pool, active_generation)
            assert generation is not None
            vector = np.ones(generation.space.dimensions)
            search = partial(
                nearest, generation=generation, vector=vector, limit=3, ef_search=64, permitted=None
            )
            with psycopg.connect(conninfo) as other:
                other.execute("lock table documents in access exclusive mode")
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(in_snapshot(pool, search), 0.3)
            async with pool.connection() as connection:
                return connection.autocommit

    assert asyncio.run(ended()) is False


def test_requests_that_are_ended_at_any_moment_leave_every_connection_in_the_pool(conninfo: str) -> None:
    chance = random.Random(1)

    async def ended(pool: Pool) -> None:
        for _ in range(300):
            with suppress(TimeoutError, DatabaseError):
                async with asyncio.timeout(chance.expovariate(1 / 0.002)):
                    await in_snapshot(pool, active_generation)

    async def all_are_usable() -> bool:
        barrier = asyncio.Barrier(4)

        async def at_once(_: AsyncConnection) -> int:
            return await barrier.wait()

        async with open_pool(conninfo, 4, 64) as pool:
            await asyncio.gather(*(ended(pool) for _ in range(16)))
            async with asyncio.timeout(10):
                return len(await asyncio.gather(*(in_snapshot(pool, at_once) for _ in range(4)))) == 4

    assert asyncio.run(all_are_usable())


def test_a_body_that_trickles_in_is_given_up(library: str, new_settings: Callable[..., Settings]) -> None:
    short = new_settings(database_url=library, api={"timeout": 0.5})
    with running_api(short, library) as client:
        port = client.base_url.port or 0
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(b"POST /search HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
            assert b" 503 " in connection.recv(1000)


@pytest.mark.long
def test_a_body_that_goes_on_trickling_in_after_its_answer_is_disconnected(api: httpx.Client) -> None:
    with socket.create_connection(("127.0.0.1", api.base_url.port or 0), timeout=5) as connection:
        connection.sendall(b"POST /search HTTP/1.1\r\nHost: elsewhere\r\nContent-Length: 100000\r\n\r\n{")
        assert b" 403 " in connection.recv(10_000)
        began = time.monotonic()
        with suppress(ConnectionError):
            while True:
                connection.sendall(b" ")
                assert time.monotonic() < began + 10
                time.sleep(0.3)


@pytest.mark.parametrize(
    "sent", [b"", b"GET /health/live HTTP/1.1\r\n", b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\nGE"]
)
def test_a_head_that_trickles_in_is_given_up(api: httpx.Client, sent: bytes) -> None:
    """The second request of a connection as the first."""
    with socket.create_connection(("127.0.0.1", api.base_url.port or 0), timeout=20) as connection:
        began = time.monotonic()
        connection.sendall(sent)
        while True:
            time.sleep(0.5)
            with suppress(OSError):
                connection.sendall(b"X" if sent else b"")
            connection.settimeout(0.1)
            try:
                if not connection.recv(10_000):
                    break
            except TimeoutError:
                assert time.monotonic() < began + 10
            except ConnectionError:
                break
    assert api.get("/health/live").status_code == 200


def test_a_body_larger_than_the_setting_is_too_large(
    library: str, new_settings: Callable[..., Settings]
) -> None:
    with running_api(new_settings(database_url=library, api={"max_body_kb": 1}), library) as client:
        check(client.post("/search", json={"query": "x" * 2000}), 413, "too-large")
        assert client.post("/search", json={"query": "x"}).status_code == 200


def test_a_chat_server_that_stalls_ends_with_a_problem_and_the_server_goes_on(
    library: str, new_settings: Callable[..., Settings], openai_server: FakeOpenAI
) -> None:
    openai_server.fault_scenario = FaultScenario(delay=3, only="chat")
    chat = new_settings(
        database_url=library, openai_api_key=KEY, openai_base_url=openai_server.url,
        chat={"model": "gpt-4o-mini"}, api={"timeout": 1.0},
    )  # fmt: skip
    with running_api(chat, library) as client, ThreadPoolExecutor() as threads:
        asking = [
            threads.submit(client.post, "/ask", json={"question": "how is a failed task retried"})
            for _ in range(3)
        ]
        live = [timed(client, "/health/live") for _ in range(10)]
        for each in asking:
            check(each.result(), 503, "took-too-long")
    assert sorted(live)[5] < 0.05


def test_concurrent_requests_with_the_same_question_share_one_embedding(
    conninfo: str, new_settings: Callable[..., Settings], openai_server: FakeOpenAI
) -> None:
    settings = stock_hosted(conninfo, new_settings, openai_server)
    openai_server.fault_scenario = FaultScenario(delay=0.3, only="embeddings")
    with running_api(settings, conninfo) as client, ThreadPoolExecutor(16) as threads:
        body = {"query": "what many ask"}
        asking = [threads.submit(client.post, "/search", json=body) for _ in range(16)]
        assert {each.result().status_code for each in asking} == {200}
    assert openai_server.embedded().count("what many ask") == 1


@pytest.mark.parametrize("path", ["/health/live", "/health/ready"])
def test_health_needs_no_allowance(library: str, new_settings: Callable[..., Settings], path: str) -> None:
    with running_api(new_settings(database_url=library, api={"requests_per_minute": 1}), library) as client:
        assert {client.get(path).status_code for _ in range(5)} == {200}


def timed(client: httpx.Client, path: str) -> float:
    began = time.monotonic()
    assert client.get(path).status_code == 200
    return time.monotonic() - began
