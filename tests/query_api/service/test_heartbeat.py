"""A stream that has nothing to say for long says that it is at work, and ends with whoever listens to it."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import psycopg
import pytest

from pgfolio.query_api.service.heartbeat import with_heartbeats
from tests.fakes.openai_server import KEY, FakeOpenAI, FaultScenario
from tests.query_api.library import running_api, stock
from tests.query_api.service.test_frozen import statements_waiting
from tests.query_api.service.test_operations import until

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from pgfolio.config.settings import Settings

QUESTION = {"question": "how is a failed task retried", "stream": True}
BEAT = ": at work"


class Pausing:
    """Events with pauses before them; knows whether it was closed."""

    def __init__(self, *pauses: float) -> None:
        self.pauses = pauses
        self.closed = False

    async def events(self) -> AsyncGenerator[int]:
        try:
            for number, pause in enumerate(self.pauses):
                await asyncio.sleep(pause)
                yield number
        finally:
            self.closed = True


def listened(source: Pausing, seconds: float = 60.0, count: int = 99) -> list[int | None]:
    """What comes of it, at most so many, with a heartbeat each 50 ms."""

    async def listen() -> list[int | None]:
        heard: list[int | None] = []
        stream = with_heartbeats(source.events(), time.perf_counter() + seconds, 0.05)
        try:
            async for event in stream:
                heard.append(event)
                if len(heard) == count:
                    break
        finally:
            await stream.aclose()
            await asyncio.sleep(0.02)  # it is closed by a task
        return heard

    return asyncio.run(listen())


def test_silence_is_filled_before_the_first_event_and_between_others() -> None:
    source = Pausing(0.12, 0, 0.07, 0)
    assert listened(source) == [None, None, 0, 1, None, 2, 3]
    assert source.closed


def test_who_leaves_in_the_silence_ends_the_work() -> None:
    source = Pausing(9)
    began = time.monotonic()
    assert listened(source, count=2) == [None, None]
    assert source.closed
    assert time.monotonic() - began < 2


def test_time_runs_out_in_the_silence_too() -> None:
    source = Pausing(0, 9)
    with pytest.raises(TimeoutError):
        listened(source, 0.12)
    assert source.closed


def test_what_goes_wrong_comes_through() -> None:
    async def failing() -> AsyncGenerator[int]:
        await asyncio.sleep(0.07)
        yield 1
        raise ValueError

    heard: list[int | None] = []

    async def listen() -> None:
        stream = with_heartbeats(failing(), time.perf_counter() + 9, 0.05)
        while True:
            heard.append(await anext(stream))

    with pytest.raises(ValueError):  # noqa: PT011 -- ours
        asyncio.run(listen())
    assert heard == [None, 1]


@pytest.mark.long
def test_a_stream_is_not_silent_while_the_model_thinks(
    library: str, new_settings: Callable[..., Settings], openai_server: FakeOpenAI
) -> None:
    openai_server.fault_scenario = FaultScenario(delay=11, only="chat")
    settings = new_settings(
        database_url=library,
        openai_api_key=KEY,
        openai_base_url=openai_server.url,
        chat={"model": "gpt-4o-mini"},
    )
    with running_api(settings, library) as client:
        lines = client.post("/ask", json=QUESTION).text.splitlines()
    assert lines.count(BEAT) == 1
    assert [line for line in lines if line.startswith("event: ")][-1] == "event: done"
    assert lines.index("event: sources") < lines.index(BEAT) < lines.index("event: token")


@pytest.mark.long
def test_a_stream_is_not_silent_while_the_database_is_waited_for(conninfo: str, settings: Settings) -> None:
    stock(conninfo, settings)
    with running_api(settings, conninfo) as client, psycopg.connect(conninfo) as other:
        other.execute("lock table documents in access exclusive mode")
        with client.stream("POST", "/ask", json=QUESTION, timeout=15) as answer:
            lines = answer.iter_lines()
            assert next(lines) == BEAT
            other.rollback()
            assert next(line for line in lines if line.startswith("event: ")) == "event: sources"
        other.execute("lock table documents in access exclusive mode")
        with client.stream("POST", "/ask", json={**QUESTION, "question": "another"}, timeout=15) as answer:
            lines = answer.iter_lines()
            assert next(lines) == BEAT
            assert statements_waiting(conninfo) == 1
        until(lambda: statements_waiting(conninfo) == 0, 3)
