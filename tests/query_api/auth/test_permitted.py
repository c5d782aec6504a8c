"""A key that is limited to collections gets nothing of another: by the SQL of every statement, and by every route."""

from __future__ import annotations

import ast
import asyncio
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psycopg
import pytest

from pgfolio.schema.database.connect import connect
from pgfolio.schema.database.statements import names, statement
from pgfolio.schema.search import hits, lexical, vector
from pgfolio.schema.search.pool import open_pool
from tests.query_api.library import BREAD, PAGES, RETRIES, make_key, running_api, stock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    import httpx

    from pgfolio.config.settings import Settings

ROOT = Path(__file__).resolve().parents[3]
HOLDING = re.compile(
    r"\b(documents|chunks|ledger|pushes|sources|collections|runs|index_measurements|corpus|common_words|languages"
    r"|question_words|phrase_query)\b|\{vectors\}|\{segment\}"
)
TAKES = re.compile(r":(permitted|visible)\b")
EXEMPT = {
    "count_vectors": "a number, which `overview` leaves out for a limited key",
    "count_all_chunks": "a number, which `overview` leaves out for a limited key",
    "last_measurement": "of the index, which `overview` leaves out for a limited key",
    "estimate_documents": "a number, by which it is decided whether a sample is read",
    "segment_has_any": "whether a table has a row at all",
    "read_keys": "it is where the limits stand",
    **dict.fromkeys(
        (
            "stale_collections",
            "count_collection_languages",
            "counted_chunks",
            "count_collection",
            "count_collection_words",
        ),
        "a new key's collections are counted; nothing of it is shown",
    ),
    "add_key": "the collections that it is given were looked for among those that are permitted",
}
"""Statements that the query side uses, read tables of documents, and need not know who asks."""


FEWEST = 61
"""Statements that the query side uses today: with fewer in sight, the walker has lost its way into a folder."""


@cache
def parsed(module: str) -> ast.Module:
    return ast.parse((ROOT / f"{module.removeprefix('pgfolio.').replace('.', '/')}.py").read_text())


def _is_package(module: str | None) -> bool:
    return (
        f"{module}.".startswith("pgfolio.schema.")
        and (ROOT / str(module).removeprefix("pgfolio.").replace(".", "/")).is_dir()
    )


@cache
def imported(module: str) -> dict[str, tuple[str, str]]:
    """By the name in a module: the module of schema/ that it comes from, and what it is there; "" for all of it."""
    bindings: dict[str, tuple[str, str]] = {}
    for node in ast.walk(parsed(module)):
        if isinstance(node, ast.ImportFrom) and _is_package(node.module):
            bindings |= {a.asname or a.name: (f"{node.module}.{a.name}", "") for a in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pgfolio.schema."):
            bindings |= {a.asname or a.name: (str(node.module), a.name) for a in node.names}
    return bindings


def used(module: str, node: ast.AST) -> Iterator[tuple[str, str]]:
    """What of schema/ a piece of code names, as (module, function or class)."""
    known, own = imported(module), module.startswith("pgfolio.schema.")
    for each in ast.walk(node):
        if isinstance(each, ast.Name):
            if each.id in known:
                yield known[each.id]
            elif own:
                yield module, each.id
        elif isinstance(each, ast.Attribute) and isinstance(each.value, ast.Name):
            source, name = known.get(each.value.id, ("", "-"))
            if not name:
                yield source, each.attr


def used_by_the_query_side() -> set[str]:
    """Statements named in code of schema/ that code of query_api/ reaches."""
    files = sorted((ROOT / "query_api").rglob("*.py"))
    modules = [".".join(("pgfolio", *file.relative_to(ROOT).with_suffix("").parts)) for file in files]
    waiting = [each for module in modules for each in used(module, parsed(module))]
    visited: set[tuple[str, str]] = set()
    statements: set[str] = set()
    while waiting:
        module, name = each = waiting.pop()
        if each in visited or not name:
            continue
        visited.add(each)
        for node in parsed(module).body:
            if getattr(node, "name", None) == name:
                waiting += used(module, node)
                strings = {str(c.value) for c in ast.walk(node) if isinstance(c, ast.Constant)}
                statements |= strings & set(names())
    return statements


def test_every_statement_that_reads_documents_for_the_query_side_takes_what_is_permitted() -> None:
    statements = used_by_the_query_side()
    assert len(statements) >= FEWEST, "the walker no longer sees them all"
    assert statements >= {
        "search_vectors",
        "get_hits",
        "get_document",
        "source_counts",
        "last_runs",
        "check_quotes",
        "insert_push",
        "remove_push",
    }
    free = {
        name
        for name in statements - set(EXEMPT)
        if HOLDING.search(text := statement_text(name)) and not TAKES.search(text)
    }
    assert free == set()


def test_the_exempted_statements_are_still_used() -> None:
    assert set(EXEMPT) <= used_by_the_query_side()


def statement_text(name: str) -> str:
    files = "\n".join(file.read_text() for file in sorted((ROOT / "schema/statements").rglob("*.sql")))
    body = re.search(rf"^-- name: {name}[!^$]?\n(.*?)(?=^-- name: |\Z)", files, re.MULTILINE | re.DOTALL)
    assert body is not None, name
    return "\n".join(line for line in body[1].splitlines() if not line.startswith("--"))


def test_a_statement_without_permissions_fails(library: str) -> None:
    with connect(library) as connection, pytest.raises(psycopg.ProgrammingError, match="permitted"):
        connection.execute(statement("get_document"), {"id": 1})


SECRET = "Feed the sourdough starter"
OF_KITCHEN = (BREAD.path, "Baking bread", SECRET, "kitchen", "Sourdough", "Rolls of bread")


@pytest.fixture(scope="module")
def limited(
    new_database: Callable[[], AbstractContextManager[str]], new_settings: Callable[..., Settings]
) -> Iterator[httpx.Client]:
    """A client whose key may see the collection `manual`, beside which there is `kitchen`."""
    with new_database() as conninfo:
        settings = new_settings(database_url=conninfo)
        stock(conninfo, settings)
        with connect(conninfo) as connection:
            connection.execute(
                "insert into ledger (source_id, path, device, inode, size, mtime_ns, ctime_ns, "
                "processing_fingerprint, chunk_count, state, stage, reason) "
                "select id, name || '/broken.pdf', 1, 1, 1, 1, 1, '', 0, 'failed', 'extract', 'no text' from sources"
            )
            connection.execute(
                "insert into runs (flow, started_by, status, report, error) values ('sync', 'test', 'failed', "
                """'{"documents": {"added": 7}}', 'kitchen/bread.md cannot be read')"""
            )
        key = make_key(conninfo, "read", ["manual"])
        with running_api(settings, conninfo) as client:
            client.headers["Authorization"] = f"Bearer {key}"
            yield client


def clean(response: httpx.Response, *, unless: str = "") -> Any:
    """The answer, which shows nothing of the kitchen beyond what the question itself says."""
    assert [word for word in OF_KITCHEN if word in response.text and word not in unless] == []
    return response.json()


RETRIEVALS = [
    {"mode": mode, **more}
    for mode in ("vector", "lexical", "hybrid")
    for more in (
        {},
        {"exact": True},
        {"limit": 100},
        {"ef_search": 1},
        {"min_similarity": -1},
        {"filter": {"source": "kitchen"}},
        {"filter": {"$or": [{"path": "bread.md"}, {"$not": {"path": "x"}}]}},
        {"collections": ["manual"]},
    )
]


@pytest.mark.parametrize("options", RETRIEVALS, ids=str)
@pytest.mark.parametrize(("route", "field"), [("/search", "query"), ("/ask", "question")])
def test_no_retrieval_finds_what_is_not_permitted(
    limited: httpx.Client, route: str, field: str, options: dict[str, Any]
) -> None:
    question = "how is the starter of sourdough fed"
    answer = clean(limited.post(route, json={field: question, **options}), unless=str(options))
    assert not answer.get("answered")
    if route == "/search" and options.get("limit") == 100 and options["mode"] != "lexical":
        assert len(answer["results"]) == sum(len(p.sections) for p in PAGES if p.collection == "manual")


def test_permitted_documents_are_results(limited: httpx.Client) -> None:
    for mode in ("vector", "lexical", "hybrid"):
        body = {"query": "retry a failed task", "mode": mode}
        assert limited.post("/search", json=body).json()["results"][0]["path"] == RETRIES.path
    assert limited.post("/ask", json={"question": "how is a failed task retried"}).json()["answered"]


@pytest.mark.parametrize("route", ["/search", "/ask"])
def test_a_collection_that_is_not_permitted_is_like_one_that_is_not_there(
    limited: httpx.Client, route: str
) -> None:
    field = {"/search": "query", "/ask": "question"}[route]
    kitchen, atlantis = (
        limited.post(route, json={field: "x", "collections": [name]}) for name in ("kitchen", "atlantis")
    )
    assert (kitchen.status_code, atlantis.status_code) == (404, 404)
    assert kitchen.json()["detail"].replace("kitchen", "atlantis") == atlantis.json()["detail"]


def test_a_document_that_is_not_permitted_is_like_one_that_is_not_there(
    limited: httpx.Client,
) -> None:
    visible = {d["id"] for d in limited.get("/documents").json()["items"]}
    assert len(visible) == sum(page.collection == "manual" for page in PAGES)
    for each in range(20):
        answer = limited.get(f"/documents/{each}")
        assert answer.status_code == (200 if each in visible else 404)
        clean(answer)


@pytest.mark.parametrize(
    "parameters", [{}, {"collection": "kitchen"}, {"source": "kitchen"}, {"path": "bread.md"},
                   {"filter": '{"source": "kitchen"}'}, {"limit": 1}],
)  # fmt: skip
def test_no_list_shows_what_is_not_permitted(limited: httpx.Client, parameters: dict[str, Any]) -> None:
    clean(limited.get("/documents", params=parameters))


def test_collections_status_and_metrics_show_what_is_permitted(limited: httpx.Client) -> None:
    assert [item["name"] for item in clean(limited.get("/collections"))["items"]] == ["manual"]
    status = clean(limited.get("/status"))
    assert [source["name"] for source in status["sources"]] == ["manual"]
    assert [problem["path"] for problem in status["problems"]] == ["manual/broken.pdf"]
    assert [set(generation) for generation in status["generations"]] == [{"space", "state", "index"}]
    assert status["runs"] == []
    metrics = limited.get("/metrics").text
    assert "kitchen" not in metrics
    assert 'pgfolio_documents{collection="manual"} 3.0' in metrics


def test_a_limit_to_a_collection_that_went_is_a_limit_to_nothing(conninfo: str, settings: Settings) -> None:
    stock(conninfo, settings)
    with connect(conninfo) as connection:
        connection.execute("insert into collections (name) values ('gone')")
    key = make_key(conninfo, "read", ["gone"])
    with connect(conninfo) as connection:
        connection.execute("delete from collections where name = 'gone'")
    with running_api(settings, conninfo) as client:
        client.headers["X-API-Key"] = key
        assert client.get("/documents").json()["items"] == []
        assert client.post("/search", json={"query": "retry a failed task"}).json()["results"] == []


def test_what_is_known_by_its_id_is_not_read_where_it_is_not_permitted(
    library: str, new_settings: Callable[..., Settings]
) -> None:
    """Rankings are limited already, and so is every statement that follows."""
    with connect(library) as connection:
        (manual,) = connection.execute("select id from collections where name = 'manual'").fetchone() or ()
        (document, chunk) = connection.execute(
            "select document_id, id from chunks where content like '%sourdough%'"
        ).fetchone() or (0, 0)

    async def read(permitted: tuple[int, ...] | None) -> list[Any]:
        async with open_pool(library, 1, 64) as pool, pool.connection() as c:
            generation = await vector.active_generation(c)
            assert generation is not None
            question = np.ones(generation.space.dimensions)
            await c.rollback()
            nearest = await vector.nearest(c, generation, question, 3, 64, permitted)
            return [
                len(nearest),
                list(await hits.read_hits(c, generation, question, [chunk], permitted)),
                await hits.check_quotes(c, [(document, 0, 2, "##")], permitted),
                list(await lexical.idf_of_words(c, "sourdough", permitted)),
                await lexical.lexemes(c, [(chunk, "sourdough")], permitted),
                len(await vector.rank(c, generation, question, 3, 64, permitted)),
                list(await vector.collection_ids(c, ["kitchen"], permitted)),
            ]

    assert asyncio.run(read(None)) == [
        3,
        [chunk],
        [(True, None, None, None)],
        [frozenset({"sourdough"})],
        [frozenset({"sourdough"})],
        3,
        ["kitchen"],
    ]
    (*before, own, lexemes, ranked, named) = asyncio.run(read((manual,)))
    assert (before, lexemes, ranked, named) == ([0, [], [(False, None, None, None)]], [], 0, [])
    assert own in ([], [frozenset({"sourdough"})])  # the question's own words
