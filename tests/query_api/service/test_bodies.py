"""Bodies as clients send them: read where it is clear what is meant, else refused with a true sentence, and never a
fault of the server."""

from __future__ import annotations

import codecs
import gzip
import json
import zlib
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgfolio.query_api.service import contracts as c
from pgfolio.query_api.service.field_hints import MEANT, unknown_field
from pgfolio.query_api.service.json_body import UnreadableBodyError, decode
from tests.query_api.library import running_api
from tests.query_api.service.test_problems import check

if TYPE_CHECKING:
    import httpx

    from pgfolio.config.settings import Settings

TEXT = '{"query": "how is a failed task retried"}'
BODY = TEXT.encode()
FORM = "application/x-www-form-urlencoded"


def post(
    client: httpx.Client, body: bytes, kind: str | None = "application/json", **headers: str
) -> httpx.Response:
    sent = {"Content-Type": kind, **headers} if kind else headers
    return client.post("/search", content=body, headers=sent)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (BODY, None),
        (BODY, FORM),  # curl -d
        (BODY, "text/plain"),
        (BODY, "application/octet-stream"),
        (BODY, "Application/JSON; charset=utf-8"),
        (BODY, "application/vnd.api+json"),
        (BODY, "@@@"),
        (codecs.BOM_UTF8 + BODY, "application/json"),
        (TEXT.encode("utf-16"), "application/json"),
        (codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"), "application/json"),
        (TEXT.encode("utf-16-le"), "application/json; charset=utf-16"),
        (TEXT.encode("utf-32"), "application/json"),
        (b"\r\n" + BODY + b"\n\n", "application/json"),
    ],
)
def test_what_is_json_is_read_whatever_it_is_called(api: httpx.Client, body: bytes, kind: str | None) -> None:
    assert post(api, body, kind).json()["total_returned"] > 0


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (codecs.BOM_UTF8, "is empty"),
        (b"[]", "not a list"),
        (b'"x"', "not a text"),
        (b"3", "not a number"),
        (b"true", "not true or false"),
        (b"null", "not null"),
        (b'{"query": "x",}', "a comma stands before a closing bracket"),
        (b'{"query": "x", "collections": ["a", ]}', "a comma stands before a closing bracket"),
        (b'{"query": "x", "query": "y"}', "'query' twice"),
        (b'{"query": "x", "filter": {"a": 1, "a": 1}}', "'a' twice"),
        (b'{"query": "x", "min_similarity": NaN}', "NaN"),
        (b'{"query": "x", "min_similarity": -Infinity}', "-Infinity"),
        (b'{"query": "x", "min_similarity": 1e999}', "'1e999'"),
        (b'{"query": "x", "limit": ' + b"9" * 5000 + b"}", "number that is too long"),
        (b"{'query': 'x'}", "double quotes"),
        (b'{query: "x"}', "double quotes"),
        (b'{"query": "x" // y\n}', "comment"),
        (b'{"query": "x", "exact": True}', "small letters"),
        (b'{"query": "x"', "too early"),
        (b'{"query": "x', "closing quote"),
        (b'{"query": ', "too early"),
        (b'{"query" "x"}', "colon"),
        (b'{"query": "x" "limit": 3}', "comma"),
        (b'{"query": }', "a value is missing"),
        (b'{"query": "x"} {}', "behind its end"),
        (b'{"query": "a\nb"}', "line break"),
        (b'{"query": "\\q"}', "backslash"),
        (b'{"query": "caf\xe9"}', "not UTF-8"),
        (b'{"query": "\\ud800"}', "half a character"),
        (codecs.BOM_UTF16_LE + b"\x00", "not UTF-8"),
        (gzip.compress(BODY, mtime=0), "compressed"),
        (b"\x00" * 48, "no JSON"),
        (b'{"query": "x", "filter": ' + b'{"$not": ' * 100_000, "too many levels"),
        (b"[" * 500_000, "too many levels"),
    ],
)
def test_what_is_wrong_with_a_body_is_said_in_a_sentence(api: httpx.Client, body: bytes, says: str) -> None:
    for path in ("/search", "/ask", "/documents"):
        problem = check(api.post(path, content=body), 400, "invalid-request")
        assert says in problem["detail"]


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"query=how+to+retry&limit=3", FORM),
        (b"<query/>", "application/xml"),
        (b"\x81\xa5query\xa1x", "application/x-msgpack"),
        (
            b'--x\r\nContent-Disposition: form-data; name="query"\r\n\r\nhi\r\n--x--\r\n',
            "multipart/form-data; boundary=x",
        ),
        (b"x", "multipart/form-data"),
    ],
)
def test_what_is_no_json_and_says_so_is_told_what_is_taken(api: httpx.Client, body: bytes, kind: str) -> None:
    detail = check(post(api, body, kind), 400, "invalid-request")["detail"]
    assert kind.partition(";")[0] in detail
    assert "application/json" in detail


def test_a_push_of_another_kind_is_told_the_two_that_there_are(api: httpx.Client) -> None:
    answer = api.post("/documents", content=b"# Tides", headers={"Content-Type": "text/markdown"})
    detail = check(answer, 400, "invalid-request")["detail"]
    assert all(word in detail for word in ("text/markdown", "application/json", "multipart/form-data"))


@pytest.mark.parametrize("path", ["/search", "/ask", "/documents"])
@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", gzip.compress(BODY, mtime=0)),
        ("GZIP", gzip.compress(b" " * 50_000_000, mtime=0)),
        ("deflate", zlib.compress(BODY)),
        ("br", b"\x0b"),
        ("identity, gzip", b""),
    ],
)
def test_compressed_bodies_are_refused_with_what_is_accepted(
    api: httpx.Client, path: str, coding: str, body: bytes
) -> None:
    answer = api.post(path, content=body, headers={"Content-Encoding": coding})
    check(answer, 415, "unsupported-media-type")
    assert answer.headers["Accept-Encoding"] == "identity"


def test_a_body_that_is_said_not_to_be_compressed_is_read(api: httpx.Client) -> None:
    assert post(api, BODY, **{"Content-Encoding": "identity"}).status_code == 200


NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(VALUES)
def test_all_json_is_read_as_it_is(value: Any) -> None:
    assert decode(json.dumps(value).encode()) == value
    assert decode(json.dumps(value, ensure_ascii=False)) == value


@given(st.binary(max_size=40) | st.text(alphabet='{}[]",:\\u0d8eE+-.NaInfty ').map(str.encode))
def test_anything_else_is_refused_and_nothing_worse(data: bytes) -> None:
    with suppress(UnreadableBodyError):
        decode(data)


@pytest.mark.parametrize(
    ("path", "given", "meant"),
    [
        ("/search", {"question": "x"}, "query"),
        ("/search", {"q": "x"}, "query"),
        ("/search", {"query": "x", "question": "y"}, "query"),
        ("/ask", {"query": "x"}, "question"),
        ("/ask", {"text": "x"}, "question"),
        ("/search", {"query": "x", "top_k": 3}, "limit"),
        ("/search", {"query": "x", "topK": 3}, "limit"),
        ("/search", {"query": "x", "k": 3}, "limit"),
        ("/search", {"query": "x", "n": 3}, "limit"),
        ("/search", {"query": "x", "Limit": 3}, "limit"),
        ("/search", {"query": "x", "collection": "docs"}, "collections"),
        ("/search", {"query": "x", "filters": {}}, "filter"),
        ("/search", {"query": "x", "score_threshold": 0.3}, "min_similarity"),
        ("/search", {"query": "x", "min_similarty": 0.3}, "min_similarity"),
        ("/search", {"query": "x", "source": "docs"}, '"filter": {"source": ...}'),
        ("/search", {"query": "x", "offset": 10}, "raise `limit`"),
        ("/search", {"query": "x", "stream": True}, "POST /ask"),
        ("/documents", {"title": "x", "text": "y"}, "content"),
        ("/documents", {"name": "x", "content": "y"}, "title"),
    ],
)
def test_a_field_by_another_name_is_told_its_name(
    api: httpx.Client, path: str, given: dict[str, Any], meant: str
) -> None:
    problem = check(api.post(path, json=given), 400, "invalid-request")
    wrong = next(name for name in given if f"no field `{name}`" in problem["detail"])
    assert meant in problem["detail"].partition(f"`{wrong}`")[2]
    assert problem["errors"] == [problem["detail"].removeprefix("correct the request: ")]


def test_a_field_that_nobody_knows_is_told_those_that_there_are(api: httpx.Client) -> None:
    problem = check(api.post("/search", json={"query": "x", "zebra": 1}), 400, "invalid-request")
    assert "`zebra`" in problem["detail"]
    assert all(name in problem["detail"] for name in c.SearchRequest.__struct_fields__)


def test_every_name_that_others_use_leads_to_a_field_that_there_is() -> None:
    kinds = (c.SearchRequest, c.AskRequest, c.PushRequest)
    for field, names in MEANT.items():
        fields = next(kind.__struct_fields__ for kind in kinds if field in kind.__struct_fields__)
        for name in set(names.split()) - {*fields}:
            meant = unknown_field(name, fields).partition("it is called `")[2]
            assert meant.rstrip("`") in fields


@pytest.mark.parametrize("path", ["/search", "/ask"])
def test_a_get_of_what_is_posted_says_so(api: httpx.Client, path: str) -> None:
    assert "but POST" in check(api.get(path, params={"query": "x"}), 405, "method-not-allowed")["detail"]


def test_numbers_beyond_all_bounds_are_no_fault(settings: Settings, conninfo: str) -> None:
    with running_api(settings, conninfo) as client:
        for body in ({"query": "x", "min_similarity": 10**400}, {"query": "x", "filter": {"a": 10**400}}):
            assert client.post("/search", json=body).status_code == 400
        push = {"title": "x", "content": "y", "metadata": {"a": 10**400}}
        assert client.post("/documents", json=push).status_code in {202, 400}
        assert client.post("/documents", json={**push, "metadata": {"a": 2**64}}).status_code in {202, 400}
