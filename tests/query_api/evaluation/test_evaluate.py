"""`python -m pgfolio.query_api eval`: retrieval quality on labelled queries."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from pgfolio.schema.database.connect import connect
from pgfolio.schema.records import Space
from pgfolio.schema.vectors import generations
from tests.fakes.openai_server import KEY
from tests.fakes.rerank_server import FakeReranker
from tests.query_api.cli.test_commands import run
from tests.query_api.library import BREAD, RETRIES, UNTITLED, stock

if TYPE_CHECKING:
    from pathlib import Path

    from pgfolio.config.settings import Settings
    from tests.fakes.openai_server import FakeOpenAI

LABELLED_QUERIES = (
    {"query": "how do I retry a failed task", "relevant": {RETRIES.path: 2}},
    {"query": "bake sourdough bread", "relevant": {BREAD.path: 1, "not/stored.md": 1}},
    {"query": "zorgle flurb", "relevant": {UNTITLED.path: 1}},
)


@pytest.fixture
def labelled(tmp_path: Path) -> str:
    file = tmp_path / "queries.jsonl"
    file.write_text("\n".join(map(json.dumps, LABELLED_QUERIES)) + "\n\n")
    return str(file)


def measure(*arguments: str, database: str) -> dict[str, Any]:
    done = run("eval", *arguments, "--json", PGFOLIO_DATABASE_URL=database)
    assert done.returncode == 0, done.stderr
    measures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return measures


def test_measures_are_means_over_all_queries(library: str, labelled: str) -> None:
    measures = measure(labelled, "--mode", "lexical", database=library)
    # The first is right; of the second one of two relevant documents is found, at the first place; the last finds
    # nothing. nDCG of the second: 1 / (1 + 1 / log2(3)).
    assert measures["mrr@10"] == pytest.approx(2 / 3, abs=1e-4)
    assert measures["recall@10"] == pytest.approx(1.5 / 3, abs=1e-4)
    assert measures["ndcg@10"] == pytest.approx((1 + 0.6131) / 3, abs=1e-3)
    assert measures["queries"] == 3
    assert 0 < measures["p50_ms"] <= measures["p95_ms"]


def test_a_query_without_a_relevant_document_measures_nothing(library: str, tmp_path: Path) -> None:
    file = tmp_path / "queries.jsonl"
    more = ({"query": "anything", "relevant": {}}, {"query": "something", "relevant": {BREAD.path: 0}})
    file.write_text("\ufeff" + "\n".join(map(json.dumps, (*LABELLED_QUERIES, *more))))
    measures = measure(str(file), "--mode", "lexical", database=library)
    assert (measures["queries"], measures["mrr@10"]) == (3, pytest.approx(2 / 3, abs=1e-4))


def test_paths_that_are_not_stored_are_reported(library: str, labelled: str, tmp_path: Path) -> None:
    done = run("eval", labelled, "--mode", "lexical", PGFOLIO_DATABASE_URL=library)
    assert "1 of 4 relevant documents are not stored, such as 'not/stored.md'" in done.stderr
    file = tmp_path / "wrong.jsonl"
    file.write_text(json.dumps({"query": "retries", "relevant": {f"docs/{RETRIES.path}": 1}}))
    done = run("eval", str(file), PGFOLIO_DATABASE_URL=library)
    assert (done.returncode, "relative to its source's folder" in done.stderr) == (2, True)


def test_without_json_all_variants_stand_beside_each_other(library: str, labelled: str) -> None:
    done = run("eval", labelled, PGFOLIO_DATABASE_URL=library)
    names = [line[: line.index("  ")] for line in done.stdout.splitlines()]
    assert names == ["mode", "vector", "lexical", "hybrid (scores)", "hybrid (rrf)"]


def test_all_variants_are_one_json_object_with_all(library: str, labelled: str) -> None:
    measures = measure(labelled, "--all", database=library)
    assert list(measures) == ["vector", "lexical", "hybrid (scores)", "hybrid (rrf)"]
    assert {quality["queries"] for quality in measures.values()} == {3}


def test_one_fusion_can_be_measured_alone(library: str, labelled: str) -> None:
    assert measure(labelled, "--fusion", "rrf", database=library)["queries"] == 3
    done = run("eval", labelled, "--mode", "vector", "--fusion", "rrf", PGFOLIO_DATABASE_URL=library)
    assert (done.returncode, "hybrid only" in done.stderr) == (2, True)


@pytest.mark.long
def test_another_generation_is_evaluated_by_its_own_vectors(
    conninfo: str, settings: Settings, labelled: str
) -> None:
    stock(conninfo, settings)
    with connect(conninfo) as connection:
        other = generations.create_generation(connection, Space("local", "wordllama-256", 128), "building")
    active = measure(labelled, "--mode", "vector", database=conninfo)
    empty = measure(labelled, "--mode", "vector", "--generation", str(other.id), database=conninfo)
    assert (active["recall@10"] > 0, empty["recall@10"]) == (True, 0)


def test_settings_are_set_side_by_side(conninfo: str, settings: Settings, labelled: str) -> None:
    stock(conninfo, settings)
    with connect(conninfo) as connection:
        other = generations.create_generation(connection, Space("local", "wordllama-256", 128), "building").id
    arguments = ("--ef-search", "150", "--ef-search", "200", "--generation", "1", "--generation", str(other))
    measures = measure(labelled, "--all", *arguments, database=conninfo)
    both = [f"ef_search {n}, generation {g}" for g in (1, other) for n in (150, 200)]
    modes = ("vector", "lexical", "hybrid (scores)", "hybrid (rrf)")
    assert list(measures) == [
        name
        for mode in modes
        for name in ([f"{mode}, generation 1"] if mode == "lexical" else [f"{mode}, {each}" for each in both])
    ]
    assert measures["vector, ef_search 150, generation 1"]["recall@10"] > 0
    assert measures[f"vector, ef_search 150, generation {other}"]["recall@10"] == 0


def test_weights_of_vectors_are_set_side_by_side(library: str, labelled: str) -> None:
    measures = measure(labelled, "--all", "--vector-weight", "0", "--vector-weight", "100", database=library)
    fused = [f"hybrid (scores), vector_weight {weight}" for weight in (0, 100)]
    assert list(measures) == ["vector", "lexical", *fused, "hybrid (rrf)"]
    assert measures[fused[0]]["mrr@10"] >= measures["lexical"]["mrr@10"]


def test_an_ef_search_that_changes_nothing_is_wrong_usage(library: str, labelled: str) -> None:
    done = run("eval", labelled, "--ef-search", "64", PGFOLIO_DATABASE_URL=library)
    assert (done.returncode, "changes nothing" in done.stderr) == (2, True)


@pytest.mark.long
def test_a_question_is_embedded_once_for_all_variants(
    conninfo: str, settings: Settings, labelled: str, openai_server: FakeOpenAI
) -> None:
    stock(conninfo, settings)
    with connect(conninfo) as connection:
        other = generations.create_generation(
            connection, Space("openai", "text-embedding-3-small", 1536), "building"
        )
    values = {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": openai_server.url, "PGFOLIO_DATABASE_URL": conninfo}
    done = run("eval", labelled, "--all", "--json", "--generation", str(other.id), **values)
    assert done.returncode == 0, done.stderr
    assert list(json.loads(done.stdout)) == ["vector", "lexical", "hybrid (scores)", "hybrid (rrf)"]
    assert sum(len(each.texts) for each in openai_server.requests) == len(LABELLED_QUERIES)


def test_reranked_and_not_stand_beside_each_other(library: str, labelled: str) -> None:
    with FakeReranker() as fake:
        setting = {"PGFOLIO_RERANK__URL": fake.url, "PGFOLIO_RERANK__MODEL": "tiny"}
        done = run("eval", labelled, "--json", "--rerank", PGFOLIO_DATABASE_URL=library, **setting)
        assert done.returncode == 0, done.stderr
        measures = json.loads(done.stdout)
        assert list(measures) == ["hybrid", "hybrid, reranked"]
        assert measures["hybrid"] != measures["hybrid, reranked"]
        assert len(fake.asked) >= len(LABELLED_QUERIES)


def test_a_reranker_that_fails_is_not_measured(library: str, labelled: str) -> None:
    done = run("eval", labelled, "--rerank", PGFOLIO_DATABASE_URL=library)
    assert (done.returncode, done.stdout) == (2, "")
    assert "PGFOLIO_RERANK" in done.stderr
    setting = {"PGFOLIO_RERANK__URL": "http://127.0.0.1:9", "PGFOLIO_RERANK__MODEL": "tiny"}
    done = run("eval", labelled, "--rerank", PGFOLIO_DATABASE_URL=library, **setting)
    assert (done.returncode, done.stdout) == (1, "")
    assert "not every query was answered as asked" in done.stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no query"),
        ("{", "line 1"),
        ('{"query": "x", "relevant": {"a": 1}}\n{"query": "x"}', "line 2"),
        ('{"query": "x", "relevant": {}}', "no query"),
        *(
            (
                f'{{"query": "x", "relevant": {{"a": 1000}}}}\n{{"query": "x", "relevant": {{"a": {grade}}}}}',
                "line 2",
            )
            for grade in (1001, 3000000000, 2**63 - 1, 10**20, -1)
        ),
        ('{"query": "x", "relevant": {"a": 1001}}', "a whole number from 0 to 1000"),
    ],
)
def test_a_file_that_makes_no_sense_is_wrong_usage(
    library: str, tmp_path: Path, text: str, said: str
) -> None:
    file = tmp_path / "queries.jsonl"
    file.write_text(text)
    done = run("eval", str(file), PGFOLIO_DATABASE_URL=library)
    assert done.returncode == 2
    assert said in done.stderr


def test_an_unknown_generation_is_named(library: str, labelled: str) -> None:
    done = run("eval", labelled, "--generation", "99", PGFOLIO_DATABASE_URL=library)
    assert (done.returncode, "99" in done.stderr) == (2, True)


def test_search_takes_a_filter(library: str) -> None:
    filter_json = json.dumps({"category": "guide"})
    done = run("search", "task", "--json", "--filter", filter_json, PGFOLIO_DATABASE_URL=library)
    assert {result["path"] for result in json.loads(done.stdout)["results"]} == {RETRIES.path}
    wrong = run("search", "task", "--filter", '{"a": {"$near": 1}}', PGFOLIO_DATABASE_URL=library)
    assert (wrong.returncode, "'$near'" in wrong.stderr) == (2, True)


@pytest.mark.long
def test_queries_are_made_from_the_corpus_and_can_be_evaluated(library: str, tmp_path: Path) -> None:
    made = run("eval", "--make", "4", PGFOLIO_DATABASE_URL=library)
    assert made.returncode == 0, made.stderr
    assert run("eval", "--make", "4", PGFOLIO_DATABASE_URL=library).stdout == made.stdout
    queries = [json.loads(line) for line in made.stdout.splitlines()]
    assert 2 <= len(queries) <= 4
    assert all(len(each["query"].split()) >= 2 and len(each["relevant"]) == 1 for each in queries)
    file = tmp_path / "made.jsonl"
    file.write_text(made.stdout)
    assert measure(str(file), "--mode", "lexical", database=library)["recall@10"] > 0.5


def test_one_of_file_answers_and_make_is_named(library: str, labelled: str) -> None:
    for arguments in ((), (labelled, "--make", "3"), (labelled, "--answers", labelled)):
        done = run("eval", *arguments, PGFOLIO_DATABASE_URL=library)
        assert (done.returncode, "name one" in done.stderr) == (2, True), done.stderr
