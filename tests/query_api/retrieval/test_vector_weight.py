"""What similarities count in a search: the query says it, else the settings, else what was measured."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from pgfolio.query_api.retrieval.query import Query
from pgfolio.query_api.services import open_services
from pgfolio.schema.database.connect import connect
from pgfolio.schema.vectors import generations, weights
from tests.query_api.library import running_api, stock_hosted

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

    from pgfolio.config.settings import Settings
    from tests.fakes.openai_server import FakeOpenAI

QUESTION = "retries of a failed task"


@pytest.fixture
def hosted(conninfo: str, new_settings: Callable[..., Settings], openai_server: FakeOpenAI) -> Settings:
    return stock_hosted(conninfo, new_settings, openai_server)


def measured(conninfo: str, weight: float) -> None:
    with connect(conninfo) as connection:
        (generation,) = generations.list_generations(connection, "active")
        weights.save(connection, generation, weight, 1000)


def explained(client: httpx.Client, mode: str = "hybrid") -> tuple[list[int], dict[str, Any]]:
    """The ids of the results, and the settings that they were found with."""
    answer = client.post("/search", json={"query": QUESTION, "mode": mode, "explain": True}).json()
    return [result["chunk_id"] for result in answer["results"]], answer["explain"]["settings"]


def said(settings: dict[str, Any]) -> tuple[float, str]:
    return settings["vector_weight"], settings["vector_weight_from"]


def test_with_a_silent_model_hybrid_search_goes_by_words(hosted: Settings, conninfo: str) -> None:
    measured(conninfo, 0.0)
    with running_api(hosted, conninfo) as client:
        by_words, _ = explained(client, "lexical")
        both, settings = explained(client)
    assert both[: len(by_words)] == by_words
    assert (settings["vector_share"], *said(settings)) == (0, 0, "measured")


def test_an_api_that_runs_learns_what_was_measured_since(hosted: Settings, conninfo: str) -> None:
    with running_api(hosted, conninfo) as client:
        before = said(explained(client)[1])
        measured(conninfo, 0.4)
        assert client.get("/health/ready").status_code == 200
        after = said(explained(client)[1])
    assert (before, after) == ((1, "default"), (0.4, "measured"))


def test_a_query_and_settings_win_over_what_was_measured(hosted: Settings, conninfo: str) -> None:
    measured(conninfo, 0.4)
    search = hosted.search.model_copy(update={"vector_weight": 3.0})

    async def said_of(query: Query) -> tuple[float, str]:
        async with open_services(hosted.model_copy(update={"search": search}), conninfo) as services:
            return said((await services.retriever.retrieve(query, None)).trace.settings)

    assert asyncio.run(said_of(Query(QUESTION, 5, "hybrid"))) == (3, "settings")
    assert asyncio.run(said_of(Query(QUESTION, 5, "hybrid", vector_weight=0.2))) == (0.2, "query")


@pytest.mark.parametrize(("given", "expected"), [("auto", "auto"), ("1.5", 1.5), (0, 0)])
def test_the_setting_is_auto_or_a_number(
    new_settings: Callable[..., Settings], given: object, expected: object
) -> None:
    assert new_settings(search={"vector_weight": given}).search.vector_weight == expected
