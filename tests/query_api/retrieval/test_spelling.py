"""A word that no document has is corrected by those that they have: the answer says so, and only by visible ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pgfolio.query_api.retrieval.spelling import (
    by_length,
    correctable,
    corrected,
    nearest_word,
    similar_lexemes,
)
from pgfolio.schema.corpus import postings
from pgfolio.schema.database.connect import connect
from tests.query_api.library import PAGES, Page, make_key, running_api, stock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    import httpx

    from pgfolio.config.settings import Settings

SECRET = Page("plan.md", None, {"Plan": "The zeppelin lifts off at dawn; sourdogs guard it."}, "hangar")
CORRECTIONS = [
    ("sourdogh starter", "sourdough", "bread.md"),
    ("decoratro", "decorator", "guides/retries.md"),
    ("parameetrs of a retry", "parameters", "guides/retries.md"),
    ("wroker polls", "worker", "guides/pools.md"),
    ("how are resluts chached", "results", "notes/caching.md"),
    ("rbead in an oven", "bread", "bread.md"),
    ("what does CRAETE do", "create", "guides/pools.md"),
    ("fourty minutes", "forty", "bread.md"),
    ("canceling flwo runs", "flow", "guides/pools.md"),
]


@pytest.fixture(scope="module", params=["counted", "posted"])
def misspelt(
    request: pytest.FixtureRequest,
    new_database: Callable[[], AbstractContextManager[str]],
    new_settings: Callable[..., Settings],
) -> Iterator[tuple[httpx.Client, str]]:
    with new_database() as conninfo:
        settings = new_settings(database_url=conninfo, api={"log": "off"})
        stock(conninfo, settings, (*PAGES, SECRET))
        if request.param == "posted":
            with connect(conninfo) as connection:
                connection.execute("insert into corpus (chunks, newest_chunk, tokens) "
                                   "select count(*), max(id), avg(tokens) from chunks")  # fmt: skip
                postings.update(connection, 1)
        limited = make_key(conninfo, collections=("manual", "kitchen"))
        with running_api(settings, conninfo) as client:
            yield client, limited


def search(
    misspelt: tuple[httpx.Client, str], query: str, *, limited: bool = True, **fields: Any
) -> dict[str, Any]:
    client, key = misspelt
    client.headers["Authorization"] = f"Bearer {key}"
    response = client.post("/search", json={"query": query, **fields})
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


@pytest.mark.parametrize("mode", ["hybrid", "lexical"])
@pytest.mark.parametrize(("query", "meant", "path"), CORRECTIONS)
def test_a_misspelt_word_is_found_and_the_answer_says_so(
    misspelt: tuple[httpx.Client, str], query: str, meant: str, path: str, mode: str
) -> None:
    answer = search(misspelt, query, mode=mode)
    assert answer["results"][0]["path"] == path
    assert f'searched for "{meant}" instead' in " ".join(answer["notes"])
    exactly = search(misspelt, query, mode=mode, exact_words=True)
    assert exactly["notes"] == []


@pytest.mark.parametrize(
    "query",
    ["how is a failed task retried", "Sourdough starter", '"sourdogh" bread', "zzyzx", "kubernetes", "v12.9", "bake",
     "failing tasks", "retry 42x7", "die das weil aber oder nicht"],
)  # fmt: skip
def test_what_is_there_or_near_to_nothing_or_quoted_is_left_as_it_is(
    misspelt: tuple[httpx.Client, str], query: str
) -> None:
    assert search(misspelt, query)["notes"] == []


@pytest.mark.parametrize("query", ["zepelin", "zeppelni", "sourdogs"])
def test_no_word_of_what_a_key_may_not_see_is_told(misspelt: tuple[httpx.Client, str], query: str) -> None:
    answer = search(misspelt, query)
    assert "zeppelin" not in str(answer)
    assert "sourdogs" not in " ".join(answer["notes"]).replace('"sourdogs" is in no document', "")
    assert {result["collection"] for result in answer["results"]} <= {"manual", "kitchen"}


def test_a_word_of_another_collection_is_no_misspelling(misspelt: tuple[httpx.Client, str]) -> None:
    assert search(misspelt, "sourdough", collections=["manual"])["notes"] == []


def test_a_correction_is_noted_when_an_answer_is_asked_for(misspelt: tuple[httpx.Client, str]) -> None:
    answer = misspelt[0].post("/ask", json={"question": "When do I feed the sourdogh starter?"}).json()
    assert "sourdough" in answer["notes"][0]


def test_words_that_come_are_known_at_once(conninfo: str, new_settings: Callable[..., Settings]) -> None:
    settings = new_settings(database_url=conninfo, api={"log": "off"})
    stock(conninfo, settings)
    with running_api(settings, conninfo) as client:
        body = {"query": "zepelin"}
        assert client.post("/search", json=body).json()["notes"] == []
        stock(conninfo, settings, (SECRET,), indexed=False)
        assert "zeppelin" in client.post("/search", json=body).json()["notes"][0]


@pytest.mark.parametrize(
    ("word", "words", "meant"),
    [
        ("deploymnet", ["deployment", "deployed"], "deployment"),
        ("recieve", ["receive", "relieve"], "receive"),
        ("shedule", ["schedule", "scheduled"], "schedule"),
        ("perfect", ["prefect", "perform"], "prefect"),
        ("conection", ["connection", "collection"], "connection"),
        ("drukcer", ["drucker", "druck"], "drucker"),
        ("принтр", ["принтер", "привет"], "принтер"),
        ("tset", ["test", "text"], "test"),
        ("drukarki", ["drukarka"], None),
        ("stop", ["stol", "shop"], None),
        ("bird", ["flower", "house"], None),
        ("cook", ["look", "book"], None),
    ],
)
def test_of_words_the_nearest_is_meant(word: str, words: list[str], meant: str | None) -> None:
    assert nearest_word(word, [" ".join(words)]) == meant


@pytest.mark.parametrize(("word", "stem"), [("cachign", "cach"), ("deploymnet", "deploy"), ("retreis", "retri"),
                                            ("shedule", "schedul"), ("runing", "run"), ("rtey", "try")])  # fmt: skip
def test_a_stem_is_near_to_its_misspelt_word(word: str, stem: str) -> None:
    others = ["flow", "task", "state", "artifact", "work", "pool", "3.2.0", "druck*"]
    assert (stem in similar_lexemes(word, by_length([stem, *others]))) is (stem != "try")


def test_only_words_of_the_question_are_corrected_and_case_and_marks_stay() -> None:
    assert correctable({"PREFECT_API_ULR", "Thsi", "x1yz"}, "Thsi PREFECT_API_ULR, x1yz thsi", ["thsi"]) == [
        "prefect"
    ]
    assert corrected("Wroker: (WROKER)_wroker?", {"wroker": "worker"}) == "worker: (worker)_worker?"
