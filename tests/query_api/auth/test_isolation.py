"""A key that is limited to a collection is answered as by an instance that holds nothing else: every field of every
answer is the same, but for ids and times."""

from __future__ import annotations

import json
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from pgfolio.schema.corpus import sources, statistics
from pgfolio.schema.database.connect import connect
from pgfolio.schema.vectors import generations
from tests.query_api.auth.test_keys import served
from tests.query_api.library import PAGES, Page, make_key, running_api, stock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from pgfolio.config.settings import Settings

MANUAL = tuple(page for page in PAGES if page.collection == "manual")
HIDDEN = (
    *(page for page in PAGES if page.collection != "manual"),
    *(
        Page(f"harbour/{n}.md", f"Harbour {n}", {"Quay": f"The harbour worker retried task {n}."}, "harbour")
        for n in range(260)
    ),
    Page("retries.md", "Retries", {"Work pools": "A work pool of ZEBRA_CODE_7 and the moon."}, "harbour"),
)
MANY = 1200
"""Chunks of the permitted collection beside: it is one of those that are counted by themselves."""

QUESTIONS = (
    "retry a failed task",
    "harbour",
    "the moon",
    "ZEBRA_CODE_7",
    '"work pool"',
    '"harbour worker" task',
    "der Hafen und die Aufgaben",
    "lantern 17",
)
OPTIONS: tuple[dict[str, Any], ...] = (
    {"explain": True},
    {"mode": "lexical", "explain": True},
    {"mode": "lexical", "limit": 100},
    {"mode": "vector", "limit": 50, "explain": True},
    {"exact": True, "explain": True},
    {"collections": ["manual"], "explain": True},
    {"neighbors": 1, "limit": 3},
    {"min_similarity": 0.3, "explain": True},
    {"filter": {"source": "harbour"}, "explain": True},
    {"filter": {"$not": {"path": "guides/retries.md"}}, "explain": True},
    {"why": "guides/pools.md"},
    {"why": "bread.md"},
    {"why": "harbour/retries.md"},
)
VOLATILE = {
    "trace_id", "took_ms", "milliseconds", "asked_at", "synced_at", "chunk_id", "document_id", "id", "created_at",
    "cited", "next", "generation", "url", "examples", "created", "last_active_at", "file_id", "start_index",
    "end_index", "since",
}  # fmt: skip
VOLATILE_HEADERS = {"x-trace-id", "date", "content-length", "location"}
"""Ids and times: of a sequence or of a clock that all collections share."""


def requests() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Method, path and what is sent."""
    for question in QUESTIONS:
        for options in OPTIONS:
            yield "POST", "/search", {"json": {"query": question, **options}}
        yield "POST", "/ask", {"json": {"question": question, "explain": True}}
    yield "POST", "/search", {"json": {"query": "x", "collections": ["harbour"]}}
    for parameters in (
        {}, {"limit": 1}, {"collection": "harbour"}, {"source": "harbour"}, {"path": "bread.md"},
        {"filter": '{"title": {"$like": "H%"}}'}, {"cursor": "ZDA"},
    ):  # fmt: skip
        yield "GET", "/documents", {"params": parameters}
    for path in (
        "/collections",
        "/status",
        "/facets",
        "/metrics",
        "/health/ready",
        "/schema",
        "/nowhere",
        "/traces/none",
    ):
        yield "GET", path, {}
    for question in QUESTIONS[:4]:
        asked = {"model": "pgfolio", "messages": [{"role": "user", "content": question}]}
        yield "POST", "/v1/chat/completions", {"json": asked}
        yield "POST", "/v1/vector_stores/manual/search", {"json": {"query": question}}
    for name in ("manual", "harbour", "nowhere"):
        yield "POST", "/v1/chat/completions", {"json": {**asked, "model": f"pgfolio/{name}"}}
        yield "POST", f"/v1/vector_stores/{name}/search", {"json": {"query": "x"}}
        yield "GET", f"/v1/models/pgfolio/{name}", {}
    yield "GET", "/v1/models", {}
    yield "GET", "/v1/vector_stores", {}
    pushed = {"title": "a", "content": "b"}
    yield "POST", "/documents", {"json": {**pushed, "collection": "harbour"}}
    yield "POST", "/documents", {"json": {**pushed, "collection": "new"}}
    yield "POST", "/documents", {"json": pushed}


def prepared(conninfo: str, settings: Settings, pages: tuple[Page, ...]) -> str:
    """Pages are stored and all words counted; returns the key of the manual."""
    key = make_key_after(conninfo, settings, pages)
    with connect(conninfo) as connection:
        generation = generations.active_generation(connection)
        assert generation is not None
        fill(connection)
        statistics.analyze(connection, generation)
        for page in pages:
            if page.collection == "harbour":
                connection.execute(
                    "update documents set language = 'german' where path = 'harbour/1.md';"
                    "update chunks set language = 'german' where document_id in "
                    "(select id from documents where path = 'harbour/1.md')"
                )
                break
        connection.execute(
            "insert into runs (flow, started_by, status) select 'sync', 'sync ' || name, 'failed' from sources"
            " where name <> 'manual'"
        )
        connection.execute(
            "insert into ledger (source_id, path, device, inode, size, mtime_ns, ctime_ns, "
            "processing_fingerprint, chunk_count, state, stage, reason) "
            "select id, 'broken.pdf', 1, 1, 1, 1, 1, '', 0, 'failed', 'extract', 'no text' from sources"
        )
    return key


def make_key_after(conninfo: str, settings: Settings, pages: tuple[Page, ...]) -> str:
    stock(conninfo, settings, pages)
    return make_key(conninfo, "write", ["manual"])


def fill(connection: Any) -> None:
    """Many chunks of one document, with words that stand in all, in half and in few of them."""
    source = next(s for s in sources.list_sources(connection) if s.name == "manual")
    (document,) = connection.execute(
        "insert into documents (source_id, collection_id, path, mime, content_hash, text, language, updated_at) "
        "select id, collection_id, 'many.md', 'text/markdown', 'x', '', 'english', '2026-01-01' from sources "
        "where id = %s returning id",
        [source.id],
    ).fetchone()
    connection.execute(
        """
        insert into chunks (document_id, collection_id, ordinal, content, heading, start_at, end_at, tokens, hash,
                            language)
        select %(document)s, %(collection)s, n, t.content, '', 0, 1, 5 + n %% 7, sha256(t.content::bytea), 'english'
        from generate_series(1, %(many)s) n
        cross join lateral (select concat('A lantern ', n, case when n %% 2 = 0 then ' of a task' end,
                                          case when n %% 100 = 0 then ' in the harbour' end) as content) t
        """,
        {"document": document, "collection": source.collection_id, "many": MANY},
    )
    connection.execute(
        "insert into ledger (source_id, path, document_id, device, inode, size, mtime_ns, ctime_ns, "
        "processing_fingerprint, chunk_count, state) values (%s, 'many.md', %s, 1, 1, 1, 1, 1, '', %s, 'ok')",
        [source.id, document, MANY],
    )


@pytest.fixture(scope="module")
def instances(
    new_database: Callable[[], AbstractContextManager[str]], new_settings: Callable[..., Settings]
) -> Iterator[tuple[httpx.Client, httpx.Client]]:
    """Two clients with a key of the manual: of an instance that holds more, and of one that holds nothing else."""
    with new_database() as shared, new_database() as alone:
        settings = [new_settings(database_url=conninfo, api={"log": "off"}) for conninfo in (shared, alone)]
        keys = [
            prepared(conninfo, each, pages)
            for conninfo, each, pages in zip(
                (shared, alone), settings, ((*HIDDEN, *MANUAL), MANUAL), strict=True
            )
        ]
        with running_api(settings[0], shared) as one, running_api(settings[1], alone) as other:
            one.headers["X-API-Key"], other.headers["X-API-Key"] = keys
            yield one, other


def stable(answer: httpx.Response) -> Any:
    """All of an answer but ids and times."""
    try:
        body = _without(answer.json())
    except ValueError:
        body = re.sub(r"(_seconds\S* )[\d.e+-]+", r"\1", answer.text)
    headers = {name: value for name, value in answer.headers.items() if name not in VOLATILE_HEADERS}
    return answer.status_code, headers, body


def _without(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without(item) for name, item in value.items() if name not in VOLATILE}
    if isinstance(value, list):
        return [_without(item) for item in value]
    return re.sub(r"http://\S+/d/\d+", "/d/", value) if isinstance(value, str) else value


def test_no_answer_tells_that_there_is_more(instances: tuple[httpx.Client, httpx.Client]) -> None:
    one, other = instances
    differing = []
    for method, path, sent in requests():
        answers = [client.request(method, path, **sent) for client in (one, other)]
        if stable(answers[0]) != stable(answers[1]):
            differing.append(f"{method} {path} {json.dumps(sent)}: {_difference(*map(stable, answers))}")
    assert "\n".join(differing) == ""


TOOL_CALLS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("list_collections", {}),
    ("fetch", {"id": "999999"}),
    ("search_documents", {"query": "x", "collections": ["harbour"]}),
    *(("search", {"query": question}) for question in QUESTIONS),
    *(("search_documents", {"query": question, "limit": 20}) for question in QUESTIONS),
    *(("ask", {"question": question}) for question in QUESTIONS),
)


def tool_result(client: httpx.Client, tool: str, arguments: dict[str, Any]) -> Any:
    """What a tool gives, without ids, times and links; of an error its words."""
    call = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"name": tool, "arguments": arguments},
    }
    answer = client.post("/mcp", json=call, headers={"Accept": "application/json, text/event-stream"})
    (data,) = (line for line in answer.text.splitlines() if line.startswith("data: "))
    result = json.loads(data.removeprefix("data: "))["result"]
    return _without(result.get("structuredContent") or result["content"])


def test_no_tool_tells_that_there_is_more(instances: tuple[httpx.Client, httpx.Client]) -> None:
    for tool, arguments in TOOL_CALLS:
        one, other = (tool_result(client, tool, arguments) for client in instances)
        assert one == other, (tool, arguments)


def _difference(one: Any, other: Any, where: str = "") -> str:
    if isinstance(one, dict) and isinstance(other, dict) and set(one) == set(other):
        return "; ".join(_difference(one[k], other[k], f"{where}.{k}") for k in one if one[k] != other[k])
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)) and len(one) == len(other):
        pairs = enumerate(zip(one, other, strict=True))
        return "; ".join(_difference(a, b, f"{where}[{i}]") for i, (a, b) in pairs if a != b)[:400]
    return f"{where}: {str(one)[:150]} <> {str(other)[:150]}"


def test_a_trace_tells_no_more_than_its_answer(instances: tuple[httpx.Client, httpx.Client]) -> None:
    for question in QUESTIONS[:4]:
        told = []
        for client in instances:
            trace = client.post("/search", json={"query": question}).json()["trace_id"]
            told.append(stable(client.get(f"/traces/{trace}")))
        assert told[0] == told[1]


def test_a_document_that_is_hidden_is_refused_as_one_that_is_not_there(
    instances: tuple[httpx.Client, httpx.Client],
) -> None:
    one, _ = instances
    visible = {item["id"] for item in one.get("/documents").json()["items"]}
    hidden = next(number for number in range(1, 30) if number not in visible)
    for method in ("GET", "DELETE"):
        there, absent = (one.request(method, f"/documents/{number}") for number in (hidden, 999_999))
        assert there.status_code == absent.status_code == 404
        assert there.json()["detail"].replace(str(hidden), "999999") == absent.json()["detail"]


@contextmanager
def workers(conninfo: str) -> Iterator[str]:
    with served(conninfo, "--workers", "2", PGFOLIO_API__LOG="off") as (_, url):
        yield url


@pytest.mark.long
def test_several_workers_show_each_gauge_once_and_to_nobody_who_may_not_see_it(
    settings: Settings, conninfo: str
) -> None:
    stock(conninfo, settings)
    everything, manual = make_key(conninfo), make_key(conninfo, collections=["manual"])
    with workers(conninfo) as url:

        def scraped(key: str) -> str:
            """Over a connection of its own, so by any worker."""
            return httpx.get(f"{url}/metrics", headers={"X-API-Key": key}, timeout=60).text

        for _ in range(20):
            whole = scraped(everything)
        samples = [s for f in text_string_to_metric_families(whole) for s in f.samples]
        shown = [(s.labels["collection"], s.value) for s in samples if s.name == "pgfolio_documents"]
        assert sorted(shown) == [("kitchen", 1), ("manual", 3)]
        assert sum(s.name == "pgfolio_pool_waiting" for s in samples) == 1
        assert len({(s.name, *sorted(s.labels.items())) for s in samples}) == len(samples)
        for _ in range(20):
            text = scraped(manual)
            assert "kitchen" not in text
            assert "pgfolio_requests" not in text
