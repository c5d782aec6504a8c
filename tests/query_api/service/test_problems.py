"""Every error is a problem (RFC 9457) with a stable type, a detail that helps, and nothing of the inside."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from tests.query_api.library import running_api, stock, unreachable

if TYPE_CHECKING:
    import httpx

    from pgfolio.config.settings import Settings

URN = "urn:pgfolio:problem:"
INSIDE = ("Traceback", "psycopg", ".py", "select ", "msgspec", "litestar")


def check(response: httpx.Response, status: int, kind: str) -> dict[str, Any]:
    assert (response.status_code, response.headers["content-type"]) == (status, "application/problem+json")
    problem: dict[str, Any] = response.json()
    assert (problem["type"], problem["status"]) == (URN + kind, status)
    assert problem["title"]
    assert problem["trace_id"] == response.headers["X-Trace-Id"]
    assert not [word for word in INSIDE if word in response.text]
    return problem


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"query": ""}, "query"),
        ({"query": "   \n"}, "query"),
        ({"query": "x" * 4001}, "query"),
        ({"query": 3}, "query"),
        ({"query": None}, "query"),
        ({}, "query"),
        ({"query": "x", "limit": 0}, "limit"),
        ({"query": "x", "limit": 101}, "limit"),
        ({"query": "x", "limit": "many"}, "limit"),
        ({"query": "x", "mode": "magic"}, "mode"),
        ({"query": "x", "collections": []}, "collections"),
        ({"query": "x", "collections": "kitchen"}, "collections"),
        ({"query": "x", "ef_search": 0}, "ef_search"),
        ({"query": "x", "ef_search": 1001}, "ef_search"),
        ({"query": "x", "min_similarity": 1.5}, "min_similarity"),
        ({"query": "x", "exact": "yes"}, "exact"),
        ({"query": "x", "limits": 5}, "limits"),
        ({"query": "x", "explain": 0}, "explain"),
        ({"query": "x", "exact": "true"}, "exact"),
        ({"query": "x", "limit": "5"}, "limit"),
        ([], "object"),
    ],
)
def test_the_error_of_a_wrong_search_says_what_is_wrong(api: httpx.Client, body: Any, named: str) -> None:
    problem = check(api.post("/search", json=body), 400, "invalid-request")
    assert named in problem["detail"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[",
        b"query=x",
        b'{"query": "\xff"}',
        b'{"query": "\\ud800"}',
        b'{"query": "x", "filter": ' + b'{"$not": ' * 100_000,
    ],
)
def test_a_body_that_is_no_json_is_a_problem(api: httpx.Client, content: bytes) -> None:
    check(api.post("/search", content=content), 400, "invalid-request")


@pytest.mark.parametrize(("path", "name"), [("/search", "query"), ("/ask", "question")])
def test_an_unknown_collection_is_named(api: httpx.Client, path: str, name: str) -> None:
    response = api.post(path, json={name: "task", "collections": ["manual", "atlantis"]})
    problem = check(response, 404, "unknown-collection")
    assert "'atlantis'" in problem["detail"]
    assert "'manual'" not in problem["detail"]


def test_an_unknown_prompt_is_named(api: httpx.Client) -> None:
    problem = check(api.post("/ask", json={"question": "x", "prompt": "poem"}), 400, "unknown-prompt")
    assert "'poem'" in problem["detail"]


def test_an_unknown_route_is_a_problem(api: httpx.Client) -> None:
    assert "GET /nowhere" in check(api.get("/nowhere"), 404, "not-found")["detail"]


def test_a_wrong_method_is_a_problem_that_names_the_right_ones(api: httpx.Client) -> None:
    response = api.get("/search")
    check(response, 405, "method-not-allowed")
    assert "POST" in response.headers["Allow"]


def test_an_unknown_document_is_a_problem(api: httpx.Client) -> None:
    check(api.get("/documents/999999999"), 404, "unknown-document")
    check(api.get(f"/documents/{10**30}"), 404, "unknown-document")


@pytest.mark.parametrize("cursor", ["x", "ZDE9", "ZC0x", "%00", "a" * 500])
def test_a_wrong_cursor_is_a_problem(api: httpx.Client, cursor: str) -> None:
    check(api.get("/documents", params={"cursor": cursor}), 400, "wrong-cursor")


@pytest.mark.parametrize("limit", ["0", "1001", "many"])
def test_a_wrong_page_size_is_a_problem(api: httpx.Client, limit: str) -> None:
    assert "limit" in check(api.get("/documents", params={"limit": limit}), 400, "invalid-request")["detail"]


def test_a_body_without_end_is_too_large(api: httpx.Client) -> None:
    big = api.post("/search", content=b'{"query": "' + b"x" * 3_000_000)
    check(big, 413, "too-large")


def test_a_request_that_is_no_http_leaves_the_server_up(api: httpx.Client) -> None:
    with socket.create_connection((api.base_url.host, api.base_url.port or 0), timeout=5) as connection:
        connection.sendall(b"NONSENSE\r\n\r\n")
        assert b" 400 " in connection.recv(1000)
    assert api.get("/health/live").status_code == 200


def test_a_fault_of_the_server_shows_nothing_of_the_inside(settings: Settings, conninfo: str) -> None:
    stock(conninfo, settings)
    with running_api(settings, conninfo) as client:
        with psycopg.connect(conninfo) as connection:
            connection.execute("alter table documents rename column mime to kind")
        problem = check(client.get("/documents"), 500, "internal")
    assert problem["trace_id"] in problem["detail"]
    assert "mime" not in problem["detail"]


def test_a_database_that_went_away_is_unavailable(settings: Settings, conninfo: str, postgres: str) -> None:
    stock(conninfo, settings)
    with running_api(settings, conninfo) as client:
        with unreachable(conninfo, postgres):
            response = client.post("/search", json={"query": "task"})
            live = client.get("/health/live")
        check(response, 503, "database-unavailable")
        assert response.headers["Retry-After"]
        assert live.status_code == 200


def test_a_missing_key_of_the_active_space_is_said(
    conninfo: str, settings: Settings, new_settings: Any, openai_server: Any
) -> None:
    from pgfolio.schema.records import Space

    key = {"openai_api_key": "sk-test", "openai_base_url": openai_server.url}
    stock(conninfo, new_settings(**key), space=Space("openai", "tiny-embedding", 64))
    wrong = new_settings(openai_api_key="sk-wrong", openai_base_url=openai_server.url)
    with running_api(wrong, conninfo) as client:
        response = client.post("/search", json={"query": "task"})
    problem = check(response, 503, "model-misconfigured")
    assert "OPENAI_API_KEY" in problem["detail"]
    assert "sk-wrong" not in response.text
