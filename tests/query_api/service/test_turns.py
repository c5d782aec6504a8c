"""Requests wait for the database in order, as long as they may, and who is turned away is told when to come again."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg
import pytest

from pgfolio.schema.search.turns import FIRST_ESTIMATE_SECONDS, MARGIN, BusyError, Turns, begin_visit
from tests.query_api.library import running_api, stock, unreachable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    import httpx

    from pgfolio.config.settings import Settings


class Reply(NamedTuple):
    status: int
    headers: dict[str, str]
    body: dict[str, Any]
    took: float


async def post(url: httpx.URL, path: str, fields: dict[str, Any]) -> Reply:
    """On a connection of its own; httpx takes seconds for a thousand at once."""
    began, content = time.monotonic(), json.dumps(fields).encode()
    reader, writer = await asyncio.open_connection(url.host, url.port)
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {len(content)}\r\n\r\n"
    writer.write(head.encode() + content)
    lines, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    first, *rest = lines.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in rest)
    return Reply(int(first.split()[1]), headers, json.loads(body), time.monotonic() - began)


@asynccontextmanager
async def queued(turns: Turns, count: int) -> AsyncIterator[list[asyncio.Task[int]]]:
    """Inside, so many wait behind one whose turn it is; each gives its place in the order of turns."""
    order = iter(range(count))

    async def wait() -> int:
        async with turns.turn():
            return next(order)

    async with turns.turn():
        tasks = [asyncio.create_task(wait()) for _ in range(count)]
        await asyncio.sleep(0)
        yield tasks
    await asyncio.gather(*tasks, return_exceptions=True)


def test_turns_come_in_order_and_never_more_than_so_many_at_once() -> None:
    async def run() -> tuple[list[int], int]:
        turns, inside, most = Turns(3), 0, 0
        order: list[int] = []

        async def one(number: int) -> None:
            nonlocal inside, most
            async with turns.turn():
                order.append(number)
                inside += 1
                most = max(most, inside)
                await asyncio.sleep(0.001)
                inside -= 1

        await asyncio.gather(*(one(n) for n in range(50)))
        assert turns.waiting == 0
        return order, most

    assert asyncio.run(run()) == (list(range(50)), 3)


def test_who_leaves_while_it_waits_takes_no_turn() -> None:
    async def run() -> list[int]:
        turns = Turns(1)
        async with queued(turns, 4) as tasks:
            tasks[0].cancel()
            tasks[2].cancel()
        assert turns.waiting == 0
        async with asyncio.timeout(1), turns.turn():
            return [task.result() for task in tasks if not task.cancelled()]

    assert asyncio.run(run()) == [0, 1]


def test_turns_that_are_left_at_any_moment_are_all_there_in_the_end() -> None:
    async def run() -> None:
        turns = Turns(2)

        async def one(number: int) -> None:
            async with asyncio.timeout(0.001 * (number % 7)), turns.turn():
                await asyncio.sleep(0.001 * (number % 5))

        await asyncio.gather(*(one(n) for n in range(300)), return_exceptions=True)
        async with asyncio.timeout(1), turns.turn(), turns.turn():
            assert turns.waiting == 0

    asyncio.run(run())


def test_who_waited_for_too_long_and_who_finds_no_place_are_told_when_to_come_again() -> None:
    async def run() -> list[float]:
        turns = Turns(1, max_waiting=50, seconds=0.05)
        async with queued(turns, 50) as tasks:
            promised = []
            for _ in range(2):
                with pytest.raises(BusyError) as caught:
                    async with turns.turn():
                        pass
                promised.append(caught.value.retry_after)
            await asyncio.wait(tasks)
        assert [type(task.exception()) for task in tasks] == [BusyError] * 50
        return promised

    first, second = asyncio.run(run())
    each = FIRST_ESTIMATE_SECONDS * MARGIN
    assert first == pytest.approx(51 * each, abs=0.01)
    assert second == pytest.approx(52 * each, abs=0.01)


def test_who_has_begun_goes_on_before_others_begin_and_is_never_turned_away() -> None:
    async def run() -> list[str]:
        turns, order = Turns(1, max_waiting=3), []

        async def visit(name: str) -> None:
            begin_visit()
            for _ in range(3):
                async with turns.turn():
                    order.append(name)
                    await asyncio.sleep(0)

        await asyncio.gather(*(visit(name) for name in "abcd"))
        return order

    order = "".join(asyncio.run(run()))
    assert sorted(order) == list("aaabbbcccddd")
    assert order.rindex("a") < order.index("c")
    assert order.rindex("b") < order.index("d")


def test_where_there_is_no_database_nobody_waits() -> None:
    async def run() -> list[BaseException | None]:
        turns = Turns(1)
        async with queued(turns, 3) as tasks:
            turns.fail("it is away")
            await asyncio.wait(tasks)
        async with turns.turn():
            return [task.exception() for task in tasks]

    assert [str(error) for error in asyncio.run(run())] == ["it is away"] * 3


def test_two_hundred_clients_at_once_are_all_served(
    library: str, new_settings: Callable[..., Settings]
) -> None:
    """98 of them were answered 503."""
    settings = new_settings(database_url=library, api={"pool_size": 4, "log": "off"})

    async def burst(url: httpx.URL) -> list[Reply]:
        search, ask = {"query": "retry a failed task"}, {"question": "how is a failed task retried"}
        sent = [post(url, "/search", search) if n % 4 else post(url, "/ask", ask) for n in range(200)]
        return await asyncio.gather(*sent)

    with running_api(settings, library) as client:
        replies = asyncio.run(burst(client.base_url))
    assert Counter(reply.status for reply in replies) == {200: 200}


@pytest.mark.long
def test_whoever_comes_again_after_retry_after_is_served(
    library: str, new_settings: Callable[..., Settings]
) -> None:
    settings = new_settings(database_url=library, api={"pool_size": 1, "max_waiting": 20, "log": "off"})

    async def come(url: httpx.URL) -> tuple[Reply, Reply | None]:
        body = {"query": "retry a failed task"}
        reply = await post(url, "/search", body)
        if reply.status == 200:
            return reply, None
        assert reply.body["type"] == "urn:pgfolio:problem:busy"
        assert reply.took < 2  # who is turned away is told so at once
        await asyncio.sleep(int(reply.headers["retry-after"]))
        return reply, await post(url, "/search", body)

    async def burst(url: httpx.URL) -> list[tuple[Reply, Reply | None]]:
        return await asyncio.gather(*(come(url) for _ in range(70)))

    with running_api(settings, library) as client:
        replies = asyncio.run(burst(client.base_url))
    again = [second.status for _, second in replies if second]
    assert len(again) > 20
    assert set(again) == {200}


def test_who_waits_until_there_is_no_time_left_is_told_so(
    conninfo: str, settings: Settings, new_settings: Callable[..., Settings]
) -> None:
    stock(conninfo, settings)
    short = new_settings(database_url=conninfo, api={"timeout": 1.0, "pool_size": 1, "log": "off"})

    async def two(url: httpx.URL) -> list[Reply]:
        return await asyncio.gather(*(post(url, "/search", {"query": "task"}) for _ in range(2)))

    with running_api(short, conninfo) as client, psycopg.connect(conninfo) as other:
        other.execute("lock table documents in access exclusive mode")
        replies = asyncio.run(two(client.base_url))
        other.rollback()
        assert client.post("/search", json={"query": "task"}).status_code == 200
    kinds = sorted(reply.body["type"].rpartition(":")[2] for reply in replies)
    assert kinds == ["busy", "took-too-long"]
    assert all(reply.headers["retry-after"] for reply in replies)


def test_a_database_that_is_away_is_told_to_all_that_wait(
    conninfo: str, settings: Settings, new_settings: Callable[..., Settings], postgres: str
) -> None:
    stock(conninfo, settings)
    tight = new_settings(database_url=conninfo, api={"pool_size": 1, "log": "off"})

    async def many(url: httpx.URL) -> list[Reply]:
        return await asyncio.gather(*(post(url, "/search", {"query": "task"}) for _ in range(20)))

    with running_api(tight, conninfo) as client:
        with unreachable(conninfo, postgres):
            replies = asyncio.run(many(client.base_url))
        assert {reply.body["type"] for reply in replies} == {"urn:pgfolio:problem:database-unavailable"}
        assert max(reply.took for reply in replies) < 9  # one after the other they would take a minute
        deadline = time.monotonic() + 10
        while client.post("/search", json={"query": "task"}).status_code != 200:
            assert time.monotonic() < deadline


def test_what_is_urgent_goes_before_all_that_wait_to_begin() -> None:
    async def run() -> list[str]:
        turns, order = Turns(1, max_waiting=2), []

        async def one(name: str, *, urgent: bool) -> None:
            async with turns.turn(urgent=urgent):
                order.append(name)

        async with turns.turn():
            waiting = [one("a", urgent=False), one("b", urgent=False), one("health", urgent=True)]
            tasks = [asyncio.create_task(each) for each in waiting]
            await asyncio.sleep(0)
        await asyncio.gather(*tasks)
        return order

    assert asyncio.run(run()) == ["health", "a", "b"]
