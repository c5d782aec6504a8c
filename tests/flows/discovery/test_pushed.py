"""What the flow does with what was pushed: by the command, by who listens, after kills and outages, in a repair."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from pgfolio.flows.integrity.repair import run_repair
from pgfolio.flows.integrity.verify import run_verify
from pgfolio.schema.corpus import sources
from pgfolio.schema.database.connect import connect
from tests.fakes.openai_server import SERVER_ERROR, FakeOpenAI, FaultScenario
from tests.faults.world import half_done, wait_until
from tests.flows.library import long_document
from tests.query_api.library import running_api

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import httpx

    from pgfolio.config.settings import Settings

TIDES = {"title": "Tides", "content": "The moon pulls the water, and the tides follow it twice a day."}


@pytest.fixture
def client(settings: Settings, conninfo: str) -> Iterator[httpx.Client]:
    with running_api(settings, conninfo) as made:
        yield made


@contextlib.contextmanager
def started(environment: dict[str, str], *module: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", *module],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def report_of(environment: dict[str, str], *arguments: str) -> dict[str, Any]:
    with started(environment, "flows", "sync", *arguments, "--json") as process:
        out, _ = process.communicate(timeout=60)
    last_object: dict[str, Any] = json.loads(out.splitlines()[-1])
    return last_object


def synced_folder(environment: dict[str, str], folder: Path) -> Path:
    """Of one document."""
    folder.mkdir()
    (folder / "a.md").write_text("# A\n\nA note.\n")
    report_of(environment, str(folder))
    return folder


def pushed(client: httpx.Client, **more: Any) -> str:
    answer = client.post("/documents", json={**TIDES, **more})
    assert answer.status_code == 202
    return str(answer.json()["url"])


def state(client: httpx.Client, url: str) -> str:
    return str(client.get(url).json()["state"])


def test_a_push_with_a_number_without_end_stops_no_other(
    client: httpx.Client, environment: dict[str, str]
) -> None:
    odd = pushed(client, title="Odd", content="---\nb: 0x" + "f" * 4000 + "\n---\nA page.\n")
    tides = pushed(client)
    assert report_of(environment, "pushed")["status"] == "complete"
    assert (state(client, odd), state(client, tides)) == ("ok", "ok")


def test_a_plain_sync_takes_pushes_too_and_one_of_pushes_takes_only_them(
    client: httpx.Client, environment: dict[str, str], tmp_path: Path
) -> None:
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "a.md").write_text("# A\n\nA note.\n")
    first = pushed(client)
    assert report_of(environment, str(folder))["documents"]["added"] == 1
    assert state(client, first) == "pending"
    second = pushed(client, collection="other")
    (folder / "b.md").write_text("# B\n\nAnother note.\n")
    assert report_of(environment, "pushed")["documents"]["added"] == 2
    assert [state(client, url) for url in (first, second)] == ["ok", "ok"]
    third = pushed(client, collection="notes")
    assert report_of(environment)["documents"]["added"] == 2
    assert state(client, third) == "ok"
    with started(environment, "flows", "status", "--json") as process:
        status = json.loads(process.communicate(timeout=60)[0].splitlines()[-1])
    counts = {source["name"]: source["documents"] for source in status["sources"]}
    assert counts == {"notes": 2, "pushed": 1, "pushed/other": 1, "pushed/notes": 1}


def with_model(environment: dict[str, str], server: FakeOpenAI, **embedding: str) -> dict[str, str]:
    """The same, with the server's model, which is paid for."""
    return {
        **environment,
        "OPENAI_API_KEY": str(server.key),
        "OPENAI_BASE_URL": server.url,
        "PGFOLIO_EMBEDDING__PROVIDER": "openai",
        "PGFOLIO_EMBEDDING__MODEL": "tiny-embedding",
        **{f"PGFOLIO_EMBEDDING__{name.upper()}": value for name, value in embedding.items()},
    }


@pytest.mark.timeout(120)
def test_a_flow_killed_while_it_makes_pushes_leaves_nothing_half_and_loses_none(
    client: httpx.Client, environment: dict[str, str], conninfo: str
) -> None:
    in_flight = 4
    with FakeOpenAI() as server, connect(conninfo, autocommit=True) as connection:
        metered = with_model(environment, server, batch_inputs="8", in_flight=str(in_flight))
        server.fault_scenario = FaultScenario(delay=0.05)
        urls = [pushed(client, title=f"T{n}", content=long_document(30) + f"\n{n}\n") for n in range(40)]
        kills, states = 0, set()
        while any(state(client, url) == "pending" for url in urls) and kills < 6:
            requests_before = len(server.requests)
            with started(metered, "flows", "sync", "pushed") as process:
                expected_requests = requests_before + 4 + kills
                wait_until(
                    lambda expected_requests=expected_requests: (
                        len(server.requests) >= expected_requests or process.poll() is not None
                    )
                )
            kills += 1
            assert half_done(connection) == []
            states |= {state(client, url) for url in urls}
        assert kills > 1
        assert "failed" not in states
        report = report_of(metered, "pushed")
        assert report["status"] == "complete"
        assert {state(client, url) for url in urls} == {"ok"}
        assert half_done(connection) == []
        texts = [text for request in server.requests for text in request.body["input"]]
        assert len(texts) - len(set(texts)) <= kills * in_flight * 8
        assert report_of(metered, "pushed")["chunks"]["embedded"] == 0


@pytest.mark.long
def test_who_listens_makes_documents_as_they_come(client: httpx.Client, environment: dict[str, str]) -> None:
    """Also what came before, and after its connection was lost; it ends when it is told to."""
    waiting = pushed(client)
    with (
        started(environment, "pgfolio.flows.listen") as process,
        started(environment, "pgfolio.flows.listen"),
    ):
        wait_until(lambda: state(client, waiting) == "ok", 30)
        assert client.post("/documents?wait=15", json=TIDES).status_code == 201
        with connect(environment["PGFOLIO_DATABASE_URL"], autocommit=True) as connection:
            connection.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where query ilike 'listen%' or "
                "(datname = current_database() and application_name = 'pgfolio' and pid <> pg_backend_pid())"
            )
        assert client.post("/documents?wait=15", json=TIDES).status_code == 201
        process.terminate()
        assert process.wait(10) == 128 + signal.SIGTERM


def test_who_listens_goes_on_when_the_model_server_does(
    client: httpx.Client, environment: dict[str, str], openai_server: FakeOpenAI
) -> None:
    metered = with_model(environment, openai_server, deadline="1")
    openai_server.fault_scenario = SERVER_ERROR
    url = pushed(client)
    with started(metered, "pgfolio.flows.listen"):
        wait_until(lambda: client.get("/status").json()["runs"])
        wait_until(lambda: client.get("/status").json()["runs"][0]["status"] == "failed")
        assert state(client, url) == "pending"
        openai_server.fault_scenario = None
        wait_until(lambda: state(client, url) == "ok", 20)


def test_a_push_that_ends_who_reads_it_is_read_last_and_given_up_after_three_times(
    client: httpx.Client, environment: dict[str, str], tmp_path: Path
) -> None:
    """The program that is to read its image ends the whole sync."""
    deadly = {**environment, "PATH": f"{tmp_path}{os.pathsep}{environment['PATH']}"}
    program = tmp_path / "tesseract"
    program.write_text("#!/bin/sh\nkill -9 $(ps -o ppid= -p $PPID)\n")
    program.chmod(0o755)
    file = {"file": ("poison.png", b"\x89PNG\r\n\x1a\n", "image/png")}
    poison = str(client.post("/documents", files=file).json()["url"])
    others = [pushed(client, title=f"Tides {n}") for n in range(3)]
    codes = []
    for _ in range(3):
        with started(deadly, "flows", "sync", "pushed") as process:
            codes.append(process.wait(60))
        others.append(pushed(client, title="Another"))
    assert codes == [-signal.SIGKILL] * 3
    assert [state(client, url) for url in others[:-1]] == ["ok"] * 5
    assert report_of(deadly, "pushed")["documents"]["failed"] == 1
    assert [state(client, url) for url in (others[-1], poison)] == ["ok", "failed"]
    reason = client.get(poison).json()["reason"]
    assert "ended each time that it read this one" in reason
    assert report_of(deadly, "pushed")["documents"]["added"] == 0


def test_a_repair_makes_pushes_anew(
    client: httpx.Client, environment: dict[str, str], conninfo: str, settings: Settings
) -> None:
    """From the bytes that were kept, under the ids that they have."""
    urls = [pushed(client, content=f"Text number {n}.") for n in range(3)]
    report_of(environment, "pushed")
    with connect(conninfo) as connection:
        connection.execute("update chunks set content = 'x', hash = 'y' where document_id = 1")
        connection.execute("delete from documents where id = 2")
        connection.execute("delete from ledger where path = '3.md'")
    assert not run_verify(conninfo).complete
    assert run_repair(settings, conninfo).complete
    assert [client.get(url).json()["text"] for url in urls] == [f"Text number {n}." for n in range(3)]
    with connect(conninfo) as connection:
        assert [source.kind for source in sources.list_sources(connection)] == ["pushed"]


def test_a_sync_of_all_leaves_pushes_to_the_sync_that_has_them(
    client: httpx.Client, environment: dict[str, str], conninfo: str, tmp_path: Path
) -> None:
    """A schedule does its folders while pushes are made; who asks for these alone is told."""
    folder = synced_folder(environment, tmp_path / "notes")
    url = pushed(client)
    (folder / "b.md").write_text("# B\n\nAnother note.\n")
    with connect(conninfo) as connection:
        (source,) = (source for source in sources.list_sources(connection) if source.kind == "pushed")
        with sources.owned(connection, source):
            report = report_of(environment)
            assert (report["status"], report["documents"]["added"]) == ("complete", 1)
            with started(environment, "flows", "sync", "pushed") as process:
                assert "another sync of 'pushed' is running" in process.communicate(timeout=60)[1]
    assert state(client, url) == "pending"


def test_a_folder_called_pushed_is_another_source(
    client: httpx.Client, environment: dict[str, str], tmp_path: Path
) -> None:
    synced_folder(environment, tmp_path / "pushed")
    url = pushed(client)
    assert report_of(environment, "pushed")["documents"] | {"failed": 0} == {
        "added": 1, "changed": 0, "moved": 0, "removed": 0, "unchanged": 1, "failed": 0, "held": 0,
    }  # fmt: skip
    assert client.get(url).json()["source"] == "pushed/pushed"


def test_what_is_deleted_during_a_run_is_not_counted_as_made(
    client: httpx.Client, environment: dict[str, str], openai_server: FakeOpenAI
) -> None:
    metered = with_model(environment, openai_server)
    openai_server.fault_scenario = FaultScenario(delay=1.5)
    stays, gone = pushed(client), pushed(client, content="Another text.")
    with started(metered, "flows", "sync", "pushed", "--json") as process:
        wait_until(lambda: openai_server.requests)
        time.sleep(0.3)
        assert client.delete(gone).status_code == 204
        report = json.loads(process.communicate(timeout=60)[0].splitlines()[-1])
    assert (report["status"], report["documents"]["added"]) == ("complete", 1)
    assert (state(client, stays), client.get(gone).status_code) == ("ok", 404)
