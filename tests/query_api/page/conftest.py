"""A real browser over a real server. Every page that a test opens is watched: what its console says, what its policy
refused, what it asked of elsewhere."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect, sync_playwright

from tests.query_api.library import running_api, stock
from tests.query_api.page.documents import DOCUMENTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from playwright.sync_api import Browser, ConsoleMessage, Page

    from pgfolio.config.settings import Settings

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
WATCH_POLICY = """
addEventListener("securitypolicyviolation", (violation) =>
  console.error(`policy refused ${violation.blockedURI} by ${violation.violatedDirective}`));
"""


@dataclass
class Watched:
    """A page with what went wrong in it. `expected`: parts of console lines that a test provokes."""

    page: Page
    url: str
    errors: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)

    def open(self, path: str = "/") -> Page:
        self.page.goto(self.url + path)
        return self.page

    def ask(self, question: str, *, key: str = "Enter") -> Page:
        box = self.page.locator("#q")
        box.fill(question)
        box.press(key)
        return self.page

    def unexpected(self) -> list[str]:
        return [error for error in self.errors if not any(part in error for part in self.expected)]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """For a module: as long as Playwright is there, its event loop runs in this thread, and nobody else's can."""
    if CHROMIUM is None:
        pytest.skip("there is no Chromium here: `apt-get install chromium`")
    expect.set_options(timeout=20_000)  # other tests run beside
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield started
        started.close()


@pytest.fixture
def opened(browser: Browser) -> Iterator[Callable[..., AbstractContextManager[Watched]]]:
    """Opens pages of a server, each in a profile of its own; none may have gone wrong in the end."""
    every: list[Watched] = []

    @contextmanager
    def open_page(url: str, **options: Any) -> Iterator[Watched]:
        context = browser.new_context(**{"locale": "en-GB", "timezone_id": "UTC", **options})
        context.add_init_script(WATCH_POLICY)
        page = context.new_page()
        page.set_default_timeout(20_000)
        watched = Watched(page, url)
        every.append(watched)

        def said(message: ConsoleMessage) -> None:
            if message.type == "error":
                watched.errors.append(f"{message.text} {message.location.get('url', '')}")

        def asked_of(request: Any) -> None:
            if urlsplit(request.url).netloc != urlsplit(url).netloc:
                watched.foreign.append(request.url)

        page.on("console", said)
        page.on("pageerror", lambda error: watched.errors.append(str(error)))
        page.on("request", asked_of)
        try:
            yield watched
        finally:
            context.close()

    yield open_page
    assert [error for watched in every for error in watched.unexpected()] == []
    assert [address for watched in every for address in watched.foreign] == []


@pytest.fixture(scope="module")
def served(
    new_database: Callable[[], AbstractContextManager[str]], new_settings: Callable[..., Settings]
) -> Iterator[str]:
    """The address of a server without keys that has the documents."""
    with new_database() as conninfo:
        settings = new_settings(database_url=conninfo, api={"log": "off"})
        stock(conninfo, settings, DOCUMENTS)
        with running_api(settings, conninfo) as client:
            yield str(client.base_url)


@pytest.fixture
def visit(served: str, opened: Callable[..., AbstractContextManager[Watched]]) -> Iterator[Watched]:
    with opened(served) as watched:
        yield watched
