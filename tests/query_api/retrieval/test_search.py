"""POST /search against a real server and a real database."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from pgfolio.schema.records import Space
from pgfolio.schema.search.pool import open_pool
from pgfolio.schema.search.vector import active_generation, nearest
from tests.query_api.library import (
    LOCAL,
    PAGES,
    RETRIES,
    UNTITLED,
    Page,
    random_parts,
    running_api,
    stock,
    switch,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

    from pgfolio.config.settings import Settings

SMALLER = Space("local", "wordllama-256", 128)
CHUNKS = sum(len(page.sections) for page in PAGES)
MODES = ("hybrid", "vector", "lexical")


WALKS = "select sum(idx_scan) from pg_stat_user_indexes where indexrelname like '%hnsw'"


def search(client: httpx.Client, query: str, **fields: Any) -> dict[str, Any]:
    response = client.post("/search", json={"query": query, **fields})
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


@pytest.mark.parametrize("mode", MODES)
def test_the_page_about_the_question_comes_first(api: httpx.Client, mode: str) -> None:
    answer = search(api, "how do I retry a failed task", mode=mode)
    assert answer["results"][0]["path"] == RETRIES.path


def test_hybrid_is_the_default(api: httpx.Client) -> None:
    question = "when is a cached result too old"
    assert search(api, question)["results"] == search(api, question, mode="hybrid")["results"]


@pytest.mark.parametrize("mode", MODES)
def test_results_are_ordered_by_score(api: httpx.Client, mode: str) -> None:
    scores = [r["score"] for r in search(api, "bake bread or retry a task", mode=mode, limit=100)["results"]]
    assert scores == sorted(scores, reverse=True)


def test_a_result_shows_where_it_stands(api: httpx.Client) -> None:
    answer = search(api, "wait before the task is tried again")
    result = answer["results"][0]
    assert RETRIES.text[result["start"] : result["end"]] == result["content"]
    assert result["title"] == RETRIES.title
    assert result["heading"] == "Wait between retries"
    assert result["collection"] == result["source"] == "manual"
    assert result["metadata"] == {"category": "guide"}
    assert answer["space"] == LOCAL.name
    assert answer["took_ms"] > 0


def test_a_document_without_title_goes_by_its_file_name(api: httpx.Client) -> None:
    answer = search(api, "under which key are results cached")
    assert (answer["results"][0]["path"], answer["results"][0]["title"]) == (UNTITLED.path, "caching.md")


@pytest.mark.parametrize("mode", ["hybrid", "vector"])
@pytest.mark.parametrize("limit", [1, 3])
def test_limit_bounds_the_results(api: httpx.Client, mode: str, limit: int) -> None:
    answer = search(api, "task", mode=mode, limit=limit)
    assert (len(answer["results"]), answer["total_returned"], answer["complete"]) == (limit, limit, True)


def test_a_limit_over_what_there_is_returns_everything_and_is_complete(api: httpx.Client) -> None:
    answer = search(api, "task", mode="vector", limit=100)
    assert (answer["total_returned"], answer["complete"]) == (CHUNKS, True)


@pytest.mark.parametrize("mode", MODES)
def test_only_chunks_of_the_named_collections_are_results(api: httpx.Client, mode: str) -> None:
    answer = search(api, "retry the task of baking bread", mode=mode, collections=["kitchen"], limit=100)
    assert {r["collection"] for r in answer["results"]} == {"kitchen"}


def test_several_collections_are_searched_together(api: httpx.Client) -> None:
    answer = search(api, "bread task", collections=["kitchen", "manual"], mode="vector", limit=100)
    assert answer["total_returned"] == CHUNKS


def test_a_rare_collection_is_searched_in_full_whatever_the_index_gives(
    settings: Settings, conninfo: str
) -> None:
    """With one chunk in 300, a scan of the index with ef_search 1 comes back short."""
    many = tuple(
        Page(f"{n}.md", None, {"Task": f"Task {n} retries part {n * 7} of the work."}, "many")
        for n in range(300)
    )
    rare = Page("rare.md", None, {"Ocean": "Whales sing in the deep ocean."}, "rare")
    stock(conninfo, settings, (*many, rare))
    with running_api(settings, conninfo) as client:
        answer = search(client, "task retries", mode="vector", collections=["rare"], ef_search=1)
    assert [r["path"] for r in answer["results"]] == ["rare.md"]
    assert answer["complete"] is True


def test_exact_search_finds_what_the_index_finds(api: httpx.Client) -> None:
    exact = search(api, "how are pools deleted", mode="vector", exact=True)
    assert exact["results"] == search(api, "how are pools deleted", mode="vector")["results"]


def test_less_similar_results_are_dropped(api: httpx.Client) -> None:
    everything = search(api, "sourdough bread", mode="vector", limit=100)["results"]
    bound = everything[2]["similarity"]
    answer = search(api, "sourdough bread", mode="vector", limit=100, min_similarity=bound - 1e-6)
    assert [r["chunk_id"] for r in answer["results"]] == [r["chunk_id"] for r in everything[:3]]
    assert answer["complete"] is True


def test_similarity_is_the_same_in_every_mode(api: httpx.Client) -> None:
    by_mode = [
        {r["chunk_id"]: r["similarity"] for r in search(api, "cache key", mode=mode, limit=100)["results"]}
        for mode in MODES
    ]
    for chunk in set.intersection(*map(set, by_mode)):
        assert len({round(similarities[chunk], 4) for similarities in by_mode}) == 1


def test_words_that_no_document_has_find_nothing_by_words(api: httpx.Client) -> None:
    answer = search(api, "zorgle flurb", mode="lexical")
    assert (answer["results"], answer["complete"]) == ([], True)


def test_a_query_without_any_token_is_answered(api: httpx.Client) -> None:
    assert search(api, "\u0000 \u200b?", mode="lexical")["results"] == []


@pytest.mark.parametrize(
    "text", ["'; drop table chunks; --", "a & b | !c", "x" * 4000, "{vectors} %s :name \\"]
)
def test_any_text_is_only_a_question(api: httpx.Client, text: str) -> None:
    for mode in MODES:
        search(api, text, mode=mode)


def test_nothing_synced_yet_is_an_empty_and_complete_answer(settings: Settings, conninfo: str) -> None:
    with running_api(settings, conninfo) as client:
        answer = search(client, "anything")
    assert (answer["results"], answer["complete"], answer["space"]) == ([], True, None)


def test_what_is_synced_after_the_start_is_a_result(settings: Settings, conninfo: str) -> None:
    with running_api(settings, conninfo) as client:
        search(client, "retry")
        stock(conninfo, settings)
        assert search(client, "retry a task")["results"][0]["path"] == RETRIES.path


def test_a_space_without_index_is_searched(settings: Settings, conninfo: str) -> None:
    stock(conninfo, settings, indexed=False)
    with running_api(settings, conninfo) as client:
        assert search(client, "retry a task", mode="vector")["results"][0]["path"] == RETRIES.path


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("drop", [True, False])
def test_a_switch_of_spaces_is_followed_without_an_error(
    settings: Settings, conninfo: str, mode: str, *, drop: bool
) -> None:
    stock(conninfo, settings)
    with running_api(settings, conninfo) as client:
        before = search(client, "retry a task", mode=mode)
        switch(conninfo, settings, SMALLER, drop=drop)
        after = search(client, "retry a task", mode=mode)
    assert (before["space"], after["space"]) == (LOCAL.name, SMALLER.name)
    assert after["results"][0]["path"] == RETRIES.path


def test_the_trace_id_of_an_answer_is_in_its_header(api: httpx.Client) -> None:
    responses = [api.post("/search", json={"query": "task"}) for _ in range(2)]
    traces = [response.json()["trace_id"] for response in responses]
    assert traces == [response.headers["X-Trace-Id"] for response in responses]
    assert len(set(traces)) == 2


def test_a_database_that_was_restarted_is_used_again(
    settings: Settings, conninfo: str, postgres: str
) -> None:
    """Every connection of the pool is gone, as after a restart of the server."""
    import psycopg

    stock(conninfo, settings)
    with running_api(settings, conninfo) as client:
        search(client, "task")
        with psycopg.connect(postgres, autocommit=True) as connection:
            connection.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'pgfolio-api'"
                " and datname = %s",
                [psycopg.conninfo.conninfo_to_dict(conninfo)["dbname"]],
            )
        assert search(client, "retry a task")["results"]


def test_settings_have_a_default_min_similarity(new_settings: Callable[..., Settings], library: str) -> None:
    settings = new_settings(database_url=library, search={"min_similarity": 0.99})
    with running_api(settings, library) as client:
        assert search(client, "sourdough bread", mode="vector")["results"] == []


def test_switches_of_spaces_under_load_fail_no_request(settings: Settings, conninfo: str) -> None:
    stock(conninfo, settings)
    spaces: set[str] = set()
    done = threading.Event()

    def ask(client: httpx.Client, mode: str) -> None:
        while not done.is_set():
            answer = search(client, "retry a failed task", mode=mode)
            assert answer["results"][0]["path"] == RETRIES.path
            spaces.add(answer["space"])

    with running_api(settings, conninfo) as client, ThreadPoolExecutor(len(MODES)) as threads:
        asking = [threads.submit(ask, client, mode) for mode in MODES]
        try:
            for space in (SMALLER, LOCAL, SMALLER, LOCAL, SMALLER):
                time.sleep(0.1)
                switch(conninfo, settings, space, drop=True)
            time.sleep(0.1)
        finally:
            done.set()
        for future in asking:
            future.result()
    assert spaces == {LOCAL.name, SMALLER.name}


def test_nothing_more_can_match_where_the_nearest_are_not_similar_enough(
    settings: Settings, conninfo: str, new_settings: Callable[..., Settings]
) -> None:
    others = tuple(Page(f"other{n}.md", None, {"Other": f"Number {n} is about a task."}) for n in range(30))
    stock(conninfo, settings, (*PAGES, *others))
    with running_api(new_settings(database_url=conninfo, search={"candidates": 10}), conninfo) as client:
        answers = [search(client, "sourdough", limit=2, min_similarity=least) for least in (0.99, -0.99)]
        none = search(client, "sourdough bread", limit=20, min_similarity=0.99, mode="lexical")
    assert [(one["total_returned"], one["complete"]) for one in answers] == [(0, True), (2, True)]
    assert (none["total_returned"], none["complete"]) == (0, True)


@pytest.mark.parametrize("mode", ["vector", "hybrid"])
def test_nothing_similar_enough_is_missed_where_results_are_fewer_than_the_limit(
    new_settings: Callable[..., Settings], conninfo: str, mode: str
) -> None:
    """However little a poor index finds by itself."""
    settings = new_settings(
        database_url=conninfo, index={"m": 2, "ef_construction": 4}, search={"candidates": 10}
    )
    parts = random_parts(1500)
    stock(conninfo, settings, (Page("all.md", None, parts),))
    missed = 0
    with running_api(settings, conninfo) as client:
        for text in list(parts.values())[:20]:
            query: dict[str, Any] = {"query": text[:25], "mode": "vector", "limit": 10, "ef_search": 1,
                                     "max_per_document": 100}  # fmt: skip
            exact = search(client, **query, exact=True)["results"]
            results = search(client, **query)["results"]
            missed += exact[4]["similarity"] > results[4]["similarity"] + 0.001
            body = {**query, "mode": mode, "min_similarity": exact[4]["similarity"] - 0.0005}
            similar = search(client, **body, explain=True)
            right = [one for one in exact if one["similarity"] >= body["min_similarity"]]
            assert {one["chunk_id"] for one in similar["results"]} >= {one["chunk_id"] for one in right}
            assert similar["complete"]
    assert missed


async def walks(conninfo: str, *ef_searches: int, between: str = "select 1") -> list[int]:
    """How often the index was walked by each of several questions to one connection, `between` which it runs this."""
    vector = np.ones(256, dtype=np.float32)
    counted = []
    async with open_pool(conninfo, 1, 20) as pool:
        for ef_search in ef_searches:
            async with pool.connection() as connection:
                generation = await active_generation(connection)
                assert generation is not None
                await connection.rollback()
                assert len(await nearest(connection, generation, vector, 10, ef_search, None)) == 10
                await connection.execute("select pg_stat_force_next_flush()")
                await connection.commit()
                row = await (await connection.execute(WALKS)).fetchone()
                assert row is not None
                counted.append(int(row[0]))
                await connection.execute(between.encode())
    return [after - before for before, after in pairwise(counted)]


def test_whatever_ef_search_is_a_question_walks_the_index_once(
    new_settings: Callable[..., Settings], conninfo: str
) -> None:
    """Where the index was tuned, every question looks farther than the settings say."""
    stock(conninfo, new_settings(database_url=conninfo), (Page("all.md", None, random_parts(1500)),))
    assert asyncio.run(walks(conninfo, 20, 40, 40, 30, 40, 40)) == [1] * 5


def test_a_session_that_was_set_by_another_is_noticed(
    new_settings: Callable[..., Settings], conninfo: str
) -> None:
    """As behind a pooler that gives each transaction any of its sessions."""
    stock(conninfo, new_settings(database_url=conninfo), (Page("all.md", None, random_parts(1500)),))
    other = "select set_config('hnsw.ef_search', '1', false)"
    assert asyncio.run(walks(conninfo, 20, 20, 20, between=other)) == [2, 1]
