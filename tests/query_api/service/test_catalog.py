"""Documents, collections, status, health and the OpenAPI document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.query_api.library import BREAD, LOCAL, PAGES, RETRIES, UNTITLED, running_api

if TYPE_CHECKING:
    import httpx

    from pgfolio.config.settings import Settings


def pages_of(client: httpx.Client, **parameters: Any) -> list[list[dict[str, Any]]]:
    pages, cursor = [], None
    while True:
        page = client.get(
            "/documents", params={**parameters, **({"cursor": cursor} if cursor else {})}
        ).json()
        pages.append(page["items"])
        cursor = page["next"]
        if cursor is None:
            return pages


@pytest.mark.parametrize(("limit", "sizes"), [(1, [1, 1, 1, 1]), (3, [3, 1]), (4, [4]), (100, [4])])
def test_pages_hold_every_document_once(api: httpx.Client, limit: int, sizes: list[int]) -> None:
    pages = pages_of(api, limit=limit)
    assert [len(page) for page in pages] == sizes
    assert sorted(d["path"] for page in pages for d in page) == sorted(page.path for page in PAGES)


def test_a_listed_document_says_what_it_is(api: httpx.Client) -> None:
    document = next(d for d in api.get("/documents").json()["items"] if d["path"] == RETRIES.path)
    expected = {"source": "manual", "title": RETRIES.title, "collection": "manual", "mime": "text/markdown",
              "chunk_count": 2, "state": "ok", "metadata": {"category": "guide"}, "language": "english"}  # fmt: skip
    assert {name: document[name] for name in expected} == expected
    assert len(document["content_hash"]) == 64


@pytest.mark.parametrize(
    ("parameters", "paths"),
    [
        ({"collection": "kitchen"}, [BREAD.path]),
        ({"source": "kitchen"}, [BREAD.path]),
        ({"path": UNTITLED.path}, [UNTITLED.path]),
        ({"collection": "kitchen", "path": UNTITLED.path}, []),
        ({"collection": "atlantis"}, []),
    ],
)
def test_the_list_can_be_narrowed(api: httpx.Client, parameters: dict[str, str], paths: list[str]) -> None:
    assert [d["path"] for page in pages_of(api, **parameters) for d in page] == paths


def test_a_document_comes_with_its_text_and_chunks(api: httpx.Client) -> None:
    listed = next(d for d in api.get("/documents").json()["items"] if d["path"] == RETRIES.path)
    document = api.get(f"/documents/{listed['id']}").json()
    assert {name: document[name] for name in listed} == listed
    assert document["text"] == RETRIES.text
    assert [chunk["heading"] for chunk in document["chunks"]] == list(RETRIES.sections)
    for chunk in document["chunks"]:
        assert document["text"][chunk["start"] : chunk["end"]] == chunk["content"]


def test_a_document_without_title_goes_by_its_file_name(api: httpx.Client) -> None:
    listed = next(d for d in api.get("/documents").json()["items"] if d["path"] == UNTITLED.path)
    assert listed["title"] == "caching.md"


def test_collections_are_counted(api: httpx.Client) -> None:
    body = api.get("/collections").json()
    counts = {item["name"]: (item["documents"], item["chunks"]) for item in body["items"]}
    assert counts == {"kitchen": (1, 2), "manual": (3, 5)}
    assert body["space"] == LOCAL.name


def test_status_shows_sources_and_the_active_space(api: httpx.Client) -> None:
    body = api.get("/status").json()
    assert {source["name"]: source["documents"] for source in body["sources"]} == {"kitchen": 1, "manual": 3}
    assert [(g["space"], g["state"], g["index"]) for g in body["generations"]] == [
        (LOCAL.name, "active", "valid")
    ]
    assert (body["runs"], body["problems"]) == ([], [])


def test_a_stocked_api_is_live_and_ready(api: httpx.Client) -> None:
    assert api.get("/health/live").status_code == 200
    ready = api.get("/health/ready")
    assert (ready.status_code, ready.json()["space"]) == (200, LOCAL.name)


def test_an_api_without_data_is_live_but_not_ready_and_says_what_to_do(
    settings: Settings, conninfo: str
) -> None:
    with running_api(settings, conninfo) as client:
        live, ready = client.get("/health/live"), client.get("/health/ready")
        lists = [client.get(path).json()["items"] for path in ("/documents", "/collections")]
    assert (live.status_code, ready.status_code) == (200, 503)
    assert "pgfolio sync" in ready.json()["detail"]
    assert lists == [[], []]


def test_the_openapi_document_describes_every_route(api: httpx.Client) -> None:
    document = api.get("/schema").json()
    assert document["openapi"].startswith("3.1")
    operations = {(path, method) for path, item in document["paths"].items() for method in item}
    assert operations >= {
        ("/search", "post"), ("/ask", "post"), ("/documents", "get"), ("/documents/{document_id}", "get"),
        ("/collections", "get"), ("/status", "get"), ("/health/live", "get"), ("/health/ready", "get"),
    }  # fmt: skip


def test_every_reference_in_the_openapi_document_leads_somewhere(api: httpx.Client) -> None:
    document = api.get("/schema/openapi.json").json()
    references = list(_references(document))
    assert references
    for reference in references:
        place: Any = document
        for part in reference.removeprefix("#/").split("/"):
            place = place[part.replace("~1", "/")]


def test_the_openapi_document_tells_bounds_and_problems(api: httpx.Client) -> None:
    document = api.get("/schema").json()
    request = document["components"]["schemas"]["SearchRequest"]
    assert request["properties"]["limit"]["maximum"] == 100
    assert "enum" in str(request["properties"]["mode"])
    responses = document["paths"]["/search"]["post"]["responses"]
    assert {"200", "400", "404", "500", "503"} <= set(responses)
    assert "application/problem+json" in responses["400"]["content"]


def _references(value: Any) -> Any:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _references(item)
