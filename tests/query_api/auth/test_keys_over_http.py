"""`/keys`: an administrator makes, lists and revokes keys; one who is limited none that may see more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pgfolio.schema.database.connect import connect
from tests.query_api.auth.test_guard import until
from tests.query_api.auth.test_session import closed as closed  # noqa: PLC0414 -- a fixture
from tests.query_api.service.test_problems import check

if TYPE_CHECKING:
    from tests.query_api.auth.test_session import Closed


def by(closed: Closed, name: str) -> dict[str, str]:
    return {"X-API-Key": closed.keys[name]}


def test_a_key_is_made_shown_once_and_revoked(closed: Closed) -> None:
    body = {"name": "Ann", "scope": "write", "collections": ["kitchen"], "expires": "2099-01-01T00:00:00Z"}
    answer = closed.client.post("/keys", json=body, headers=by(closed, "admin"))
    assert answer.status_code == 201
    made = answer.json()
    assert (made["name"], made["scope"], made["collections"]) == ("Ann", "write", ["kitchen"])
    headers = {"X-API-Key": made["key"]}
    until(lambda: closed.client.get("/documents", headers=headers).status_code == 200, 2.0)
    listing = closed.client.get("/keys", headers=by(closed, "admin"))
    assert made["key"] not in listing.text
    assert [i["name"] for i in listing.json()["items"] if i["id"] == made["id"]] == ["Ann"]
    with connect(closed.conninfo) as connection:
        row = connection.execute("select api_keys::text from api_keys where id = %s", [made["id"]]).fetchone()
    assert made["key"] not in str(row)
    url = f"/keys/{made['id']}"
    assert closed.client.request("DELETE", url, headers=by(closed, "admin")).status_code == 204
    until(lambda: closed.client.get("/documents", headers=headers).status_code == 401, 1.0)
    check(closed.client.request("DELETE", url, headers=by(closed, "admin")), 404, "unknown-key")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400), ({"name": ""}, 400), ({"name": " x"}, 400), ({"name": "17"}, 400), ({"name": "a\x00"}, 400),
        ({"name": "a\nb"}, 400), ({"name": "x", "scope": "root"}, 400), ({"name": "x", "collections": []}, 400),
        ({"name": "x", "collections": ["atlantis"]}, 400), ({"name": "x", "collections": "manual"}, 400),
        ({"name": "x", "expires": "2001-01-01"}, 400), ({"name": "x", "expires": "2001-01-01T00:00:00Z"}, 400),
        ({"name": "x", "expires": 7}, 400), ({"name": "x", "role": "admin"}, 400),
    ],
)  # fmt: skip
def test_a_key_that_cannot_be_made_is_told(closed: Closed, body: dict[str, Any], status: int) -> None:
    answer = closed.client.post("/keys", json=body, headers=by(closed, "admin"))
    assert answer.status_code == status, answer.text
    assert "key" not in answer.json()


def test_who_is_limited_makes_sees_and_revokes_no_key_that_may_see_more(closed: Closed) -> None:
    limited = by(closed, "limited admin")
    for body in (
        {"name": "m"},
        {"name": "m", "collections": ["kitchen"]},
        {"name": "m", "collections": ["manual", "kitchen"]},
    ):
        answer = closed.client.post("/keys", json=body, headers=limited)
        assert answer.status_code == 400
    made = closed.client.post("/keys", json={"name": "mine", "collections": ["manual"]}, headers=limited)
    assert made.status_code == 201
    items = closed.client.get("/keys", headers=limited).json()["items"]
    assert {tuple(item["collections"]) for item in items} == {("manual",)}
    for other in (1, 3):
        check(closed.client.request("DELETE", f"/keys/{other}", headers=limited), 404, "unknown-key")
    url = f"/keys/{made.json()['id']}"
    assert closed.client.request("DELETE", url, headers=limited).status_code == 204


def test_a_key_of_a_taken_name_is_told(closed: Closed) -> None:
    body = {"name": "twice"}
    assert closed.client.post("/keys", json=body, headers=by(closed, "admin")).status_code == 201
    assert "already" in closed.client.post("/keys", json=body, headers=by(closed, "admin")).json()["detail"]


@pytest.mark.parametrize("key_id", ["999", "0", "99999999999999999999", "-1"])
def test_a_key_that_is_not_there(closed: Closed, key_id: str) -> None:
    answer = closed.client.request("DELETE", f"/keys/{key_id}", headers=by(closed, "admin"))
    assert answer.status_code == 404
