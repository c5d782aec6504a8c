"""What is asked over HTTP is done by who listens, once, whatever is killed meanwhile, and no more than was asked."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from pgfolio.flows.ingest.pipeline import run_sync
from pgfolio.flows.ingest.requests import answer_requests
from pgfolio.schema.corpus import sources
from pgfolio.schema.database.connect import connect
from tests.flows.library import ANIMALS, PLANTS
from tests.query_api.library import make_key, running_api
from tests.query_api.service.test_problems import check

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

    from pgfolio.config.settings import Settings
    from pgfolio.flows.run.options import Options
    from pgfolio.flows.run.report import Report
    from pgfolio.schema.records import Source
    from tests.flows.library import Library


@pytest.fixture
def stocked(library: Library) -> Library:
    for n in range(12):
        library.write(f"many/{n}.md", f"# Number {n}\n\nThe number {n} comes after the number {n - 1}.\n")
    library.write("animals.md", ANIMALS)
    library.sync()
    return library


@pytest.fixture
def client(stocked: Library) -> Iterator[httpx.Client]:
    with running_api(stocked.settings, stocked.conninfo) as made:
        yield made


def in_process(settings: Settings, conninfo: str, source: Source, options: Options) -> Report:
    return run_sync(settings, conninfo, [source], options)


def answer(library: Library) -> bool:
    """As who listens does."""
    time.sleep(0.03)
    with connect(library.conninfo, autocommit=True) as connection:
        sync = partial(in_process, library.settings, library.conninfo)
        return answer_requests(connection, library.conninfo, library.settings, sync)


def ask(client: httpx.Client, what: str, **body: Any) -> dict[str, Any]:
    response = client.post(f"/sources/library/{what}", json=body or None)
    assert response.status_code == 202, response.text
    asked: dict[str, Any] = response.json()
    return asked


def outcome(client: httpx.Client, asked: dict[str, Any]) -> dict[str, Any]:
    told: dict[str, Any] = client.get(asked["url"]).json()
    return told


def test_a_sync_that_is_asked_for_is_done_and_told_of(client: httpx.Client, stocked: Library) -> None:
    stocked.write("plants.md", PLANTS)
    asked = ask(client, "sync")
    assert (asked["state"], asked["kind"], asked["source"]) == ("pending", "sync", "library")
    assert ask(client, "sync")["id"] == asked["id"]
    assert not answer(stocked)
    told = outcome(client, asked)
    assert (told["state"], told["outcome"]["documents"]["added"]) == ("done", 1)
    assert told["asked_at"] <= told["started_at"] <= told["ended_at"]
    assert ask(client, "sync")["id"] != asked["id"]
    assert [each["id"] for each in client.get("/requests").json()["items"]][-1] == asked["id"]


@pytest.mark.parametrize(
    ("count", "state", "left"), [(12, "done", 2), (13, "done", 2), (11, "refused", 14), (1, "refused", 14)]
)
def test_an_approval_removes_so_many_and_no_more(
    client: httpx.Client, stocked: Library, count: int, state: str, left: int
) -> None:
    shutil.rmtree(stocked.root / "many")
    assert stocked.sync().documents.held == 12
    asked = ask(client, "approve", count=count)
    answer(stocked)
    told = outcome(client, asked)
    assert (told["state"], len(stocked.stored())) == (state, left)
    if state == "refused":
        assert f"12 removals wait now, and {count} were approved" in told["reason"]


def test_an_approval_is_of_one_source_and_one_run(client: httpx.Client, stocked: Library) -> None:
    shutil.rmtree(stocked.root / "many")
    ask(client, "approve", count=12)
    answer(stocked)
    for n in range(12):
        stocked.write(f"many/{n}.md", f"# Number {n}\n\nAgain the number {n}.\n")
    stocked.sync()
    shutil.rmtree(stocked.root / "many")
    asked = ask(client, "sync")
    answer(stocked)
    assert outcome(client, asked)["outcome"]["documents"]["held"] == 12


def test_a_source_is_forgotten_with_all_that_is_stored_of_it(client: httpx.Client, stocked: Library) -> None:
    asked = ask(client, "forget")
    answer(stocked)
    told = outcome(client, asked)
    assert (told["state"], told["outcome"]["documents"]["removed"]) == ("done", 14)
    assert client.get("/documents").json()["items"] == []
    assert client.get("/status").json()["sources"] == []
    assert (stocked.root / "animals.md").exists()
    check(client.post("/sources/library/sync"), 404, "unknown-source")
    assert stocked.sync().chunks.reused > 0


def test_what_the_settings_name_is_not_forgotten(client: httpx.Client, stocked: Library) -> None:
    rules = {"name": "library", "root": str(stocked.root)}
    from pgfolio.config.loading import load_settings

    configured = load_settings(home=stocked.settings.home, database_url=stocked.conninfo, sources=[rules])
    asked = ask(client, "forget")
    with connect(stocked.conninfo, autocommit=True) as connection:
        sync = partial(in_process, configured, stocked.conninfo)
        answer_requests(connection, stocked.conninfo, configured, sync)
    assert (outcome(client, asked)["state"], len(stocked.stored())) == ("refused", 14)


def test_a_sync_that_fails_is_told_of(client: httpx.Client, stocked: Library) -> None:
    stocked.root.rename(stocked.root.with_name("elsewhere"))
    asked = ask(client, "sync")
    answer(stocked)
    told = outcome(client, asked)
    assert told["state"] == "failed"
    assert told["reason"]
    assert len(stocked.stored()) == 14


def test_a_request_waits_while_its_source_is_synced(client: httpx.Client, stocked: Library) -> None:
    asked = ask(client, "sync")
    with connect(stocked.conninfo) as connection:
        (source,) = sources.list_sources(connection)
        with sources.owned(connection, source):
            assert answer(stocked)
            assert outcome(client, asked)["state"] == "pending"
    assert not answer(stocked)
    assert outcome(client, asked)["state"] == "done"


def test_what_was_killed_is_taken_up_again_and_given_up_in_the_end(
    client: httpx.Client, stocked: Library
) -> None:
    asked = ask(client, "sync")

    def kill(source: Source, options: Options) -> Report:
        raise KeyboardInterrupt  # as a signal does: nothing after it is said

    for _ in range(3):
        with connect(stocked.conninfo, autocommit=True) as connection, contextlib.suppress(KeyboardInterrupt):
            answer_requests(connection, stocked.conninfo, stocked.settings, kill)
        assert outcome(client, asked)["state"] == "pending"
    answer(stocked)
    told = outcome(client, asked)
    assert (told["state"], "ended each time" in told["reason"]) == ("failed", True)


def test_of_several_who_listen_one_does_it(client: httpx.Client, stocked: Library) -> None:
    ask(client, "sync")
    ask(client, "approve", count=5)
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda _: answer(stocked), range(3)))
    answer(stocked)
    answer(stocked)  # one that found its source busy waits on
    finished = stocked.rows(
        "select started_by, count(*) from runs where started_by like 'request%' and status <> 'failed' group by 1"
    )
    assert sorted(finished) == [("request 1", 1), ("request 2", 1)]
    assert {each["state"] for each in client.get("/requests").json()["items"]} == {"done"}


def test_the_next_run_of_the_command_does_what_nobody_listened_to(
    client: httpx.Client, stocked: Library, environment: dict[str, str]
) -> None:
    asked = ask(client, "sync")
    command = [sys.executable, "-m", "flows", "sync", "library", "--json"]
    subprocess.run(command, env=environment, check=True, capture_output=True, timeout=60)
    assert outcome(client, asked)["state"] == "done"


def test_who_listens_does_it_also_after_a_kill(
    client: httpx.Client, stocked: Library, environment: dict[str, str]
) -> None:
    asked = ask(client, "sync")
    with connect(stocked.conninfo) as connection:  # as a listener that was killed leaves it
        connection.execute("update requests set state = 'running', attempts = 1")
    command = [sys.executable, "-m", "flows.listen"]
    with subprocess.Popen(command, env=environment, start_new_session=True) as process:
        try:
            wait_for(client, asked, 30)
            shutil.rmtree(stocked.root / "many")
            second = ask(client, "approve", count=12)
            wait_for(client, second, 10)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
    assert len(stocked.stored()) == 2


def wait_for(client: httpx.Client, asked: dict[str, Any], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while outcome(client, asked)["state"] != "done":
        assert time.monotonic() < deadline, outcome(client, asked)
        time.sleep(0.1)


def test_an_approval_needs_its_count(client: httpx.Client) -> None:
    wrong: list[Any] = [
        {},
        {"count": 0},
        {"count": -1},
        {"count": "12"},
        {"count": 1.5},
        {"count": 10**6},
        [1],
    ]
    for body in (*wrong, {"count": 1, "source": "x"}, {"count": True}):
        check(client.post("/sources/library/approve", json=body), 400, "invalid-request")


def test_a_source_that_is_not_there(client: httpx.Client) -> None:
    for name in ("atlantis", "..", "library%00x", "%00", "a" * 300, "Library"):
        for what, body in (("sync", None), ("approve", {"count": 1}), ("forget", None)):
            assert client.post(f"/sources/{name}/{what}", json=body).status_code == 404, (name, what)


def test_who_may_not_see_a_source_cannot_tell_it_from_one_that_is_not_there(stocked: Library) -> None:
    with connect(stocked.conninfo) as connection:
        connection.execute("insert into collections (name) values ('other')")
    limited = make_key(stocked.conninfo, "admin", ["other"])
    headers = {"X-API-Key": make_key(stocked.conninfo, "admin")}
    with running_api(stocked.settings, stocked.conninfo) as client:
        asked = client.post("/sources/library/sync", headers=headers).json()
        client.headers["X-API-Key"] = limited
        for what, body in (("sync", None), ("approve", {"count": 12}), ("forget", None)):
            check(client.post(f"/sources/library/{what}", json=body), 404, "unknown-source")
        check(client.get(asked["url"]), 404, "unknown-request")
        assert client.get("/requests").json()["items"] == []
        for number in (10**6, 10**30, -1, -(10**30)):
            check(client.get(f"/requests/{number}"), 404, "unknown-request")
