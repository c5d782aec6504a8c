"""No document takes more places than it may, and those that it leaves go to others, however long it is."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgfolio.query_api.retrieval.crowding import full_documents, limit_per_document
from pgfolio.schema.search.question import Scored
from tests.query_api.library import Page, running_api, stock, write_postings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    import httpx

    from pgfolio.config.settings import Settings

QUESTION = "how is the harvest of apples stored over the winter"
ANSWER = "answer.md"
MODES = pytest.mark.parametrize("mode", ["vector", "hybrid", "lexical"])


# Their numbers tell them apart: near-duplicates come last.
SECTIONS = {f"Case {n}": f"How is the harvest of apples stored over the winter? See {n}." for n in range(150)}
LONG = Page("long.md", "Storing the harvest of apples over the winter", SECTIONS)
OTHERS = [
    Page(f"other{n}.md", None, {f"Note {n}": f"Trains are late in winter; platform {n} has moved."}, "notes")
    for n in range(6)
]
ANSWERING = Page(ANSWER, None, {"Cellar": "Put apples into the dark cellar until spring comes."})


@pytest.fixture(scope="module", params=["counted", "posted"])
def crowded(
    request: pytest.FixtureRequest,
    new_database: Callable[[], AbstractContextManager[str]],
    new_settings: Callable[..., Settings],
) -> Iterator[httpx.Client]:
    """A page of 150 chunks that has all of the words, and seven small ones, where an arm has 20 candidates."""
    with new_database() as conninfo:
        settings = new_settings(database_url=conninfo, search={"candidates": 20}, api={"log": "off"})
        stock(conninfo, settings, (LONG, *OTHERS, ANSWERING))
        if request.param == "posted":
            write_postings(conninfo)
        with running_api(settings, conninfo) as client:
            yield client


def search(client: httpx.Client, **fields: Any) -> dict[str, Any]:
    response = client.post("/search", json={"query": QUESTION, **fields})
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def by_path(answer: dict[str, Any]) -> Counter[str]:
    return Counter(result["path"] for result in answer["results"])


@MODES
def test_one_long_page_takes_three_places_and_others_the_rest(crowded: httpx.Client, mode: str) -> None:
    answer = search(crowded, mode=mode, limit=10)
    assert by_path(answer) == {"long.md": 3, ANSWER: 1, **{page.path: 1 for page in OTHERS}}
    scores = [result["score"] for result in answer["results"]]
    assert scores == sorted(scores, reverse=True)


@MODES
@pytest.mark.parametrize("maximum", [1, 2, 5])
def test_as_many_as_are_asked_for(crowded: httpx.Client, mode: str, maximum: int) -> None:
    answer = search(crowded, mode=mode, limit=8, max_per_document=maximum)
    assert by_path(answer)["long.md"] == maximum
    assert answer["total_returned"] == 8
    assert answer["complete"]


@MODES
def test_all_places_where_that_is_asked_for(crowded: httpx.Client, mode: str) -> None:
    assert by_path(search(crowded, mode=mode, limit=10, max_per_document=100))["long.md"] >= 9


@MODES
def test_what_is_left_out_is_said_where_results_are_fewer_than_the_limit(
    crowded: httpx.Client, mode: str
) -> None:
    fields: dict[str, Any] = {"mode": mode, "filter": {"path": {"$in": ["long.md", ANSWER]}}}
    answer = search(crowded, **fields, explain=True)
    assert by_path(answer) == {"long.md": 3, ANSWER: 1}
    assert answer["complete"] is False
    assert "max_per_document" in " ".join(answer["notes"])
    assert any("max_per_document" in (one["dropped"] or "") for one in answer["explain"]["candidates"])
    assert search(crowded, **fields, max_per_document=100)["notes"] == []


@MODES
@pytest.mark.parametrize("more", [{"exact": True}, {"neighbors": 1}, {"collections": ["manual", "notes"]},
                                  {"min_similarity": 0.01}])  # fmt: skip
def test_the_same_however_it_is_searched(crowded: httpx.Client, mode: str, more: dict[str, Any]) -> None:
    counts = by_path(search(crowded, mode=mode, limit=7, **more))
    assert counts.pop("long.md") <= 3
    assert max(counts.values()) == 1
    assert counts.total() >= 4


def test_an_answer_has_no_more_sources_of_one_document(crowded: httpx.Client) -> None:
    answer = crowded.post("/ask", json={"question": QUESTION, "limit": 8}).json()
    assert ANSWER in {source["path"] for source in answer["sources"]}


@pytest.mark.parametrize("value", [0, 101, -1, "3", None])
def test_a_number_that_makes_no_sense_is_refused(crowded: httpx.Client, value: Any) -> None:
    response = crowded.post("/search", json={"query": QUESTION, "max_per_document": value})
    assert response.status_code == 400
    assert "max_per_document" in response.text


@given(st.lists(st.integers(1, 5), max_size=30), st.integers(1, 4))
def test_the_best_of_each_document_keep_their_order(documents: list[int], maximum: int) -> None:
    items = list(enumerate(documents))
    placed, surplus = limit_per_document(items, maximum, lambda item: item[1])
    assert sorted(placed + surplus) == items
    assert placed == sorted(placed)
    assert all(count <= maximum for count in Counter(document for _, document in placed).values())
    assert all(sum(one[1] == other[1] for one in placed if one < other) == maximum for other in surplus)


def test_an_arm_is_searched_again_only_where_others_lack_places() -> None:
    def arm(*documents: int) -> list[Scored]:
        return [Scored(n, 0, 0, 0, 0, True, document) for n, document in enumerate(documents)]

    assert full_documents(arm(1, 1, 1, 1, 2), 3, 5) == {1}
    assert full_documents(arm(1, 1, 1, 1, 2), 3, 4) == set()
