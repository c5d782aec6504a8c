"""`GET /facets`: what can be filtered by, of what may be seen, also of a large corpus."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from pgfolio.schema.database.connect import connect
from tests.query_api.library import BREAD, PAGES, Page, make_key, running_api, stock
from tests.query_api.service.test_problems import check

if TYPE_CHECKING:
    import httpx

    from pgfolio.config.settings import Settings


def by_name(items: list[dict[str, Any]]) -> dict[str, int]:
    return {str(item.get("name", item.get("mime", item.get("key")))): item["documents"] for item in items}


def test_what_can_be_filtered_by_is_told(api: httpx.Client) -> None:
    told = api.get("/facets").json()
    manual = sum(page.collection == "manual" for page in PAGES)
    assert by_name(told["collections"]) == {"manual": manual, "kitchen": 1}
    assert by_name(told["sources"]) == {"manual": manual, "kitchen": 1}
    assert by_name(told["types"]) == {"text/markdown": len(PAGES)}
    assert by_name(told["languages"]) == {"english": len(PAGES)}
    assert told["dates"] == {"first": "2026-01-01T00:00:00Z", "last": "2026-01-01T00:00:00Z"}
    assert told["metadata"] == [
        {"key": "category", "documents": 1, "values": [{"value": "guide", "documents": 1}]}
    ]
    assert not told["sampled"]


def test_of_one_collection_or_of_none(api: httpx.Client) -> None:
    assert by_name(api.get("/facets", params={"collection": "kitchen"}).json()["sources"]) == {"kitchen": 1}
    check(api.get("/facets", params={"collection": "atlantis"}), 404, "unknown-collection")
    check(api.get("/facets", params={"collection": "a\x00"}), 400, "invalid-request")


def test_metadata_of_all_kinds(settings: Settings, conninfo: str) -> None:
    kinds: list[Any] = [
        {"tags": ["a", "b", "b"], "n": 1, "yes": True, "none": None, "deep": {"x": 1}, "f": 1.5},
        {"tags": "a", "n": 2, "long": "x" * 500, "": "empty", "mixed": [1, "1", None, {"x": 1}]},
    ]
    pages = tuple(Page(f"{i}.md", None, {"H": f"Text {i}"}, metadata=m) for i, m in enumerate(kinds))
    stock(conninfo, settings, pages)
    with running_api(settings, conninfo) as client:
        told = client.get("/facets").json()
    values = {
        item["key"]: {repr(v["value"]): v["documents"] for v in item["values"]} for item in told["metadata"]
    }
    assert values["tags"] == {"'a'": 2, "'b'": 1}
    assert values["n"] == {"1": 1, "2": 1}
    assert values["yes"] == {"True": 1}
    assert (values["none"], values["deep"], values["long"]) == ({}, {}, {})
    assert values["mixed"] == {"1": 1, "'1'": 1}


def test_an_empty_corpus_has_none(settings: Settings, conninfo: str) -> None:
    stock(conninfo, settings)
    with connect(conninfo) as connection:
        connection.execute("delete from documents")
    with running_api(settings, conninfo) as client:
        told = client.get("/facets").json()
    assert (told["collections"], told["dates"], told["metadata"]) == ([], None, [])


def test_who_is_limited_is_told_of_the_rest_nothing(settings: Settings, conninfo: str) -> None:
    stock(conninfo, settings)
    key = make_key(conninfo, "read", ["manual"])
    with running_api(settings, conninfo) as client:
        client.headers["X-API-Key"] = key
        answer = client.get("/facets")
        check(client.get("/facets", params={"collection": "kitchen"}), 404, "unknown-collection")
    assert by_name(answer.json()["collections"]) == {"manual": 3}
    assert "kitchen" not in answer.text
    assert BREAD.path not in answer.text


@pytest.mark.long
@pytest.mark.parametrize("limited", [False, True])
def test_of_many_documents_some_are_counted(settings: Settings, conninfo: str, limited: bool) -> None:
    stock(conninfo, settings)
    with connect(conninfo) as connection:
        connection.execute(
            "insert into documents (source_id, collection_id, path, mime, language, content_hash, text, metadata, "
            "updated_at) select d.source_id, d.collection_id, 'many/' || n, d.mime, d.language, d.content_hash, 'x', "
            """jsonb_build_object('n', n % 50, 'kind', case when n % 4 = 0 then 'rare' else 'common' end), """
            "d.updated_at from documents d, generate_series(1, 12000) n where d.path = 'bread.md'"
        )
    with connect(conninfo, autocommit=True) as connection:
        connection.execute("analyze documents")
    headers = {"X-API-Key": make_key(conninfo, "read", ["kitchen"])} if limited else {}
    with running_api(settings, conninfo) as client:
        client.get("/facets", headers=headers)
        began = time.perf_counter()
        told = client.get("/facets", headers=headers).json()
        took = time.perf_counter() - began
    assert told["sampled"]
    kinds = next(item for item in told["metadata"] if item["key"] == "kind")["values"]
    common = next(v["documents"] for v in kinds if v["value"] == "common")
    assert (3_300 if limited else 7_500) < common < (4_200 if limited else 10_500)
    assert len(next(item for item in told["metadata"] if item["key"] == "n")["values"]) == 20
    assert took < 2
