"""Filters of search, ask and lists: what they mean, what is refused, and that they never lose a match."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as budget
from hypothesis import strategies as st
from psycopg import sql
from psycopg.types.json import Jsonb

from pgfolio.query_api.retrieval.filter_parser import WrongFilterError, parse
from pgfolio.schema.database.connect import connect
from pgfolio.schema.search.conditions import OF_DOCUMENT, matches
from tests.query_api.library import Page, random_parts, running_api, stock
from tests.query_api.reference import DATES, holds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    import httpx

    from pgfolio.config.settings import Settings
    from pgfolio.schema.database.connect import Connection

MODES = ("hybrid", "vector", "lexical")
EVIL = (
    "'; drop table documents; --",
    '" || true || "',
    '$."a" ? (1 == 1)',
    "%s",
    "%(filter_0)s",
    "{matches}",
    "\\",
    'a"b',
)


def page(name: str, collection: str = "papers", title: str | None = None, **metadata: Any) -> Page:
    return Page(f"{name}.md", title, {name: f"A paper on retrieval, number {name}."}, collection, metadata)


PAPERS = (
    page("one", category="database", pages=10, tags=["sql", "index"], date="2026-01-31", draft=False),
    page("two", category="database", pages=25, tags=["graph"], date="2026-02-01T00:30:00+01:00", draft=True),
    page("three", category="network", pages=2.5, meta={"review": {"score": 7}}, date="soon"),
    page("four", title="Four", category=None, pages="25", authors=[{"name": "Ada"}, {"name": "Bob"}]),
    page("five", "letters", category="database"),
)  # fmt: skip


@pytest.fixture(scope="module")
def papers(
    new_database: Callable[[], AbstractContextManager[str]], new_settings: Callable[..., Settings]
) -> Iterator[httpx.Client]:
    with new_database() as conninfo:
        stock(conninfo, new_settings(), PAPERS)
        with running_api(new_settings(database_url=conninfo), conninfo) as client:
            yield client


def searched(client: httpx.Client, raw_filter: Any, **fields: Any) -> dict[str, Any]:
    body = {"query": "retrieval paper number", "limit": 100, "filter": raw_filter, **fields}
    response = client.post("/search", json=body)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def names(results: list[dict[str, Any]]) -> set[str]:
    return {result["path"].removesuffix(".md") for result in results}


ALL = {"one", "two", "three", "four", "five"}
MEANINGS: list[tuple[dict[str, Any], set[str]]] = [
    ({}, ALL),
    ({"category": "database"}, {"one", "two", "five"}),
    ({"category": {"$eq": "network"}}, {"three"}),
    ({"category": {"$ne": "database"}}, {"three", "four"}),
    ({"category": None}, {"four"}),
    ({"pages": {"$exists": False}}, {"five"}),
    ({"category": {"$exists": True}}, ALL),
    ({"category": {"$in": ["network", None]}}, {"three", "four"}),
    ({"category": {"$nin": ["network", None]}}, {"one", "two", "five"}),
    ({"category": {"$in": []}}, set()),
    ({"pages": 25}, {"two"}),
    ({"pages": 25.0}, {"two"}),
    ({"pages": "25"}, {"four"}),
    ({"pages": {"$gte": 2.5, "$lt": 25}}, {"one", "three"}),
    ({"pages": {"$not": {"$gt": 5}}}, {"three", "four", "five"}),
    ({"draft": True}, {"two"}),
    ({"draft": {"$ne": True}}, ALL - {"two"}),
    ({"tags": "sql"}, {"one"}),
    ({"tags": {"$like": "%ph"}}, {"two"}),
    ({"meta.review.score": {"$gt": 5}}, {"three"}),
    ({"authors.name": "Bob"}, {"four"}),
    ({"date": {"$lt": "2026-01-31T23:45:00Z"}}, {"one", "two"}),
    ({"date": "2026-01-31T23:30:00Z"}, {"two"}),
    ({"date": {"$gt": "s"}}, {"three"}),
    ({"path": "one.md"}, {"one"}),
    ({"path": {"$like": "t%"}}, {"two", "three"}),
    ({"path": {"$like": "T%"}}, set()),
    ({"title": "Four"}, {"four"}),
    ({"title": "one.md"}, {"one"}),
    ({"source": "letters"}, {"five"}),
    ({"mime": "text/markdown", "language": "english"}, ALL),
    ({"owner": None}, ALL),
    ({"created_at": {"$exists": True}}, set()),
    ({"updated_at": {"$gte": "2026-01-01", "$lt": "2026-01-01T00:00:01Z"}}, ALL),
    ({"updated_at": {"$lt": "2026-01-01"}}, set()),
    ({"$or": [{"tags": "graph"}, {"pages": {"$lt": 3}}]}, {"two", "three"}),
    ({"$and": [{"category": "database"}, {"$not": {"tags": "graph"}}]}, {"one", "five"}),
    ({"$not": {"$or": [{"pages": {"$exists": True}}]}}, {"five"}),
]  # fmt: skip


def named(value: object) -> str:
    """The same in every process: workers compare the names of their tests."""
    return str(sorted(value) if isinstance(value, set) else value)[:60]


@pytest.mark.parametrize(("raw_filter", "expected"), MEANINGS, ids=named)
def test_a_filter_means_the_same_everywhere(
    papers: httpx.Client, raw_filter: dict[str, Any], expected: set[str]
) -> None:
    for mode in MODES:
        answer = searched(papers, raw_filter, mode=mode)
        assert (mode, names(answer["results"]), answer["complete"]) == (mode, expected, True)
    listed = papers.get("/documents", params={"filter": json.dumps(raw_filter)}).raise_for_status().json()
    assert names(listed["items"]) == expected
    response = papers.post("/ask", json={"question": "retrieval paper", "limit": 100, "filter": raw_filter})
    assert names(response.raise_for_status().json()["sources"]) == expected


def test_collections_and_filter_apply_together(papers: httpx.Client) -> None:
    for exact in (True, False):
        answer = searched(
            papers, {"category": "database"}, collections=["letters"], exact=exact, mode="vector"
        )
        assert names(answer["results"]) == {"five"}
    assert names(searched(papers, {"category": "network"}, collections=["letters"])["results"]) == set()


def test_a_filtered_list_has_pages(papers: httpx.Client) -> None:
    parameters = {"filter": json.dumps({"category": "database"}), "limit": "2"}
    first = papers.get("/documents", params=parameters).json()
    second = papers.get("/documents", params={**parameters, "cursor": first["next"]}).json()
    assert (len(first["items"]), len(second["items"]), second["next"]) == (2, 1, None)


def test_all_that_match_are_results_though_none_of_them_is_similar_to_the_question(
    settings: Settings, conninfo: str
) -> None:
    tasks = (page(f"{n}", "many", kind="task", half=n % 2 == 0) for n in range(400))
    whales = (
        Page(f"{n}.txt", None, {"Ocean": f"Whale {n} sings in the deep ocean."}, "many", {"kind": "whale"})
        for n in range(40)
    )
    stock(conninfo, settings, (*tasks, *whales))
    with running_api(settings, conninfo) as client:
        for limit, expected in ((10, 10), (40, 40), (100, 40)):
            body = {"query": "a paper on retrieval", "mode": "vector", "limit": limit}
            answer, exact = (
                client.post("/search", json={**body, "filter": {"kind": "whale"}, "exact": exact}).json()
                for exact in (False, True)
            )
            assert (answer["total_returned"], answer["complete"]) == (expected, True)
            assert answer["results"] == exact["results"]
        for mode in MODES[:2]:
            half = searched(client, {"half": True}, query="a paper on retrieval", mode=mode)
            assert (half["total_returned"], half["complete"]) == (100, True)
            assert all(result["metadata"]["half"] for result in half["results"])


def test_words_find_all_that_match_though_others_have_rarer_ones(settings: Settings, conninfo: str) -> None:
    """Ranking starts with the rarest words, of which the filtered documents have none."""
    common = "All of these papers are on retrieval. " * 3
    rare = tuple(Page(f"r{n}.md", None, {"R": f"{common} Zebra."}, "many", {"kind": "r"}) for n in range(150))
    others = tuple(Page(f"o{n}.md", None, {"O": common}, "many", {"kind": "o"}) for n in range(30))
    stock(conninfo, settings, (*rare, *others))
    with connect(conninfo) as connection:
        connection.execute("update pg_class set reltuples = 180 where oid = 'chunks'::regclass")
    with running_api(settings, conninfo) as client:
        answer = searched(client, {"kind": "o"}, query="zebra retrieval", mode="lexical", limit=20)
    assert (answer["total_returned"], answer["complete"]) == (20, True)


def test_a_higher_ef_search_finds_more_of_the_nearest_that_match(
    new_settings: Callable[..., Settings], conninfo: str
) -> None:
    settings = new_settings(database_url=conninfo, index={"m": 2, "ef_construction": 4})
    parts = random_parts(1500)
    pages = (
        Page(f"{half}.md", None, dict(list(parts.items())[half::2]), "many", {"half": half})
        for half in (0, 1)
    )
    stock(conninfo, settings, tuple(pages))
    right = dict.fromkeys((1, 1000), 0)
    with running_api(settings, conninfo) as client:
        for text in list(parts.values())[:20]:
            body = {"query": text[:25], "mode": "vector", "limit": 10, "filter": {"half": 1}}
            body["max_per_document"] = 100
            exact = client.post("/search", json={**body, "exact": True}).json()["results"]
            for ef_search in right:
                answer = client.post("/search", json={**body, "ef_search": ef_search}).json()["results"]
                right[ef_search] += len({r["chunk_id"] for r in answer} & {r["chunk_id"] for r in exact})
    assert right[1000] > right[1] + 10, right


WRONG: list[tuple[Any, str]] = [
    ({"a": {"$regex": "x"}}, "'$regex'"),
    ({"$nor": [{"a": 1}]}, "'$nor'"),
    ({"$gt": 3}, "'$gt'"),
    ({"a": {}}, "'a'"),
    ({"a": {"b": 1}}, "'a.b'"),
    ({"a": [1]}, "a list"),
    ({"a": {"$eq": {"b": 1}}}, "$eq"),
    ({"a": {"$in": 3}}, "$in"),
    ({"a": {"$in": [[1]]}}, "$in"),
    ({"a": {"$gt": None}}, "$gt"),
    ({"a": {"$lte": True}}, "$lte"),
    ({"a": {"$like": 3}}, "$like"),
    ({"a": {"$like": "x\\"}}, "backslash"),
    ({"a": {"$exists": 1}}, "$exists"),
    ({"a": {"$not": 1}}, "$not"),
    ({"$and": {}}, "$and"),
    ({"$or": []}, "$or"),
    ({"$or": [1]}, "$or"),
    ({"$not": []}, "$not"),
    ({"path": 3}, "'path'"),
    ({"owner": {"$gt": False}}, "'owner'"),
    ({"created_at": "yesterday"}, "'created_at'"),
    ({"updated_at": {"$gt": "2026-02-30"}}, "'updated_at'"),
    ({"updated_at": {"$like": "2026%"}}, "'updated_at'"),
    ({"a..b": 1}, "'a..b'"),
    ({"": 1}, "''"),
    ({"a": "x\x00"}, "NUL"),
    ({"a\x00": 1}, "NUL"),
    ({"a": {"$in": list(range(1001))}}, "1,000"),
    ({f"a{n}": n for n in range(101)}, "100"),
    ({"a": 10**400}, "1e308"),
]  # fmt: skip


@pytest.mark.parametrize(("raw_filter", "named"), WRONG, ids=lambda value: str(value)[:40])
def test_the_error_of_a_wrong_filter_says_what_is_wrong(
    papers: httpx.Client, raw_filter: Any, named: str
) -> None:
    for response in (
        papers.post("/search", json={"query": "x", "filter": raw_filter}),
        papers.post("/ask", json={"question": "x", "filter": raw_filter}),
        papers.get("/documents", params={"filter": json.dumps(raw_filter)}),
    ):
        assert response.status_code == 400, response.text
        assert response.json()["type"] == "urn:pgfolio:problem:wrong-filter"
        assert named in response.json()["detail"]


@pytest.mark.parametrize("text", ["", "{", "3", "[]", "null", "\ufeff{}", "{" * 2000])
def test_a_list_with_a_filter_that_is_no_object_is_a_problem(papers: httpx.Client, text: str) -> None:
    assert papers.get("/documents", params={"filter": text}).status_code == 400


def test_sql_in_a_filter_is_only_a_value_or_a_key(papers: httpx.Client) -> None:
    for evil in EVIL:
        for raw_filter in ({"category": evil}, {f"x{evil}": 1}, {"a": {"$in": [evil, 1]}}, {"a": {"$gt": evil}},
                       {"path": evil}, {"a": {"$like": evil + "%"}}, {f"a.{evil}": {"$exists": True}}):  # fmt: skip
            assert searched(papers, raw_filter)["results"] == []
    assert names(searched(papers, {})["results"]) == ALL


NAMES = st.sampled_from(["a", "b", "a.b", "a.a", "metadata.title", "tags", 'q"\\', "e", *DATES, "path", "title",
                         "owner", "source", "mime", "language"])  # fmt: skip
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.sampled_from([0.5, 1.0, 1e20, -2.5])
    | st.sampled_from(["", "a", "A", "b%", "ä", "\U0001f600", "x.md", "english", "2026-01-31", "2026-01-31T00:00:00Z",
                       "2026-01-31 01:00+01:00", "2026-02-30", "2025-12-31T23:59:59.999999", *EVIL])
)  # fmt: skip
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", 'q"\\']), inner),
    max_leaves=6,
)
OPERATORS = st.one_of(
    st.tuples(st.sampled_from(["$eq", "$ne", "$gt", "$gte", "$lt", "$lte"]), SCALARS),
    st.tuples(st.sampled_from(["$in", "$nin"]), st.lists(SCALARS, max_size=3)),
    st.tuples(st.just("$like"), st.sampled_from(["%", "_", "a%", "%.md", "\\%", "b\\%", "%1", "A"])),
    st.tuples(st.just("$exists"), st.booleans()),
)
TESTS = SCALARS | st.lists(OPERATORS, min_size=1, max_size=2).map(dict).flatmap(
    lambda tests: st.sampled_from([tests, {"$not": tests}])
)
FILTERS = st.recursive(
    st.dictionaries(NAMES, TESTS, max_size=2),
    lambda inner: (
        st.fixed_dictionaries({"$and": st.lists(inner, min_size=1, max_size=3)})
        | st.fixed_dictionaries({"$or": st.lists(inner, min_size=1, max_size=3)})
        | st.fixed_dictionaries({"$not": inner})
    ),
    max_leaves=5,
)
DOCUMENTS = st.fixed_dictionaries(
    {
        "metadata": st.dictionaries(
            st.sampled_from(["a", "b", "title", "tags", 'q"\\', "e"]), VALUES, max_size=4
        ),
        "title": st.sampled_from([None, "a", "2026-01-31"]),
        "owner": st.sampled_from([None, "a", "b%"]),
        "created_at": st.none() | st.just(datetime(2026, 1, 31, tzinfo=UTC)),
    }
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | NAMES, inner),
)
UNHURRIED = budget(
    deadline=None,
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@UNHURRIED
@given(documents=st.lists(DOCUMENTS, min_size=1, max_size=6), raw_filter=FILTERS)
def test_the_sql_finds_what_the_filter_means(
    store: Connection, documents: list[dict[str, Any]], raw_filter: dict[str, Any]
) -> None:
    try:
        condition = parse(raw_filter)
    except WrongFilterError:  # such as an order on null
        return
    where, parameters = matches(condition, OF_DOCUMENT)
    with store.transaction(force_rollback=True):
        stored_documents = stored(store, documents)
        rows = store.execute(
            sql.SQL("select d.path from documents d join sources s on s.id = d.source_id where {}").format(
                where
            ),
            parameters,
        ).fetchall()
    assert {row[0] for row in rows} == {each["path"] for each in stored_documents if holds(raw_filter, each)}


@UNHURRIED
@given(raw_filter=ANYTHING | FILTERS | st.dictionaries(NAMES, ANYTHING, max_size=3))
def test_any_json_is_a_filter_or_a_problem(papers: httpx.Client, raw_filter: Any) -> None:
    response = papers.get("/documents", params={"filter": json.dumps(raw_filter)})
    assert response.status_code in {200, 400}, response.text
    body = {"query": "x", "mode": "vector", "filter": raw_filter}
    assert papers.post("/search", content=json.dumps(body)).status_code in {200, 400}


@pytest.fixture
def store(conninfo: str) -> Iterator[Connection]:
    with connect(conninfo) as connection:
        connection.execute("insert into collections (name) values ('c')")
        connection.execute("insert into sources (name, root, collection_id) values ('a', '/a', 1)")
        connection.commit()
        yield connection


def stored(connection: Connection, documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Insert documents and return them as a filter sees them."""
    stored_documents = []
    for number, document in enumerate(documents):
        path = f"x/{number}.md"
        connection.execute(
            "insert into documents (source_id, collection_id, path, title, mime, language, owner, content_hash,"
            " text, metadata, created_at, updated_at) values (1, 1, %s, %s, 'text/markdown', 'english', %s, '', '',"
            " %s, %s, '2026-01-31')",
            [path, document["title"], document["owner"], Jsonb(document["metadata"]), document["created_at"]],
        )
        stored_documents.append(
            {**document, "path": path, "title": document["title"] or f"{number}.md", "source": "a",
             "mime": "text/markdown", "language": "english", "updated_at": datetime(2026, 1, 31, tzinfo=UTC)}
        )  # fmt: skip
    return stored_documents


def test_a_key_of_the_metadata_that_is_called_as_what_results_show_is_asked_for_by_its_whole_name(
    settings: Settings, conninfo: str
) -> None:
    stock(conninfo, settings, (page("one", state="draft"), page("two", state="final")))
    with running_api(settings, conninfo) as client:
        body = {"query": "paper", "filter": {"metadata.state": "draft"}}
        assert [r["path"] for r in client.post("/search", json=body).json()["results"]] == ["one.md"]
        refused = client.post("/search", json={**body, "filter": {"state": "draft"}})
        assert refused.json()["type"] == "urn:pgfolio:problem:wrong-filter"
        assert "`metadata.state`" in refused.json()["detail"]
        named = client.post("/ask", json={"question": "paper", "filter": {"collection": "papers"}})
        assert (named.status_code, "`collections`" in named.json()["detail"]) == (400, True)
        listed = client.get("/documents", params={"filter": '{"collection": "papers"}'})
        assert (listed.status_code, "`collection`" in listed.json()["detail"]) == (400, True)
