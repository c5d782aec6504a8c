"""After ranking: a second pass by a reranker, repetitions behind what is new, passages with their neighbours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from pgfolio.config.errors import ConfigError
from pgfolio.config.models import reranker as reranker_of
from pgfolio.config.models.rerank_local import LocalReranker
from pgfolio.query_api.retrieval.deduplication import (
    JACCARD_THRESHOLD,
    MAX_SIMILARITY_DIFFERENCE,
    near_duplicates,
    shingles,
)
from pgfolio.query_api.retrieval.neighbors import expand
from pgfolio.schema.search.hits import Passage
from pgfolio.schema.search.vector import Hit
from tests.fakes.rerank_server import FakeReranker
from tests.fakes.tiny_transformers import (
    cross_encoder_folder,
    cross_encoder_table,
    embedding_folder,
    token_ids,
)
from tests.query_api.library import PAGES, Page, running_api, stock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import httpx

    from pgfolio.config.settings import Settings

QUESTION = "how is a failed task retried"
LONG = "The river runs through the old town and under three bridges until it meets the sea far in the west "


def hit(number: int, content: str, similarity: float = 0.5, document: int = 1, start: int = 0) -> Hit:
    end = start + len(content)
    return Hit(
        number, document, "c", "s", f"{document}.md", None, content, "", None, start, end, {}, similarity
    )


def search(client: httpx.Client, **fields: Any) -> dict[str, Any]:
    response = client.post("/search", json={"query": QUESTION, **fields})
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


@pytest.fixture
def reranker() -> Iterator[FakeReranker]:
    with FakeReranker() as fake:
        yield fake


@pytest.fixture
def reranked(
    library: str, new_settings: Callable[..., Settings], reranker: FakeReranker
) -> Iterator[httpx.Client]:
    reranker_settings = {"url": reranker.url, "model": "tiny-reranker", "key": "rr-secret", "timeout": 1.0}
    with running_api(new_settings(database_url=library, rerank=reranker_settings), library) as client:
        yield client


def test_a_reranker_orders_the_best_once_more(reranked: httpx.Client, reranker: FakeReranker) -> None:
    plain, answer = search(reranked, limit=3), search(reranked, limit=3, rerank=True, explain=True)
    (request,) = reranker.asked
    assert (request["path"], request["model"], request["query"]) == ("/rerank", "tiny-reranker", QUESTION)
    assert reranker.keys == ["Bearer rr-secret"]
    scores = [result["score"] for result in answer["results"]]
    assert scores == sorted(scores, reverse=True) != [result["score"] for result in plain["results"]]
    ranks = [one["reranked"]["rank"] for one in answer["explain"]["candidates"] if one["place"]]
    assert sorted(ranks) == [1, 2, 3]
    assert answer["notes"] == []


def test_text_embeddings_inference_has_its_own_api(
    library: str, new_settings: Callable[..., Settings], reranker: FakeReranker
) -> None:
    reranker_settings = {"url": f"{reranker.url}/rerank", "api": "tei"}
    with running_api(new_settings(database_url=library, rerank=reranker_settings), library) as client:
        assert search(client, rerank=True)["notes"] == []
    (request,) = reranker.asked
    assert set(request) == {"path", "query", "texts", "truncate"}


@pytest.mark.parametrize(
    ("fault_scenario", "message"),
    [
        ("slow", "longer than 1 s"),
        ("down", "failed (503)"),
        ("garbage", "cannot be read"),
        ("endless", "cannot be read"),
        ("deep", "cannot be read"),
        ("short", "scores to"),
        ("nan", "no number"),
        ("refused", "key was refused"),
    ],
)
def test_a_reranker_that_fails_is_skipped_and_the_answer_says_so(
    reranked: httpx.Client, reranker: FakeReranker, fault_scenario: str, message: str
) -> None:
    plain = search(reranked)
    reranker.fault_scenario = fault_scenario
    answer = search(reranked, rerank=True)
    assert answer["results"] == plain["results"]
    (note,) = answer["notes"]
    assert message in note
    assert "ranked without it" in note
    answered = reranked.post("/ask", json={"question": QUESTION, "rerank": True}).json()
    assert answered["answered"]
    assert message in answered["notes"][0]


def test_without_a_reranker_the_answer_says_so(api: httpx.Client) -> None:
    (note,) = search(api, rerank=True)["notes"]
    assert "PGFOLIO_RERANK__URL" in note


def test_what_says_the_same_again_comes_after_what_is_new(
    settings: Settings, conninfo: str, new_settings: Callable[..., Settings]
) -> None:
    text = (
        "A failed task is retried when you set the number of retries on its decorator, and not before. " * 2
    )
    copies = tuple(Page(f"copy{n}.md", None, {"Retry": f"{text} Copy."}) for n in range(6))
    stock(conninfo, settings, (*PAGES, *copies))
    with running_api(new_settings(database_url=conninfo), conninfo) as client:
        few, all_of_them = search(client, limit=4), search(client, limit=50)
        answer = client.post("/ask", json={"question": QUESTION, "limit": 20}).json()
    assert [result["repeats"] for result in few["results"]] == [None] * 4
    assert sum(result["path"].startswith("copy") for result in few["results"]) == 1
    repeated = [result for result in all_of_them["results"] if result["repeats"]]
    assert len(repeated) == 5, "nothing is lost where there is room"
    assert len({result["repeats"] for result in repeated}) == 1
    assert sum(source["path"].startswith("copy") for source in answer["sources"]) == 1


def test_texts_that_differ_in_a_word_that_counts_are_no_near_duplicates() -> None:
    first, other = (hit(n, f"Document {n} is about databases and tells of their backup.") for n in (1, 2))
    assert near_duplicates([first, other], 5) == {}


def test_texts_that_differ_in_a_number_are_no_near_duplicates() -> None:
    """The days of leave of two years, the default of two versions."""
    assert near_duplicates([hit(1, LONG * 5 + "In 2023: 24."), hit(2, LONG * 5 + "In 2024: 30.")], 5) == {}
    assert near_duplicates([hit(1, LONG * 5 + "In 2023: 24."), hit(2, LONG * 5 + "In 2023: 24!")], 5) == {
        2: 1
    }


def test_a_text_with_a_changed_word_in_a_hundred_is_a_near_duplicate() -> None:
    again = hit(2, LONG * 5 + "soon.", similarity=0.51)
    assert near_duplicates(
        [hit(1, LONG * 5 + "late."), again, hit(3, "Nothing of this is about rivers.")], 5
    ) == {2: 1}


@given(
    st.lists(st.lists(st.sampled_from("abcdef"), min_size=20, max_size=60), min_size=1, max_size=3),
    st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 60), st.sampled_from("xyz"), st.floats(0.4, 0.5)),
        max_size=20,
    ),
    st.integers(1, 8),
)
def test_near_duplicates_are_those_of_comparing_every_pair(
    texts: list[list[str]], edits: list[tuple[int, int, str, float]], enough: int
) -> None:
    """Texts that differ from one of a few in a word here or there."""
    hits = []
    for number, (which, at, word, similarity) in enumerate(edits, 1):
        words = list(texts[which % len(texts)])
        words.insert(at, word)
        hits.append(hit(number, " ".join(words), similarity))
    expected: dict[int, int] = {}
    distinct: list[Hit] = []
    for one in hits:
        if len(distinct) == enough:
            break
        own = shingles(one.content)
        for other in distinct:
            others = shingles(other.content)
            similar_enough = abs(one.similarity - other.similarity) <= MAX_SIMILARITY_DIFFERENCE
            if similar_enough and len(own & others) >= JACCARD_THRESHOLD * len(own | others):
                expected[one.chunk_id] = other.chunk_id
                break
        else:
            distinct.append(one)
    assert near_duplicates(hits, enough) == expected


@given(st.text(st.characters(max_codepoint=127), min_size=20))
def test_a_text_has_the_same_shingles_whether_or_not_all_of_it_is_ascii(text: str) -> None:
    words = "one two three four "
    assert shingles(words + text) <= shingles(f"{words}{text} \u00e9")


def test_neighbours_widen_a_passage_to_a_slice_of_the_text(api: httpx.Client) -> None:
    texts = {page.path: page.text for page in PAGES}
    narrow, wide = search(api, limit=2), search(api, limit=2, neighbors=1)
    for result in wide["results"]:
        assert texts[result["path"]][result["start"] : result["end"]] == result["content"]
    chunk = narrow["results"][0]["chunk_id"]
    (same,) = [result for result in wide["results"] if result["chunk_id"] == chunk]
    assert len(same["content"]) > len(narrow["results"][0]["content"])
    answer = api.post("/ask", json={"question": QUESTION, "neighbors": 1}).json()
    assert all(citation["verified"] for citation in answer["citations"])


def test_passages_that_overlap_are_one_and_another_takes_the_place() -> None:
    text = "".join(f"{n:04} " for n in range(200))
    hits = [
        hit(1, text[100:200], start=100),
        hit(2, text[200:300], start=200),
        hit(3, text[600:700], start=600),
    ]
    passages = {
        one.chunk_id: Passage(one.start - 100, one.end + 100, text[one.start - 100 : one.end + 100])
        for one in hits
    }
    made = expand(hits, passages, limit=2)
    assert made.merged == {2: 1}
    assert [(one.chunk_id, one.start, one.end) for one in made.hits] == [(1, 0, 400), (3, 500, 800)]
    assert all(one.content == text[one.start : one.end] for one in made.hits)


def test_passages_that_a_third_one_brings_together_are_one() -> None:
    text = "".join(f"{n:04} " for n in range(200))
    hits = [hit(n, text[at : at + 100], start=at) for n, at in ((1, 100), (2, 400), (3, 250))]
    passages = {one.chunk_id: Passage(one.start, one.end, one.content) for one in hits}
    passages[3] = Passage(150, 450, text[150:450])
    made = expand(hits, passages, limit=3)
    assert made.merged == {2: 1, 3: 1}
    assert [(one.chunk_id, one.content) for one in made.hits] == [(1, text[100:500])]


def test_a_place_that_becomes_free_is_taken_by_the_next() -> None:
    """Two passages that a third one joins were two of the limit's places; the other document came between."""
    text = "".join(f"{n:04} " for n in range(200))
    hits = [hit(n, text[at : at + 100], start=at) for n, at in ((1, 100), (2, 400), (4, 700), (3, 250))]
    hits[2] = replace(hits[2], document_id=2)
    passages = {one.chunk_id: Passage(one.start, one.end, one.content) for one in hits}
    passages[3] = Passage(150, 450, text[150:450])
    made = expand(hits, passages, limit=2)
    assert [one.chunk_id for one in made.hits] == [1, 4]
    assert made.merged == {2: 1, 3: 1}


@pytest.mark.parametrize("mode", ["vector", "hybrid", "lexical"])
def test_fewer_passages_than_the_limit_are_not_complete_where_there_are_more(
    settings: Settings, conninfo: str, new_settings: Callable[..., Settings], mode: str
) -> None:
    """Every candidate is of one document, and what they are joined to is less than was asked for."""
    sections = {f"Part {n}": f"How is a failed task retried: time {n} of a failed task." for n in range(90)}
    stock(conninfo, settings, (Page("long.md", "Long", sections), *PAGES))
    with running_api(new_settings(database_url=conninfo, search={"candidates": 10}), conninfo) as client:
        fields: dict[str, Any] = {"mode": mode, "neighbors": 10, "max_per_document": 100}
        few = search(client, **fields, limit=8, exact=True)
        many = search(client, **fields, limit=50)
    assert few["total_returned"] < min(8, many["total_returned"])
    assert few["complete"] is False


def test_a_chunk_that_is_gone_is_not_joined_with_the_text_as_it_is_now() -> None:
    old, new = hit(1, "of before", start=0), hit(2, "of now", start=5)
    made = expand([old, new], {2: Passage(0, 11, "text of now")}, limit=5)
    assert [one.content for one in made.hits] == ["of before", "text of now"]


def test_a_chunk_that_is_gone_by_then_stays_as_it_was_read() -> None:
    only = hit(1, "text")
    assert expand([only, replace(only, chunk_id=2, document_id=2)], {}, limit=5).hits[0] == only


def test_a_local_reranker_without_a_model_is_a_setting_to_correct(
    new_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="PGFOLIO_RERANK__MODEL: name a cross-encoder"):
        reranker_of(new_settings(rerank={"api": "local"}))
    with pytest.raises(ConfigError, match=r"PGFOLIO_RERANK__MODEL: .* has no model.onnx"):
        reranker_of(new_settings(rerank={"api": "local", "model": str(tmp_path)}))
    embeds = embedding_folder(tmp_path)
    with pytest.raises(ConfigError, match="it is no cross-encoder"):
        reranker_of(new_settings(rerank={"api": "local", "model": str(embeds)}))
    with pytest.raises(ConfigError, match="gives 3 numbers"):
        LocalReranker(str(cross_encoder_folder(tmp_path / "three", labels=3)))


@pytest.mark.parametrize(
    ("labels", "activation", "expected"),
    [(1, None, "sigmoid"), (2, None, "sigmoid"), (1, "torch.nn.modules.linear.Identity", "logit")],
)
def test_a_cross_encoder_scores_question_and_text_together(
    tmp_path: Path, labels: int, activation: str | None, expected: str
) -> None:
    """Its table and its segments are known: the text's tokens count twice."""
    config = {"config.json": {"sentence_transformers": {"activation_fn": activation}}} if activation else {}
    model = LocalReranker(str(cross_encoder_folder(tmp_path, labels=labels, files=config)))
    table = cross_encoder_table(labels)
    logits = []
    for text in (["whale"], ["the", "violin", "of", "a", "glacier"], []):
        question = table[token_ids("[CLS]", "volcano", "[SEP]")].sum(axis=0)
        numbers = question + 2 * table[token_ids(*text, "[SEP]")].sum(axis=0)
        logits.append(numbers[0] if labels == 1 else numbers[1] - numbers[0])
    scores = model.rank("volcano", ["whale", "the violin of a glacier", ""])
    assert scores == pytest.approx(
        logits if expected == "logit" else 1 / (1 + np.exp(-np.array(logits))), abs=1e-5
    )
    assert model.rank("volcano", []) == []


def test_a_cross_encoder_in_the_process_ranks_too(
    library: str, new_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    folder = cross_encoder_folder(tmp_path)
    reranker_settings = new_settings(
        database_url=library, rerank={"api": "local", "model": str(folder), "timeout": 30}
    )
    with running_api(reranker_settings, library) as client:
        answer = search(client, rerank=True, limit=4)
    scores = [result["score"] for result in answer["results"]]
    assert (answer["notes"], scores) == ([], sorted(scores, reverse=True))
    assert len(set(scores)) > 1
