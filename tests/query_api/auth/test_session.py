"""Signing in at the page: what the cookie opens, for how long, and from which page."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from pgfolio.query_api.auth.session import COOKIE
from pgfolio.schema.database.connect import connect
from pgfolio.schema.operations import api_keys
from tests.query_api.auth.test_guard import until
from tests.query_api.library import make_key, running_api, stock
from tests.query_api.service.test_problems import check

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    import httpx

    from pgfolio.config.settings import Settings


class Closed(NamedTuple):
    client: httpx.Client
    keys: dict[str, str]
    conninfo: str

    @property
    def origin(self) -> str:
        return str(self.client.base_url).rstrip("/")

    def cookie(self, name: str) -> dict[str, str]:
        return {"Cookie": f"{COOKIE}={self.keys[name]}"}


@pytest.fixture(scope="module")
def closed(
    new_database: Callable[[], AbstractContextManager[str]], new_settings: Callable[..., Settings]
) -> Iterator[Closed]:
    """An API with keys; its client keeps no cookies by itself."""
    with new_database() as conninfo:
        settings = new_settings(database_url=conninfo)
        stock(conninfo, settings)
        keys: dict[str, str] = {scope: make_key(conninfo, scope) for scope in api_keys.SCOPES}
        keys["limited"] = make_key(conninfo, "read", ["manual"])
        keys["limited admin"] = make_key(conninfo, "admin", ["manual"])
        keys["revoked"] = make_key(conninfo, "admin")
        keys["expired"] = make_key(conninfo, "admin", (), datetime.now(UTC) - timedelta(seconds=1))
        with connect(conninfo) as connection:
            api_keys.revoke(connection, "6")
        with running_api(settings, conninfo) as client:
            yield Closed(client, keys, conninfo)


def sign_in(closed: Closed, key: str, **headers: str) -> httpx.Response:
    answer = closed.client.post("/session", json={"key": key}, headers=headers)
    closed.client.cookies.clear()
    return answer


def test_a_key_signs_in_by_a_cookie_that_no_script_and_no_other_site_can_use(closed: Closed) -> None:
    answer = sign_in(closed, f"  {closed.keys['limited']}\n")
    body = answer.json()
    expected = {"scope": "read", "collections": ["manual"], "expires_at": None}
    assert {name: body[name] for name in expected} == expected
    value, *attributes = answer.headers["Set-Cookie"].split("; ")
    assert value == f"{COOKIE}={closed.keys['limited']}"
    assert {a.lower() for a in attributes} == {"httponly", "samesite=strict", "path=/"}
    assert closed.keys["limited"] not in answer.text
    assert closed.client.get("/documents", headers={"Cookie": value}).status_code == 200


def test_over_https_the_cookie_is_secure(closed: Closed) -> None:
    origin = closed.origin.replace("http:", "https:")
    answer = sign_in(closed, closed.keys["read"], **{"X-Forwarded-Proto": "https", "Origin": origin})
    assert answer.status_code == 200
    assert "secure" in answer.headers["Set-Cookie"].lower().split("; ")


@pytest.mark.parametrize("key", ["revoked", "expired", "wrong", "spaces", "umlaut", "header"])
def test_a_key_that_opens_nothing_signs_nobody_in(closed: Closed, key: str) -> None:
    others = {
        "wrong": "pgf_" + "A" * 43,
        "spaces": "   ",
        "umlaut": "ä" * 20,
        "header": "a\r\nSet-Cookie: x=y",
    }
    answer = sign_in(closed, closed.keys.get(key, others.get(key, "")))
    assert "wrong, revoked or expired" in check(answer, 401, "unauthenticated")["detail"]
    assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize("body", [{}, {"key": ""}, {"key": 1}, {"key": "a" * 501}, {"key": "a", "b": 1}, []])
def test_what_names_no_key_is_a_wrong_request(closed: Closed, body: Any) -> None:
    check(closed.client.post("/session", json=body), 400, "invalid-request")


def test_who_is_signed_in_is_told(closed: Closed) -> None:
    nobody = closed.client.get("/session").json()
    assert (nobody["required"], nobody["signed_in"], nobody["scope"]) == (True, False, None)
    somebody = closed.client.get("/session", headers=closed.cookie("limited")).json()
    expected = {"required": True, "signed_in": True, "scope": "read", "collections": ["manual"]}
    assert {name: somebody[name] for name in expected} == expected
    for kind in ("revoked", "expired"):
        assert not closed.client.get("/session", headers=closed.cookie(kind)).json()["signed_in"]
    by_header = closed.client.get("/session", headers={"X-API-Key": closed.keys["admin"]}).json()
    assert by_header["scope"] == "admin"


def test_without_keys_nobody_needs_to_sign_in(api: httpx.Client) -> None:
    answer = api.get("/session").json()
    assert (answer["required"], answer["signed_in"], answer["scope"]) == (False, False, "admin")
    check(api.post("/session", json={"key": "pgf_x"}), 401, "unauthenticated")


def test_signing_out_takes_the_cookie_back(closed: Closed) -> None:
    headers = {**closed.cookie("read"), "Origin": closed.origin}
    answer = closed.client.request("DELETE", "/session", headers=headers)
    assert (answer.status_code, answer.content) == (204, b"")
    assert {f"{COOKIE}=", "max-age=0"} <= {
        part.strip('"').replace('""', "").lower() for part in answer.headers["Set-Cookie"].split("; ")
    }


def test_a_header_goes_before_the_cookie(closed: Closed) -> None:
    wrong = {**closed.cookie("admin"), "Authorization": "Bearer pgf_wrong"}
    check(closed.client.get("/documents", headers=wrong), 401, "unauthenticated")
    right = {"Cookie": f"{COOKIE}=pgf_wrong", "X-API-Key": closed.keys["read"]}
    assert closed.client.post("/search", json={"query": "x"}, headers=right).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "{origin}"}, 200),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "{origin}"}, 200),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "https://docs.example", "Host": "10.0.0.1:8000"}, 200),
        ({}, 403),
        ({"Referer": "{origin}/"}, 403),
        ({"Origin": ""}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "null", "Sec-Fetch-Site": "same-origin"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "http://127.0.0.1:9"}, 403),
        ({"Origin": "http://127.0.0.1"}, 403),
        ({"Origin": "http://docs.127.0.0.1.example"}, 403),
        ({"Origin": "{origin}.evil.example"}, 403),
        ({"Origin": "{origin}@evil.example"}, 403),
        ({"Origin": "http://[evil"}, 403),
        ({"Origin": "file://"}, 403),
        ({"Origin": "ftp://{host}"}, 403),
        ({"Origin": "{origin}", "X-Forwarded-Proto": "https"}, 403),
        ({"Origin": "https://{host}", "X-Forwarded-Proto": "https"}, 200),
        ({"Origin": "http://sub.docs.example", "Host": "docs.example"}, 403),
        ({"Origin": "http://docs.example", "Host": "docs.example"}, 200),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "none"}, 403),
        ({"Sec-Fetch-Site": ""}, 403),
        ({"Sec-Fetch-Site": "same-site", "Origin": "{origin}"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "{origin}"}, 403),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["application/json", "text/plain", "application/x-www-form-urlencoded"])
def test_a_cookie_is_used_by_our_own_page_alone(
    closed: Closed, headers: dict[str, str], status: int, kind: str
) -> None:
    host = closed.origin.partition("//")[2]
    sent = {name: value.format(origin=closed.origin, host=host) for name, value in headers.items()}
    sent |= {**closed.cookie("admin"), "Content-Type": kind}
    answer = closed.client.post("/search", content=b'{"query": "task"}', headers=sent)
    assert answer.status_code == status
    deleted = closed.client.request("DELETE", "/documents/999", headers=sent)
    assert deleted.status_code == (403 if status == 403 else 404)
    if status == 403:
        assert "Origin" in check(answer, 403, "forbidden")["detail"]
        out = closed.client.request("DELETE", "/session", headers=sent)
        check(out, 403, "forbidden")
        assert "Set-Cookie" not in out.headers


@pytest.mark.parametrize(
    "headers", [{"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "same-site"}]
)
def test_no_other_page_signs_a_person_in(closed: Closed, headers: dict[str, str]) -> None:
    answer = sign_in(closed, closed.keys["read"], **headers)
    check(answer, 403, "forbidden")
    assert "Set-Cookie" not in answer.headers


def test_reading_with_a_cookie_needs_no_origin(closed: Closed) -> None:
    for method in ("GET", "HEAD"):
        answer = closed.client.request(method, "/documents", headers=closed.cookie("read"))
        assert answer.status_code == 200
        assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"


def test_a_cookie_sees_the_collections_of_its_key(closed: Closed) -> None:
    items = closed.client.get("/documents", headers=closed.cookie("limited")).json()["items"]
    assert {item["collection"] for item in items} == {"manual"}


def test_a_revoked_keys_cookie_opens_nothing_within_a_second(closed: Closed) -> None:
    with connect(closed.conninfo) as connection:
        made = api_keys.add(connection, "leaving", "read")
    headers = {"Cookie": f"{COOKIE}={made.secret}"}
    until(lambda: closed.client.get("/documents", headers=headers).status_code == 200, 2.0)
    with connect(closed.conninfo) as connection:
        api_keys.revoke(connection, "leaving")
    until(lambda: closed.client.get("/documents", headers=headers).status_code == 401, 1.0)


@pytest.mark.parametrize("by", ["session", "header", "cookie"])
def test_who_tries_keys_is_limited(
    settings: Settings, conninfo: str, new_settings: Callable[..., Settings], by: str
) -> None:
    stock(conninfo, settings)
    key = make_key(conninfo)
    limited = new_settings(database_url=conninfo, api={"requests_per_minute": 5})

    def attempt() -> httpx.Response:
        if by == "session":
            return client.post("/session", json={"key": "pgf_wrong"})
        headers = {"header": {"X-API-Key": "pgf_wrong"}, "cookie": {"Cookie": f"{COOKIE}=pgf_wrong"}}[by]
        return client.get("/documents", headers=headers)

    with running_api(limited, conninfo) as client:
        statuses = [attempt().status_code for _ in range(7)]
        assert statuses == [401] * 5 + [429] * 2
        assert int(attempt().headers["Retry-After"]) >= 1
        assert client.get("/documents", headers={"X-API-Key": key}).status_code == 200
