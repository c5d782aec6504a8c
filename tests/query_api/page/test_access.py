"""Who may see the page's documents: signing in with a key, a key that opens nothing, is revoked or limited; and that
everybody can use it, by the rules of accessibility."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from pgfolio.schema.database.connect import connect
from tests.query_api.library import make_key, running_api, stock
from tests.query_api.page.documents import DOCUMENTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from pgfolio.config.settings import Settings
    from tests.query_api.page.conftest import Watched


@dataclass(frozen=True)
class Guarded:
    url: str
    conninfo: str
    admin: str
    limited: str


@pytest.fixture(scope="module")
def guarded(
    new_database: Callable[[], AbstractContextManager[str]], new_settings: Callable[..., Settings]
) -> Iterator[Guarded]:
    with new_database() as conninfo:
        settings = new_settings(database_url=conninfo, api={"log": "off"})
        stock(conninfo, settings, DOCUMENTS)
        admin, limited = make_key(conninfo, "admin"), make_key(conninfo, collections=("kitchen",))
        with running_api(settings, conninfo) as client:
            yield Guarded(str(client.base_url), conninfo, admin, limited)


@pytest.fixture
def visit(guarded: Guarded, opened: Callable[..., AbstractContextManager[Watched]]) -> Iterator[Watched]:
    with opened(guarded.url) as watched:
        watched.expected.append("401")
        yield watched


def sign_in(visit: Watched, key: str) -> None:
    visit.open("/")
    visit.page.get_by_label("API key").fill(key)
    visit.page.get_by_role("button", name="Sign in").click()


def test_a_key_signs_in_and_out(visit: Watched, guarded: Guarded) -> None:
    sign_in(visit, guarded.admin)
    page = visit.page
    expect(page.locator("#q")).to_be_visible()
    [cookie] = page.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, "Strict", "/")
    assert page.evaluate("[document.cookie, localStorage.length, sessionStorage.length]") == ["", 0, 0]
    page.reload()
    expect(page.locator("#q")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("API key")).to_be_visible()
    assert page.context.cookies() == []


def test_a_wrong_key_opens_nothing(visit: Watched) -> None:
    sign_in(visit, "pgfolio_wrong")
    expect(visit.page.get_by_role("alert")).to_contain_text("This key opens nothing here")
    expect(visit.page.locator("#q")).to_have_count(0)


def test_a_key_revoked_in_the_middle_ends_the_visit(visit: Watched, guarded: Guarded) -> None:
    key = make_key(guarded.conninfo)
    visit.page.wait_for_timeout(700)  # keys are read anew twice a second
    sign_in(visit, key)
    expect(visit.page.locator("#q")).to_be_visible()
    with connect(guarded.conninfo) as connection:
        connection.execute("update api_keys set revoked_at = now() where id = (select max(id) from api_keys)")
    visit.page.wait_for_timeout(1200)
    visit.ask("How long is sourdough bread baked?")
    expect(visit.page.get_by_label("API key")).to_be_visible()


def test_a_limited_key_sees_its_collection_alone(visit: Watched, guarded: Guarded) -> None:
    visit.expected.append("404")
    sign_in(visit, guarded.limited)
    page = visit.page
    expect(
        page.get_by_text("2 documents in 1 collection.").or_(page.get_by_text("1 document in 1 collection."))
    ).to_be_visible()
    visit.ask("How is a failed task retried?")
    expect(page.locator(".passage").first).to_be_visible()
    assert set(page.locator(".passage .path").all_inner_texts()) == {"bread.md"}
    expect(page.get_by_role("link", name="Keys")).to_have_count(0)
    expect(visit.open("/d/2").get_by_role("heading", level=1)).to_have_text("This document is not here")
    expect(visit.open("/sources").locator("main")).not_to_contain_text("manual")


def test_an_administrator_makes_and_revokes_keys(visit: Watched, guarded: Guarded) -> None:
    sign_in(visit, guarded.admin)
    page = visit.page
    page.get_by_role("link", name="Keys").click()
    page.get_by_label("Name").fill("reader of bread")
    page.get_by_label("Collections, if not all").fill("kitchen")
    page.get_by_role("button", name="Make it").click()
    secret = page.locator(".secret").inner_text()
    assert len(secret) > 20
    row = page.get_by_role("row", name=re.compile("reader of bread"))
    expect(row).to_contain_text("kitchen")
    row.get_by_role("button", name="Revoke").click()
    expect(row).to_contain_text("revoked")


def test_without_keys_nobody_signs_in(
    opened: Callable[..., AbstractContextManager[Watched]], served: str
) -> None:
    with opened(served) as watched:
        page = watched.open("/")
        expect(page.locator("#q")).to_be_visible()
        expect(page.get_by_role("button", name="Sign out")).to_have_count(0)


VIEWS = [
    "/",
    "/?q=How+is+a+failed+task+retried",
    "/?q=bread&mode=search",
    "/d/1?start=0&end=40",
    "/sources",
    "/access",
]


@pytest.mark.long
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_rules_of_accessibility_hold(
    guarded: Guarded, opened: Callable[..., AbstractContextManager[Watched]], scheme: str
) -> None:
    with opened(guarded.url, color_scheme=scheme) as watched:
        page = watched.open("/")
        expect(page.get_by_label("API key")).to_be_visible()
        violations = {"sign in": _violations(page)}
        sign_in(watched, guarded.admin)
        expect(page.locator("#q")).to_be_visible()
        for path in VIEWS:
            watched.open(path)
            expect(page.get_by_role("heading", level=1)).to_have_count(1)
            page.wait_for_load_state("networkidle")
            violations[path] = _violations(page)
        watched.open("/?q=bread&mode=search").get_by_role("link", name="why these").click()
        expect(page.locator("table")).to_be_visible()
        violations["trace"] = _violations(page)
    assert {place: found for place, found in violations.items() if found} == {}


def _violations(page: object) -> list[str]:
    found = Axe().run(page).response["violations"]
    return [f"{one['id']}: {[node['html'][:120] for node in one['nodes']][:3]}" for one in found]
