"""Background tasks: an error that nobody foresaw ends none of them, and is told once."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager, nullcontext
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from pgfolio.query_api.background import Supervisor
from pgfolio.schema.database.connect import connect
from tests.query_api.library import make_key, running_api, stock
from tests.query_api.service.test_operations import until
from tests.query_api.service.test_problems import check

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pgfolio.config.settings import Settings


def test_a_task_that_fails_is_tried_again_and_reported_once() -> None:
    reported: list[str] = []
    times: list[float] = []
    opened: list[int] = []
    shown: list[list[str]] = []

    @asynccontextmanager
    async def opening() -> AsyncIterator[int]:
        opened.append(1)
        yield 7

    async def work(resource: int) -> None:
        assert resource == 7
        times.append(time.monotonic())
        if len(times) <= 4:
            raise ZeroDivisionError

    async def others(_: None) -> None:
        shown.append(supervisor.degraded)

    async def run() -> None:
        failing = supervisor.running("counts", "nothing is counted", opening, work, 0.02)
        async with failing, supervisor.running("other", "", nullcontext, others, 0.02):
            await asyncio.sleep(0.7)

    supervisor = Supervisor(lambda name, fault: reported.append(f"{name} {fault}"))
    asyncio.run(run())
    assert [line.startswith("counts builtins.ZeroDivisionError at ") for line in reported] == [True]
    pauses = [later - earlier for earlier, later in pairwise(times)]
    assert pauses[0] < pauses[1] < pauses[2] < pauses[3]
    assert len(times) > 6
    assert len(opened) == 5
    assert (shown[1], shown[-1]) == (["counts: nothing is counted"], [])


@pytest.mark.long
def test_keys_that_cannot_be_read_open_nothing_until_they_can(settings: Settings, conninfo: str) -> None:
    """Whatever keeps them from being read: here a table that is not as it should be."""
    stock(conninfo, settings)
    key = make_key(conninfo)
    with running_api(settings, conninfo) as client:
        client.headers["X-API-Key"] = key
        assert client.get("/documents").status_code == 200
        with connect(conninfo) as connection:
            connection.execute("alter table api_keys rename to other_keys")
        until(lambda: client.get("/documents").status_code == 503)
        assert "keys" in check(client.get("/health/ready"), 503, "database-unavailable")["detail"]
        with connect(conninfo) as connection:
            connection.execute("alter table other_keys rename to api_keys")
        until(lambda: client.get("/documents").status_code == 200)
        assert client.get("/health/ready").json()["degraded"] == []
