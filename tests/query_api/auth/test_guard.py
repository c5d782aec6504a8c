"""Who gets in: each route without a key, with one that opens nothing or too little; and from where."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from litestar import Litestar, get
from litestar.routes import ASGIRoute

from pgfolio.query_api.auth.session import COOKIE
from pgfolio.query_api.service.app import create_app
from pgfolio.schema.database.connect import connect
from pgfolio.schema.operations import api_keys
from tests.query_api.library import make_key, running, running_api, stock
from tests.query_api.service.test_problems import check

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    import httpx

    from pgfolio.config.settings import Settings

WRITING = {("POST", "/documents"), ("DELETE", "/documents/1")}
ADMINISTRATORS = ("/keys", "/requests", "/sources/", "/forgotten")
"""How their paths begin."""

OPEN_TO_ALL = {"/health/live", "/health/ready"}
PAGE = {"/": 200, "/d/1": 200, "/sources": 200, "/trace/1": 200, "/access": 200, "/page/1": 404}
"""The page's own files, which hold nothing of the documents."""

SESSION = "/session"
"""Where who has no key yet signs in."""

METHODS = ("GET", "POST", "DELETE", "PUT", "PATCH")
"""OPTIONS says which of these a path has, and nothing else."""


@get("/forgotten")
async def forgotten() -> None:
    """A route that does not say what it needs."""


def every_route(app: Litestar) -> list[tuple[str, str]]:
    """Every method and path that the application answers, with a number for each parameter."""
    methods_and_paths = []
    for route in app.routes:
        path = "".join(part if isinstance(part, str) else "1" for part in _joined(route.path_components))
        methods = ("POST",) if isinstance(route, ASGIRoute) else METHODS
        methods_and_paths += [
            (method, path)
            for method in methods
            if isinstance(route, ASGIRoute) or method in getattr(route, "methods", ())
        ]
    return sorted(set(methods_and_paths))


def check_problem(answer: httpx.Response, path: str, status: int, kind: str) -> str:
    """What it says, in the shape that clients of the path read."""
    if not path.startswith("/v1/"):
        return str(check(answer, status, kind)["detail"])
    assert answer.status_code == status
    assert answer.json()["error"].keys() == {"message", "type", "param", "code"}
    return str(answer.json()["error"]["message"])


def _joined(parts: Any) -> Iterator[Any]:
    for part in parts or [""]:
        yield "/"
        yield part


@pytest.fixture(scope="module")
def guarded(
    new_database: Callable[[], AbstractContextManager[str]], new_settings: Callable[..., Settings]
) -> Iterator[tuple[httpx.Client, Litestar, dict[str, str]]]:
    """An API with keys of all kinds, and one more route."""
    with new_database() as conninfo:
        settings = new_settings(database_url=conninfo)
        stock(conninfo, settings)
        past = datetime.now(UTC) - timedelta(seconds=1)
        made: dict[str, str] = {scope: make_key(conninfo, scope) for scope in api_keys.SCOPES}
        made |= {"revoked": make_key(conninfo, "admin"), "expired": make_key(conninfo, "admin", (), past)}
        with connect(conninfo) as connection:
            api_keys.revoke(connection, "4")
        app = create_app(settings, conninfo)
        app.register(forgotten)
        with running(app) as client:
            yield client, app, made


@pytest.mark.parametrize("by", ["Authorization", "Cookie"])
@pytest.mark.parametrize("kind", ["none", "empty", "wrong", "nearly", "revoked", "expired", "hash", "basic"])
def test_no_route_but_health_answers_who_has_no_key(
    guarded: tuple[httpx.Client, Litestar, dict[str, str]], kind: str, by: str
) -> None:
    client, app, made = guarded
    secret = {
        "empty": "",
        "wrong": "pgf_" + "A" * 43,
        "nearly": made["admin"][:-1] + ("A" if made["admin"][-1] != "A" else "B"),
        "hash": api_keys.hashed(made["admin"]).hex(),
    }.get(kind, made.get(kind, ""))
    shown = f"{COOKIE}={secret}" if by == "Cookie" else f"Bearer {secret}".strip()
    headers = {} if kind == "none" else {by: shown}
    if kind == "basic":
        headers = {"Authorization": f"Basic {made['admin']}"}
    routes = every_route(app)
    assert {path for _, path in routes} >= {
        "/search",
        "/ask",
        "/documents/1",
        "/metrics",
        "/schema",
        "/status",
        "/v1/models",
        "/v1/chat/completions",
        "/mcp",
    }
    for method, path in routes:
        if path == SESSION:
            continue
        answer = client.request(method, path, headers=headers, json={} if method == "POST" else None)
        if path in PAGE and method == "GET":
            assert answer.status_code == PAGE[path], (method, path)
        elif path in OPEN_TO_ALL and method == "GET":
            assert answer.status_code == 200, (method, path)
        else:
            check_problem(answer, path, 401, "unauthenticated")
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("header", ["Authorization", "X-API-Key", "Cookie"])
@pytest.mark.parametrize("scope", api_keys.SCOPES)
def test_a_key_opens_what_its_scope_includes(
    guarded: tuple[httpx.Client, Litestar, dict[str, str]], scope: str, header: str
) -> None:
    client, app, made = guarded
    shown = {"X-API-Key": "", "Authorization": "bearer ", "Cookie": f"{COOKIE}="}[header] + made[scope]
    headers = {header: shown, "Origin": str(client.base_url).rstrip("/")}
    for method, path in every_route(app):
        if path == SESSION:
            continue
        path = path.replace("/keys/1", "/keys/4")  # noqa: PLW2901 -- which is revoked already
        needs = (
            "write" if (method, path) in WRITING else "admin" if path.startswith(ADMINISTRATORS) else "read"
        )
        answer = client.request(method, path, headers=headers, json={} if method == "POST" else None)
        if api_keys.SCOPES.index(scope) < api_keys.SCOPES.index(needs):
            assert needs in check_problem(answer, path, 403, "forbidden")
        else:
            assert answer.status_code not in {401, 403, 500}, (method, path)


def test_a_key_of_too_little_scope_is_rejected_before_its_body_is_read(
    guarded: tuple[httpx.Client, Litestar, dict[str, str]],
) -> None:
    client, _, made = guarded
    check(client.post("/documents", headers={"X-API-Key": made["read"]}, content=b"{" * 10), 403, "forbidden")


def test_an_api_without_keys_is_open_to_this_machine(api: httpx.Client) -> None:
    assert api.get("/documents").status_code == 200
    assert api.get("/documents", headers={"Authorization": "Bearer whatever"}).status_code == 200


def test_the_api_closes_when_the_first_key_is_made_and_never_opens_again(
    settings: Settings, conninfo: str
) -> None:
    stock(conninfo, settings)
    with running_api(settings, conninfo) as client:
        assert client.get("/documents").status_code == 200
        key = make_key(conninfo)
        until(lambda: client.get("/documents").status_code == 401, 1.0)
        headers = {"X-API-Key": key}
        assert client.get("/documents", headers=headers).status_code == 200
        with connect(conninfo) as connection:
            api_keys.revoke(connection, "1")
        until(lambda: client.get("/documents", headers=headers).status_code == 401, 1.0)
        time.sleep(0.6)
        assert client.get("/documents").status_code == 401


def test_a_key_ends_when_it_expires(settings: Settings, conninfo: str) -> None:
    stock(conninfo, settings)
    key = make_key(conninfo, "read", (), datetime.now(UTC) + timedelta(seconds=1.5))
    with running_api(settings, conninfo) as client:
        assert client.get("/documents", headers={"X-API-Key": key}).status_code == 200
        until(lambda: client.get("/documents", headers={"X-API-Key": key}).status_code == 401, 3.0)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8000", 200), ("localhost", 200), ("LOCALHOST:1", 200), ("[::1]:8000", 200), ("127.0.0.2", 200),
        ("evil.example", 403), ("127.0.0.1.evil.example", 403), ("localhost.evil.example:8000", 403),
        ("10.0.0.1", 403), ("", 403), ("[", 403), ("a@127.0.0.1", 200),
    ],
)  # fmt: skip
def test_an_open_api_answers_to_this_machines_names_only(api: httpx.Client, host: str, status: int) -> None:
    answer = api.get("/documents", headers={"Host": host})
    assert answer.status_code == status
    if status == 403:
        assert "PGFOLIO_API__ALLOWED_HOSTS" in check(answer, 403, "forbidden")["detail"]


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:9", "file://"])
@pytest.mark.parametrize("kind", ["application/json", "text/plain"])
def test_an_open_api_answers_no_page_of_another_origin(api: httpx.Client, origin: str, kind: str) -> None:
    headers = {"Origin": origin, "Content-Type": kind}
    answer = api.post("/search", headers=headers, content=b'{"query": "task"}')
    assert "CORS_ORIGINS" in check(answer, 403, "forbidden")["detail"]
    assert "access-control-allow-origin" not in answer.headers


def test_an_open_api_answers_its_own_origin(api: httpx.Client) -> None:
    origin = str(api.base_url).rstrip("/")
    assert api.post("/search", headers={"Origin": origin}, json={"query": "x"}).status_code == 200


def test_hosts_and_origins_that_are_named_are_answered(
    library: str, new_settings: Callable[..., Settings]
) -> None:
    named = {"allowed_hosts": ["docs.example"], "cors_origins": ["https://page.example"]}
    with running_api(new_settings(database_url=library, api=named), library) as client:
        headers = {"Host": "docs.example", "Origin": "https://page.example"}
        answer = client.post("/search", headers=headers, json={"query": "x"})
        preflight = {**headers, "Access-Control-Request-Method": "POST"}
        allowed = client.options(
            "/search", headers={**preflight, "Access-Control-Request-Headers": "x-api-key"}
        )
        other = client.get("/documents", headers={"Host": "other.example"})
        strange = client.options("/search", headers={**preflight, "Origin": "https://evil.example"})
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "https://page.example"
    assert allowed.status_code == 204
    assert other.status_code == 403
    assert "access-control-allow-origin" not in strange.headers


def test_with_keys_any_host_is_answered_unless_some_are_named(
    settings: Settings, conninfo: str, new_settings: Callable[..., Settings]
) -> None:
    stock(conninfo, settings)
    headers = {"X-API-Key": make_key(conninfo), "Host": "docs.example"}
    with running_api(settings, conninfo) as client:
        assert client.get("/documents", headers=headers).status_code == 200
    named = new_settings(database_url=conninfo, api={"allowed_hosts": ["other.example"]})
    with running_api(named, conninfo) as client:
        check(client.get("/documents", headers=headers), 403, "forbidden")
        assert client.get("/health/live", headers=headers).status_code == 200


@pytest.mark.parametrize("path", ["/documents", "/nowhere", "/health/live", "/schema"])
def test_every_answer_is_data_and_no_page(api: httpx.Client, path: str) -> None:
    headers = api.get(path).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert headers["Cache-Control"] == "no-store"
    assert "server" not in headers


def until(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.02)
