"""What an operator sees: metrics, one line a request, health, and a server that ends in order."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from pgfolio.schema.database.connect import connect
from tests.fakes.openai_server import KEY, FakeOpenAI, FaultScenario
from tests.query_api.auth.test_keys import environment, served
from tests.query_api.library import RETRIES, make_key, running_api, stock, stock_hosted, unreachable
from tests.query_api.service.test_problems import check

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgfolio.config.settings import Settings

QUESTION = "how is a failed zebra task retried"


def numbers(client: httpx.Client, **headers: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    answer = client.get("/metrics", headers=headers)
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_metrics_have_requests_stages_cache_pool_and_data(settings: Settings, conninfo: str) -> None:
    stock(conninfo, settings)
    with connect(conninfo) as connection:
        connection.execute("update sources set synced_at = now() - interval '1 hour' where name = 'manual'")
        connection.execute(
            "insert into index_measurements (generation_id, m, ef_construction, ef_search, recall, p50_ms, vectors, "
            "sampled) select id, 16, 128, 200, 0.97, 1, 7, false from generations"
        )
    with running_api(settings, conninfo) as client:
        before = numbers(client)
        for _ in range(3):
            client.post("/search", json={"query": QUESTION})
        client.get("/documents/999999")
        client.get("/nowhere")
        after = numbers(client)

    def grown(name: str, **labels: str) -> float:
        key = (name, frozenset(labels.items()))
        return after[key] - before.get(key, 0.0)

    assert grown("pgfolio_requests_total", method="POST", route="/search", status="200") == 3
    assert grown("pgfolio_requests_total", method="GET", route="/documents/{document_id}", status="404") == 1
    assert grown("pgfolio_requests_total", method="GET", route="unmatched", status="404") == 1
    assert grown("pgfolio_request_seconds_count", method="POST", route="/search") == 3
    assert grown("pgfolio_stage_seconds_count", stage="embed") == 3
    assert grown("pgfolio_stage_seconds_count", stage="retrieve") == 3
    assert grown("pgfolio_question_vectors_total", origin="cache") == 2
    assert grown("pgfolio_question_vectors_total", origin="model") == 1
    value = {name: v for (name, labels), v in after.items() if not labels}
    by_collection = {
        dict(label).get("collection"): v for (n, label), v in after.items() if n == "pgfolio_documents"
    }
    assert by_collection == {"kitchen": 1, "manual": 3}
    assert value["pgfolio_pool_waiting"] == 0
    states = {dict(label)["state"] for (n, label) in after if n == "pgfolio_pool_connections"}
    assert states == {"idle", "used"}
    ages = {dict(label)["source"]: v for (n, label), v in after.items() if n == "pgfolio_source_age_seconds"}
    assert list(ages) == ["manual"]
    assert 3600 <= ages["manual"] < 3700
    assert [v for (n, _), v in after.items() if n == "pgfolio_index_recall"] == [0.97]
    assert QUESTION not in str(after)


@pytest.mark.long
def test_workers_count_together(settings: Settings, conninfo: str) -> None:
    stock(conninfo, settings)
    with served(conninfo, "--workers", "2", PGFOLIO_API__LOG="off") as (_, url):
        for _ in range(30):
            httpx.post(f"{url}/search", json={"query": "task"}, timeout=30)
        with httpx.Client(base_url=url) as client:
            key = (
                "pgfolio_requests_total",
                frozenset({("method", "POST"), ("route", "/search"), ("status", "200")}),
            )
            assert numbers(client)[key] == 30


@pytest.mark.parametrize("form", ["json", "text", "off"])
def test_the_log_has_a_line_a_request_and_never_a_key_or_a_text(
    settings: Settings, conninfo: str, openai_server: FakeOpenAI, form: str
) -> None:
    stock(conninfo, settings)
    key, revoked = make_key(conninfo), make_key(conninfo)
    with connect(conninfo) as connection:
        connection.execute("update api_keys set revoked_at = now() where id = 2")
    chat = {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": openai_server.url, "PGFOLIO_CHAT__MODEL": "gpt-4o-mini"}
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with (
        served(conninfo, PGFOLIO_API__LOG=form, **chat) as (process, url),
        httpx.Client(base_url=url) as client,
    ):
        client.headers.update({"Authorization": f"Bearer {key}", "traceparent": parent})
        answer = client.post("/search", json={"query": QUESTION, "filter": {"secret_zebra": "x"}})
        client.post("/ask", json={"question": QUESTION})
        client.post("/ask", json={"question": QUESTION, "stream": True})
        client.get("/documents", params={"path": "zebra"})
        client.get("/zebra")
        client.post("/search", content=b"{zebra")
        client.get("/documents", headers={"Authorization": f"Bearer {revoked}"})
        with connect(conninfo) as connection:
            connection.execute("alter table documents rename column mime to kind")
        assert client.get("/documents", params={"path": "zebra"}).status_code == 500
        client.get("/health/live")
        process.terminate()
        _, log = process.communicate(timeout=20)
    for secret in (key, revoked, key[4:], KEY, "zebra"):
        assert secret not in log
    lines = log.splitlines()
    assert len(lines) == {"json": 8, "text": 8, "off": 1}[form]
    assert "UndefinedColumn 42703 at" in lines[-1]
    assert "schema/search/catalog.py" in lines[-1]
    if form == "json":
        first = json.loads(lines[0])
        trace = answer.json()["trace_id"]
        expected = {"method": "POST", "route": "/search", "status": 200, "key": 1, "trace_id": trace,
                  "parent": parent[3:35]}  # fmt: skip
        assert {name: first[name] for name in expected} == expected
        assert {"time", "ms", "embed_ms", "retrieve_ms"} <= set(first)
        assert [json.loads(line)["status"] for line in lines] == [200, 200, 200, 200, 404, 400, 401, 500]
        assert "model_ms" in json.loads(lines[2])


@pytest.mark.long
def test_a_log_that_nobody_reads_does_not_stop_the_server(settings: Settings, conninfo: str) -> None:
    stock(conninfo, settings)
    with served(conninfo) as (_, url), httpx.Client(base_url=url, timeout=5) as client:
        for _ in range(1500):  # a pipe holds 64 KB: some 400 lines
            assert client.get("/collections").status_code == 200


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_a_server_that_gets_a_signal_ends_what_is_under_way(
    settings: Settings, conninfo: str, openai_server: FakeOpenAI, sent: signal.Signals
) -> None:
    stock(conninfo, settings)
    openai_server.fault_scenario = FaultScenario(delay=1.5, only="chat")
    chat = {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": openai_server.url, "PGFOLIO_CHAT__MODEL": "gpt-4o-mini"}
    with served(conninfo, PGFOLIO_API__LOG="off", **chat) as (process, url):
        answers: list[httpx.Response] = []
        question = {"question": "how is a failed task retried"}
        asking = threading.Thread(
            target=lambda: answers.append(httpx.post(f"{url}/ask", json=question, timeout=20))
        )
        asking.start()
        until(lambda: bool(openai_server.chats()))
        process.send_signal(sent)
        asking.join()
        assert answers[0].status_code == 200
        assert answers[0].json()["answered"]
        assert process.wait(10) == 0


def test_ready_fails_without_the_model_and_live_does_not(
    conninfo: str, new_settings: Callable[..., Settings], openai_server: FakeOpenAI
) -> None:
    settings = stock_hosted(conninfo, new_settings, openai_server)
    with running_api(settings, conninfo) as client:
        openai_server.fault_scenario = FaultScenario(status=500, only="embeddings", times=1)
        check(client.get("/health/ready"), 503, "model-unavailable")
        assert client.get("/health/live").status_code == 200
        assert client.get("/health/ready").status_code == 200
        embedded_before = len(openai_server.embedded())
        assert client.get("/health/ready").status_code == 200
        assert len(openai_server.embedded()) == embedded_before


def test_a_client_that_leaves_while_it_sends_is_no_fault_of_the_server(
    conninfo: str, settings: Settings
) -> None:
    stock(conninfo, settings)
    with served(conninfo) as (process, url):
        address = "127.0.0.1", int(url.rpartition(":")[2])
        with socket.create_connection(address) as connection:
            connection.sendall(b"POST /search HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
        until(lambda: 'route="/search",status="499"' in httpx.get(f"{url}/metrics").text)
        assert 'status="500"' not in httpx.get(f"{url}/metrics").text
        process.terminate()
        assert process.stderr is not None
        assert "fault" not in process.stderr.read()


@pytest.mark.long
def test_live_needs_no_database_and_ready_does(settings: Settings, conninfo: str, postgres: str) -> None:
    stock(conninfo, settings)
    with running_api(settings, conninfo) as client:
        with unreachable(conninfo, postgres):
            assert client.get("/health/live").status_code == 200
            check(client.get("/health/ready"), 503, "database-unavailable")
            time.sleep(5.5)  # by then it is not known any more who has which key: nobody is let in
            check(client.get("/schema"), 503, "database-unavailable")
        until(lambda: client.get("/documents").status_code == 200)


def test_a_trace_id_is_new_for_each_request_whatever_the_client_sends(api: httpx.Client) -> None:
    parent = {"traceparent": "00-" + "a" * 32 + "-" + "b" * 16 + "-01", "X-Trace-Id": "c" * 32}
    trace_ids = {api.get("/health/live", headers=parent).headers["X-Trace-Id"] for _ in range(3)}
    assert len(trace_ids) == 3
    assert all(re.fullmatch("[0-9a-f]{32}", each) for each in trace_ids)


def until(condition: Callable[[], Any], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.02)


def test_loaded_objects_are_frozen_for_garbage_collection(conninfo: str) -> None:
    """Going through it held up all requests for 40 ms."""
    code = (
        "import gc, os, signal\n"
        "from pgfolio.config.loading import load_settings\n"
        "from pgfolio.query_api.service.server import serve\n"
        "def listening(url):\n"
        "    print(gc.get_freeze_count(), len(gc.get_objects()))\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "serve(load_settings(), '127.0.0.1', 0, 1, listening)\n"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, env=environment(conninfo), capture_output=True, text=True, timeout=60, check=True
    )
    frozen, collected = map(int, done.stdout.split())
    assert frozen > 50_000
    assert collected < frozen / 20


def test_words_are_searched_without_the_model(
    conninfo: str, new_settings: Callable[..., Settings], openai_server: FakeOpenAI
) -> None:
    settings = stock_hosted(conninfo, new_settings, openai_server)
    with running_api(settings, conninfo) as client:
        client.get("/health/ready").raise_for_status()
        openai_server.fault_scenario = FaultScenario(status=500)
        body = {"query": "retries of a failed task", "mode": "lexical"}
        answer = client.post("/search", json=body).json()
        assert answer["results"][0]["path"] == RETRIES.path
        assert answer["results"][0]["similarity"] == 0
        assert answer["notes"][0].startswith("found by words alone")
        for more in ({"mode": "hybrid"}, {"min_similarity": 0.2}):
            check(client.post("/search", json={**body, **more}), 503, "model-unavailable")
