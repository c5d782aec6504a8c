"""What a client accepts is weighed: JSON or a stream of events, HEAD wherever there is GET."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest

from pgfolio.query_api.service.accept import wants_stream
from tests.query_api.library import make_key, running_api, stock
from tests.query_api.service.test_operations import numbers

if TYPE_CHECKING:
    from pgfolio.config.settings import Settings

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
QUESTION = {"question": "how is a failed task retried"}


@pytest.mark.parametrize(
    ("accept", "stream"),
    [
        ("", False),
        ("*/*", False),
        ("application/json", False),
        ("text/event-stream", True),
        ("Text/Event-Stream", True),
        ("text/event-stream; charset=utf-8", True),
        ("text/event-stream, application/json", True),
        ("application/json, text/event-stream", True),
        ("application/json, text/event-stream;q=0.5", False),
        ("application/json; q=0.5, text/event-stream ; Q=0.6", True),
        ("text/event-stream;q=0", False),
        ("text/event-stream;q=0.000, */*", False),
        ("text/event-stream, */*", True),
        ("text/event-stream;q=0.5, */*;q=0.4", True),
        ("text/event-stream;q=0.4, */*;q=0.5", False),
        ("text/*", True),
        ("text/*, application/*", False),
        ("text/*;q=0.5, application/json;q=0.4", True),
        ("text/*, text/event-stream;q=0, application/json;q=0.1", False),
        ("text/html", False),
        (BROWSER, False),
        ('text/event-stream;title="a, b;q=0"', True),
        ("text/event-stream;q=banana", False),
        ("text/event-stream;q=2", False),
        ("text/event-stream;q=-1", False),
        ("text/event-stream;q=", False),
        ("text/event-stream;q=nan, application/json;q=0.1", False),
        ("garbage;;;q=x", False),
        (",,;q=1,/", False),
        ("text/event-stream/, text", False),
        ("," * 60_000, False),
    ],
)
def test_a_stream_is_what_is_preferred_to_json(accept: str, *, stream: bool) -> None:
    assert wants_stream(accept, requested=False) is stream


@pytest.mark.parametrize(
    ("accept", "stream"),
    [
        ("", True),
        ("application/json", True),  # what clients of the OpenAI API send
        ("*/*", True),
        ("text/event-stream;q=0", False),
        ("application/json, */*;q=0", False),
    ],
)
def test_a_stream_that_the_body_asks_for_is_given_unless_it_is_refused(accept: str, *, stream: bool) -> None:
    assert wants_stream(accept, requested=True) is stream


@pytest.mark.parametrize(
    ("accept", "fields", "media_type"),
    [
        ("application/json, text/event-stream;q=0.5", {}, "application/json"),
        ("text/event-stream", {"stream": False}, "text/event-stream"),
        ("application/json", {"stream": True}, "text/event-stream"),
        ("text/event-stream;q=0", {"stream": True}, "application/json"),
        ("\xff\xfe,;q", {}, "application/json"),
    ],
)
def test_ask_answers_as_is_accepted(
    api: httpx.Client, accept: str, fields: dict[str, Any], media_type: str
) -> None:
    answer = api.post("/ask", json={**QUESTION, **fields}, headers=[(b"Accept", accept.encode("latin-1"))])
    assert answer.headers["content-type"].split(";")[0] == media_type


def test_several_accept_lines_are_one(api: httpx.Client) -> None:
    lines = [("Accept", "application/json;q=0.2"), ("Accept", "text/event-stream;q=0.3")]
    answer = api.send(httpx.Request("POST", api.base_url.join("/ask"), json=QUESTION, headers=lines))
    assert answer.headers["content-type"].startswith("text/event-stream")


GETS = [
    "/health/live", "/health/ready", "/collections", "/status", "/documents", "/documents?limit=1", "/documents/1",
    "/documents/999999", "/documents?cursor=x", "/metrics", "/schema", "/schema/openapi.json", "/traces/abc",
    "/nowhere",
]  # fmt: skip


@pytest.mark.parametrize("path", GETS)
def test_head_is_get_without_a_body(api: httpx.Client, path: str) -> None:
    get, head = api.get(path), api.head(path)
    assert (head.status_code, head.content) == (get.status_code, b"")
    changing = {"x-trace-id", "date"} | (
        {"content-length"} if path in {"/metrics", "/health/ready"} else set()
    )
    for name in get.headers.keys() - changing:
        assert head.headers[name] == get.headers[name]
    assert head.headers["content-length"].isdigit()
    assert head.headers.keys() == get.headers.keys()
    assert api.get("/health/live").status_code == 200  # the connection is as it was


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/search", {"POST", "OPTIONS"}),
        ("/documents", {"GET", "HEAD", "POST", "OPTIONS"}),
        ("/documents/1", {"GET", "HEAD", "DELETE", "OPTIONS"}),
        ("/health/live", {"GET", "HEAD", "OPTIONS"}),
    ],
)
def test_what_is_allowed_is_said(api: httpx.Client, path: str, allowed: set[str]) -> None:
    for answer in (api.options(path), api.patch(path)):
        assert set(answer.headers["allow"].split(", ")) == allowed
    assert api.head("/search").status_code == 405


def test_head_needs_the_key_that_get_needs_and_is_counted_as_head(settings: Settings, conninfo: str) -> None:
    stock(conninfo, settings)
    key = make_key(conninfo)
    with running_api(settings, conninfo) as client:
        assert client.head("/health/live").status_code == 200
        refused = client.head("/documents")
        assert (refused.status_code, refused.content) == (401, b"")
        assert "WWW-Authenticate" in refused.headers
        assert client.head("/documents", headers={"X-API-Key": key}).status_code == 200
        counted = numbers(client, **{"X-API-Key": key})
    labels = frozenset({("method", "HEAD"), ("route", "/documents"), ("status", "200")})
    assert counted["pgfolio_requests_total", labels] >= 1
