"""What a client sends or asks for takes bounded memory and time, however large it is and however slowly it comes."""

from __future__ import annotations

import json
import socket
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import psutil
import pytest

from pgfolio.query_api.service.answer_size import MAX_RESULTS_BYTES
from pgfolio.schema.database.connect import connect
from tests.query_api.auth.test_keys import served
from tests.query_api.library import Page, running_api, stock
from tests.query_api.service.test_operations import until
from tests.query_api.service.test_problems import check

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from pgfolio.config.settings import Settings

MEGABYTE = 1024 * 1024
PAGES = tuple(
    Page(f"{n}.md", f"Herd {n}", {"Zebras": f"The zebra herd number {n} grazes by river {n * 7}."})
    for n in range(90)
)


@pytest.fixture(scope="module")
def heavy(
    new_database: Callable[[], AbstractContextManager[str]], new_settings: Callable[..., Settings]
) -> Iterator[httpx.Client]:
    """Ninety documents with 120 KB of metadata each; one of them with 5 MB, as an older version stored it."""
    with new_database() as conninfo:
        settings = new_settings(database_url=conninfo, api={"log": "off"})
        stock(conninfo, settings, PAGES)
        with connect(conninfo) as connection:
            connection.execute(
                "update documents set metadata = jsonb_build_object('k', repeat('x', 120000), 'n', path)"
            )
            connection.execute(
                "update documents set metadata = jsonb_build_object('k', repeat('x', 5000000)) where path = '7.md'"
            )
        with running_api(settings, conninfo) as client:
            yield client


@pytest.mark.parametrize("mode", ["vector", "hybrid", "lexical"])
def test_an_answer_has_as_many_results_as_fit(heavy: httpx.Client, mode: str) -> None:
    response = heavy.post("/search", json={"query": "zebra herd", "limit": 90, "mode": mode})
    answer = response.json()
    assert 60 < answer["total_returned"] == len(answer["results"]) < 90
    assert len(response.content) < MAX_RESULTS_BYTES + 100_000
    assert answer["complete"] is False
    assert "results fit into 8 MB: ask for fewer" in " ".join(answer["notes"])
    few = heavy.post("/search", json={"query": "zebra herd", "limit": 5, "mode": mode}).json()
    assert (few["total_returned"], few["notes"]) == (5, [])
    more = heavy.post("/search", json={"query": "zebra herd", "limit": 20, "mode": mode}).json()
    assert [r["chunk_id"] for r in few["results"]] == [r["chunk_id"] for r in more["results"][:5]]


def test_metadata_that_is_too_long_is_on_the_documents_own_page(heavy: httpx.Client) -> None:
    found = heavy.post("/search", json={"query": "zebra herd", "filter": {"path": "7.md"}}).json()
    assert found["results"][0]["metadata"] == {}
    assert "longer than 128 KB" in found["notes"][0]
    document = heavy.get(f"/documents/{found['results'][0]['document_id']}").json()
    assert len(document["metadata"]["k"]) == 5_000_000


def test_a_page_of_documents_ends_where_it_would_be_too_large(heavy: httpx.Client) -> None:
    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        response = heavy.get("/documents", params={"limit": 1000, **cursor})
        assert len(response.content) < MAX_RESULTS_BYTES + 300_000
        page = response.json()
        seen += [item["path"] for item in page["items"]]
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
    assert seen == sorted({page.path for page in PAGES}, key=[page.path for page in PAGES].index)


def half_sent(url: str, stack: ExitStack, number: int, size: int) -> socket.socket:
    """A push whose end never comes: as JSON, as a file, or as a field of a form."""
    address = "127.0.0.1", int(url.rpartition(":")[2])
    client = stack.enter_context(socket.create_connection(address))
    client.settimeout(10)
    kind = "application/json" if number % 3 == 0 else "multipart/form-data; boundary=y"
    head = "POST /documents HTTP/1.1\r\nHost: localhost\r\n"
    head += f"Content-Type: {kind}\r\nContent-Length: {2 * size}\r\n\r\n"
    field = 'name="file"; filename="a.txt"' if number % 3 == 1 else 'name="metadata"'
    begun = (
        '{"title": "x", "content": "'
        if number % 3 == 0
        else f"--y\r\nContent-Disposition: form-data; {field}\r\n\r\n"
    )
    client.sendall(head.encode() + begun.encode())
    for _ in range(size // 65536):
        client.sendall(b"w" * 65536)
    return client


def on_disk(pid: int) -> int:
    """Bytes in files without a name that a process has open."""
    total = 0
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            if "(deleted)" in str(link.readlink()):
                total += link.stat().st_size
        except OSError:
            continue
    return total


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="reads /proc")
def test_pushes_that_are_only_half_sent_take_no_memory(settings: Settings, conninfo: str) -> None:
    stock(conninfo, settings)
    size, count = 6 * MEGABYTE, 24
    with served(conninfo, PGFOLIO_API__LOG="off") as (process, url), ExitStack() as stack:
        server = _listening_process(process.pid, url)
        httpx.post(f"{url}/documents", json={"title": "a", "content": "b"}).raise_for_status()
        before = server.memory_info().rss
        for number in range(count):
            half_sent(url, stack, number, size)
        until(lambda: on_disk(server.pid) >= 0.95 * size * count)
        assert server.memory_info().rss - before < 40 * MEGABYTE
        assert httpx.get(f"{url}/health/live").status_code == 200
        stack.close()
        until(lambda: on_disk(server.pid) < size)


def test_pushes_under_way_together_are_bounded(settings: Settings, conninfo: str) -> None:
    stock(conninfo, settings)
    limit = {"PGFOLIO_API__MAX_UPLOADS_MB": "20", "PGFOLIO_API__MAX_PUSH_MB": "12"}
    with served(conninfo, PGFOLIO_API__LOG="off", **limit) as (_, url), ExitStack() as stack:
        for number in range(3):
            half_sent(url, stack, number, 6 * MEGABYTE)
        time.sleep(0.3)
        large = {"title": "a", "content": "word " * 1_000_000}
        answer = httpx.post(f"{url}/documents", json=large, timeout=20)
        assert "20 MB are being sent" in check(answer, 503, "busy")["detail"]
        assert int(answer.headers["Retry-After"]) >= 1
        assert httpx.post(f"{url}/documents", json={"title": "a", "content": "b"}).status_code == 202
        assert httpx.post(f"{url}/search", json={"query": "task"}).status_code == 200
        stack.close()
        until(lambda: httpx.post(f"{url}/documents", json=large, timeout=20).status_code == 202)


def test_other_bodies_under_way_together_are_bounded(settings: Settings, conninfo: str) -> None:
    """Ninety clients begin a search of 0.9 MB each."""
    stock(conninfo, settings)
    body = json.dumps({"query": "task", "filter": {"k": "x" * 900_000}}).encode()
    with running_api(settings, conninfo) as client, ExitStack() as stack:
        address = client.base_url.host, client.base_url.port or 0
        for _ in range(90):
            one = stack.enter_context(socket.create_connection(address))
            one.sendall(
                b"POST /search HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                b"Content-Length: " + str(len(body)).encode() + b"\r\n\r\n" + body[:-10]
            )
        headers = {"content-type": "application/json"}
        answers: list[httpx.Response] = []

        def is_busy() -> bool:
            answers.append(client.post("/search", content=body, headers=headers))
            return answers[-1].status_code == 503

        until(is_busy)
        check(answers[-1], 503, "busy")
        stack.close()
        until(lambda: client.post("/search", json={"query": "task"}).status_code == 200)


def _listening_process(pid: int, url: str) -> psutil.Process:
    """The process that serves: `pgfolio serve` starts it."""
    port = int(url.rpartition(":")[2])
    processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    return next(p for p in processes if any(c.laddr.port == port for c in p.net_connections("tcp")))
