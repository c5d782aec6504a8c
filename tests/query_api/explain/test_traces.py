"""How an answer was found: told at once, kept for a time, and for nobody who may not see it."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time
from contextlib import AsyncExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from pgfolio.config.environment import child_environment
from pgfolio.query_api.auth.caller import OPEN
from pgfolio.query_api.background import Supervisor
from pgfolio.query_api.explain.trace_log import open_traces
from pgfolio.query_api.retrieval.query import Query
from pgfolio.query_api.retrieval.trace import Trace
from pgfolio.schema.database.connect import connect
from pgfolio.schema.operations.traces import expire, traces_connection
from tests.query_api.library import BREAD, PAGES, RETRIES, Page, make_key, running_api, stock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import httpx

    from pgfolio.config.settings import Settings

QUESTION = "how is a failed task retried"


def search(client: httpx.Client, **fields: Any) -> dict[str, Any]:
    response = client.post("/search", json={"query": QUESTION, **fields})
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


@pytest.mark.parametrize("mode", ["hybrid", "vector", "lexical"])
def test_an_explanation_has_every_candidate_with_its_ranks(api: httpx.Client, mode: str) -> None:
    answer = search(api, mode=mode, limit=3, explain=True)
    explained = answer["explain"]
    assert (explained["mode"], explained["limit"], explained["query"]) == (mode, 3, QUESTION)
    assert explained["space"] == answer["space"]
    assert explained["settings"]["ef_search"] > 0
    assert set(explained["milliseconds"]) >= {"embed", "retrieve"}
    placed = {one["chunk_id"]: one["place"] for one in explained["candidates"] if one["place"]}
    assert placed == {result["chunk_id"]: place for place, result in enumerate(answer["results"], 1)}
    for one in explained["candidates"]:
        assert one["path"]
        assert (one["place"] is None) == (one["dropped"] is not None)
        assert (one["vector"] is not None) or (one["words"] is not None)
    for arm in ("vector", "words"):
        ranked = sorted(
            (one[arm]["rank"], -one[arm]["score"]) for one in explained["candidates"] if one[arm] is not None
        )
        assert [score for _, score in ranked] == sorted(score for _, score in ranked)
        assert bool(ranked) == (mode == "hybrid" or (mode == "vector") == (arm == "vector"))


def test_without_explain_an_answer_has_none(api: httpx.Client) -> None:
    assert search(api)["explain"] is None


def test_every_answer_can_be_explained_afterwards(api: httpx.Client) -> None:
    for route, name in (("/search", "query"), ("/ask", "question")):
        answer = api.post(route, json={name: QUESTION, "limit": 3}).json()
        trace = api.get(f"/traces/{answer['trace_id']}").json()
        assert trace["id"] == answer["trace_id"] != trace["trace_id"]
        assert trace["explain"]["kind"] == route.removeprefix("/")
        assert trace["explain"]["query"] == QUESTION
        assert any(one["path"] == RETRIES.path and one["place"] for one in trace["explain"]["candidates"])
    assert trace["explain"]["answer"]["cited"] == [citation["chunk_id"] for citation in answer["citations"]]


def test_nulls_are_not_stored_and_are_reported_all_the_same(
    own: str, new_settings: Callable[..., Settings]
) -> None:
    with running_api(new_settings(database_url=own), own) as client:
        answer = search(client, mode="vector", explain=True)
        traced = client.get(f"/traces/{answer['trace_id']}").json()["explain"]
    assert traced["candidates"] == answer["explain"]["candidates"]
    assert {"words", "reranked", "dropped"} <= set(traced["candidates"][0])
    with connect(own) as connection:
        ((stored,),) = connection.execute("select record -> 'candidates' -> 0 from traces").fetchall()
    assert set(stored) == {"chunk_id", "vector", "fused", "place"}


def test_no_request_waits_for_a_disk_because_of_traces(own: str) -> None:
    async def synchronous_commit() -> str:
        async with traces_connection(own, 5) as connection:
            row = await (await connection.execute("show synchronous_commit")).fetchone()
            return str(row and row[0])

    assert asyncio.run(synchronous_commit()) == "off"


def test_a_streamed_answer_is_traced_too(api: httpx.Client) -> None:
    with api.stream("POST", "/ask", json={"question": QUESTION, "stream": True}) as response:
        response.read()
    trace = api.get(f"/traces/{response.headers['x-trace-id']}")
    assert trace.json()["explain"]["answer"]["answered"] is True


def test_an_unknown_trace_is_a_problem(api: httpx.Client) -> None:
    answer = api.get("/traces/0123456789abcdef")
    assert (answer.status_code, answer.json()["type"]) == (404, "urn:pgfolio:problem:unknown-trace")


@pytest.fixture
def own(settings: Settings, conninfo: str) -> str:
    stock(conninfo, settings)
    return conninfo


def test_texts_of_questions_are_not_stored_where_they_must_not_be(
    own: str, new_settings: Callable[..., Settings]
) -> None:
    settings = new_settings(database_url=own, traces={"keep_queries": False})
    with running_api(settings, own) as client:
        trace = client.get(f"/traces/{search(client)['trace_id']}").json()
    assert trace["explain"]["query"] is None
    assert trace["explain"]["candidates"]
    with connect(own) as connection:
        rows = connection.execute("select record::text from traces").fetchall()
    assert rows
    assert all("failed task" not in text for (text,) in rows)


def test_no_trace_is_stored_with_zero_days(own: str, new_settings: Callable[..., Settings]) -> None:
    settings = new_settings(database_url=own, traces={"keep_days": 0})
    with running_api(settings, own) as client:
        answer = search(client, explain=True)
        assert answer["explain"]["candidates"]
        assert client.get(f"/traces/{answer['trace_id']}").status_code == 404


def test_traces_are_forgotten_after_their_time(own: str, new_settings: Callable[..., Settings]) -> None:
    settings = new_settings(database_url=own)
    with running_api(settings, own) as client:
        old = search(client)["trace_id"]
        assert client.get(f"/traces/{old}").status_code == 200
        with connect(own) as connection:
            connection.execute("update traces set asked_at = now() - interval '8 days'")
    with running_api(settings, own) as client:  # looks when it starts
        deadline = time.monotonic() + 5
        while client.get(f"/traces/{old}").status_code == 200:
            assert time.monotonic() < deadline
            time.sleep(0.1)


def test_many_traces_are_forgotten_some_at_a_time(own: str, new_settings: Callable[..., Settings]) -> None:
    with connect(own) as connection:
        connection.execute(
            "insert into traces (id, asked_at, kind, record) "
            "select n, now() - interval '8 days', 'search', '{}' from generate_series(1, 5000) n"
        )

    async def steps() -> list[bool]:
        async with traces_connection(own, 5.0) as connection:
            return [await expire(connection, 7, 100_000) for _ in range(3)]

    assert asyncio.run(steps()) == [False, False, True]
    with running_api(new_settings(database_url=own), own):
        assert stored_ids(own) == []


@contextmanager
def locked(conninfo: str, seconds: float) -> Iterator[None]:
    """For so long from now on nothing can be written to the traces."""
    with connect(conninfo) as connection:
        connection.execute("lock table traces in share mode")
        ending = threading.Timer(seconds, connection.rollback)
        ending.start()
        yield
        ending.join()


def stored_ids(conninfo: str) -> list[str]:
    with connect(conninfo) as connection:
        return [row[0] for row in connection.execute("select id from traces order by asked_at")]


async def write_while_locked(own: str, settings: Settings, *more: str) -> list[str]:
    """Ids that are stored when the log has ended, or, without `more`, when its one trace is settled, which both begin
    while that one is being written."""
    async with AsyncExitStack() as log_open:
        log = await log_open.enter_async_context(open_traces(own, settings.traces, Supervisor()))
        log.add("first", "search", OPEN, Trace(Query("a question")))
        await asyncio.sleep(0.6)
        for each in more:
            log.add(each, "search", OPEN, Trace(Query("another")))
        if not more:
            await log.wait_until_written()
            return stored_ids(own)
    return stored_ids(own)


@pytest.mark.parametrize("more", [(), ("second",)])
def test_a_trace_that_is_being_written_is_neither_lost_nor_taken_for_written(
    own: str, new_settings: Callable[..., Settings], more: tuple[str, ...]
) -> None:
    with locked(own, 1.2):
        ids = asyncio.run(write_while_locked(own, new_settings(database_url=own), *more))
    assert ids == ["first", *more]


@pytest.mark.parametrize("sent", ["\ud800", "a\x00b"])
def test_a_trace_that_cannot_be_stored_takes_no_other_with_it(
    own: str, new_settings: Callable[..., Settings], sent: str
) -> None:
    """A model server sends half of a surrogate pair, or a NUL."""

    async def ids() -> list[str]:
        async with open_traces(own, new_settings(database_url=own).traces, Supervisor()) as log:
            log.add("first", "search", OPEN, Trace(Query("a question")))
            log.add("odd", "search", OPEN, Trace(Query("another"), notes=[sent]))
            log.add("last", "search", OPEN, Trace(Query("one more")))
            await log.wait_until_written()
            return stored_ids(own)

    assert asyncio.run(ids()) == ["first", "last"]


def test_no_more_traces_are_stored_than_the_maximum(own: str, new_settings: Callable[..., Settings]) -> None:
    settings = new_settings(database_url=own)
    with running_api(settings, own) as client:
        trace_ids = [search(client)["trace_id"] for _ in range(5)]
        client.get(f"/traces/{trace_ids[-1]}")

    async def expired_all() -> bool:
        async with traces_connection(own, 5.0) as connection:
            return await expire(connection, 7, 2)

    assert asyncio.run(expired_all())
    with connect(own) as connection:
        rows = connection.execute("select id from traces order by asked_at").fetchall()
    assert [row[0] for row in rows] == trace_ids[-2:]


@pytest.fixture
def limited(own: str, new_settings: Callable[..., Settings]) -> Iterator[tuple[httpx.Client, str, str]]:
    """A client with nobody's key, a key for everything, and one for the manual alone."""
    everything, manual = make_key(own), make_key(own, collections=["manual"])
    with running_api(new_settings(database_url=own), own) as client:
        yield client, everything, manual


def test_a_trace_is_served_by_every_process(own: str, new_settings: Callable[..., Settings]) -> None:
    settings = new_settings(database_url=own)
    with running_api(settings, own) as one, running_api(settings, own) as other:
        for _ in range(5):
            trace_id = search(one)["trace_id"]
            assert other.get(f"/traces/{trace_id}").status_code == 200


def test_a_trace_is_for_whoever_may_see_all_that_the_asker_could(
    limited: tuple[httpx.Client, str, str],
) -> None:
    client, everything, manual = limited
    client.headers["X-API-Key"] = everything
    of_all = client.post("/search", json={"query": "bread", "explain": True}).json()
    assert any(one["path"] == BREAD.path for one in of_all["explain"]["candidates"])
    client.headers["X-API-Key"] = manual
    assert client.get(f"/traces/{of_all['trace_id']}").status_code == 404
    own = client.post("/search", json={"query": "bread", "explain": True, "why": BREAD.path}).json()
    assert BREAD.path not in json.dumps(own["explain"])
    assert own["why"]["document_id"] is None
    assert "no such document" in own["why"]["reason"]
    for key in (manual, everything):
        client.headers["X-API-Key"] = key
        response = client.get(f"/traces/{own['trace_id']}")
        assert response.status_code == 200
        assert BREAD.path not in response.text


@pytest.mark.parametrize(
    ("fields", "document", "said"),
    [
        ({}, RETRIES.path, "it is there, at place 1"),
        ({"limit": 1}, "guides/pools.md", "beyond the limit"),
        ({"filter": {"category": "guide"}}, "guides/pools.md", "does not match the filter"),
        (
            {"mode": "lexical", "query": "zebra", "filter": {"category": "guide"}},
            RETRIES.path,
            "could be compared",
        ),
        ({"collections": ["manual"]}, BREAD.path, "collection 'kitchen', which was not asked for"),
        ({"min_similarity": 0.9}, "guides/pools.md", "below 0.9"),
        ({}, "nowhere.md", "no such document is stored"),
    ],
)
def test_why_a_document_is_not_among_the_results(
    api: httpx.Client, fields: dict[str, Any], document: str, said: str
) -> None:
    why = search(api, why=document, **fields)["why"]
    assert (why["document"], said in why["reason"]) == (document, True), why


def test_why_tells_of_a_chunk_that_is_there_before_a_better_one_that_is_not(
    settings: Settings, conninfo: str, new_settings: Callable[..., Settings]
) -> None:
    """Its best chunk says again what a document whose path comes first says, and its second is there."""
    again = dict([next(iter(RETRIES.sections.items()))])
    other = {"More": "How a task is tried again after it failed: the scheduler gives it another attempt."}
    stock(conninfo, settings, (*PAGES, Page("later.md", RETRIES.title, again | other)))
    with running_api(new_settings(database_url=conninfo), conninfo) as client:
        answer = search(client, limit=3, why="later.md", explain=True)
    (place,) = [at for at, result in enumerate(answer["results"], 1) if result["path"] == "later.md"]
    assert any("says again" in (one["dropped"] or "") for one in answer["explain"]["candidates"])
    assert answer["why"]["reason"] == f"it is there, at place {place}"


def test_why_a_document_did_not_even_come_into_question(
    settings: Settings, conninfo: str, new_settings: Callable[..., Settings]
) -> None:
    stock(conninfo, settings)
    with running_api(new_settings(database_url=conninfo, search={"candidates": 10}), conninfo) as client:
        why = search(client, limit=1, mode="vector", why=BREAD.path)["why"]
    assert "no arm" in why["reason"]
    assert why["similarity"] < why["least_similarity"]


def test_the_terminal_shows_it_as_a_table(library: str, tmp_path: Any) -> None:
    environment = child_environment(
        PGFOLIO_DATABASE_URL=library, PGFOLIO_HOME=str(tmp_path), COLUMNS="200", TERM="dumb"
    )
    command = [
        sys.executable,
        "-m",
        "pgfolio.query_api",
        "search",
        QUESTION,
        "--explain",
        "--why",
        BREAD.path,
    ]
    output = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)
    assert "vectors: through the index" in output.stdout or "every vector" in output.stdout
    for heading in ("place", "chunk", "vector", "words", "fused", "where"):
        assert heading in output.stdout
    assert RETRIES.path in output.stdout
    assert f"{BREAD.path}: " in output.stdout
    assert len(PAGES) == 4


def test_of_two_documents_with_one_path_the_result_is_meant(settings: Settings, conninfo: str) -> None:
    other = Page(RETRIES.path, "Bread", {"Rolls": "Rolls are baked."}, collection="second")
    stock(conninfo, settings, (*PAGES, other))
    with running_api(settings, conninfo) as client:
        assert search(client, why=RETRIES.path, limit=1)["why"]["reason"].startswith(
            "it is there, at place 1"
        )
        for named in (RETRIES.path, f"second/{RETRIES.path}"):
            why = search(client, why=named, limit=1, collections=["second"])["why"]
            assert why["reason"].startswith("it is there, at place 1")
