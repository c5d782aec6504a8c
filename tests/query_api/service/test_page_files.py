"""The page's files as they are sent: their policy, packed where that is taken, and never any other file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import httpx


@pytest.mark.parametrize(
    "path", ["/", "/d/1", "/sources", "/trace/abc", "/access", "/page/app.js", "/page/style.css"]
)
def test_a_strict_policy_goes_with_each(api: httpx.Client, path: str) -> None:
    response = api.get(path)
    assert response.status_code == 200
    [policy] = response.headers.get_list("content-security-policy")
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert response.headers["x-content-type-options"] == "nosniff"
    assert api.head(path).status_code == 200


def test_a_file_that_is_known_is_not_sent_again(api: httpx.Client) -> None:
    first = api.get("/page/app.js")
    again = api.get("/page/app.js", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    ("accepted", "packed"),
    [
        ("gzip, br", True),
        ("br;q=1, GZIP;q=0.5", True),
        ("gzip;q=0", False),
        ("gzip ; q=0.0, br", False),
        ("", False),
        ("gzip;q=abc", True),
    ],
)
def test_it_is_packed_where_that_is_taken(api: httpx.Client, accepted: str, packed: bool) -> None:
    response = api.get("/page/style.css", headers={"Accept-Encoding": accepted})
    assert (response.headers.get("content-encoding") == "gzip") is packed
    assert "--paper" in response.text


@pytest.mark.parametrize(
    "name", ["nothing.js", "../service/page.py", "%2e%2e/service/page.py", "/etc/passwd", "vendor"]
)
def test_no_other_file_is_sent(api: httpx.Client, name: str) -> None:
    assert api.get(f"/page/{name}").status_code == 404
