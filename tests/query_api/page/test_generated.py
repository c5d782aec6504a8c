"""Answers that a chat model writes, as they come: slow, stopped, refused, failing."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.fakes.openai_server import KEY, REFUSAL, FakeOpenAI, FaultScenario
from tests.query_api.library import running_api, stock
from tests.query_api.page.documents import DOCUMENTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from pgfolio.config.settings import Settings
    from tests.query_api.page.conftest import Watched

QUESTION = "How is a failed task retried?"
SAYS = (
    "Set `retries` on the **decorator** [1].\n\n- wait between them [1]\n\n```python\n@task(retries=2)\n```"
)


@pytest.fixture
def visit(
    conninfo: str,
    new_settings: Callable[..., Settings],
    openai_server: FakeOpenAI,
    opened: Callable[..., AbstractContextManager[Watched]],
) -> Iterator[Watched]:
    openai_server.says = SAYS
    settings = new_settings(
        database_url=conninfo, openai_api_key=KEY, openai_base_url=openai_server.url,
        chat={"model": "gpt-4o-mini"}, api={"log": "off"},
    )  # fmt: skip
    stock(conninfo, settings, DOCUMENTS)
    with running_api(settings, conninfo) as client, opened(str(client.base_url)) as watched:
        watched.open("/")
        yield watched


def test_a_written_answer_has_form_and_citations(visit: Watched) -> None:
    page = visit.ask(QUESTION)
    answer = page.locator(".answer")
    expect(answer.locator("strong").first).to_have_text("decorator")
    expect(answer.locator("pre")).to_have_text("@task(retries=2)")
    expect(answer.locator("ul:not(.citations) li").first).to_contain_text("wait between them")
    expect(answer.locator("a.cite").first).to_be_visible()
    expect(answer).to_contain_text("Written by gpt-4o-mini from the documents")


def test_a_slow_answer_is_shown_as_it_comes_and_can_be_stopped(
    visit: Watched, openai_server: FakeOpenAI
) -> None:
    openai_server.says = "word " * 200
    openai_server.fault_scenario = FaultScenario(token_delay=0.2, only="chat")
    page = visit.ask(QUESTION)
    expect(page.locator(".answer p").first).to_contain_text("word word")
    expect(page.locator(".answer")).to_have_attribute("aria-busy", "true")
    began = time.monotonic()
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_text("Stopped.")).to_be_visible()
    assert time.monotonic() - began < 3
    openai_server.fault_scenario = None
    openai_server.says = SAYS
    visit.ask(QUESTION)
    expect(page.locator(".turn").last.locator("a.cite").first).to_be_visible()


def test_escape_stops_too(visit: Watched, openai_server: FakeOpenAI) -> None:
    openai_server.fault_scenario = FaultScenario(delay=5, only="chat")
    page = visit.ask(QUESTION)
    expect(page.get_by_role("button", name="Stop")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_text("Stopped.")).to_be_visible()


def test_a_model_that_finds_no_answer_is_believed(visit: Watched, openai_server: FakeOpenAI) -> None:
    openai_server.says = REFUSAL
    page = visit.ask(QUESTION)
    expect(page.locator(".answer")).to_contain_text("Nothing in the documents answers this question.")


def test_a_model_that_fails_is_a_sentence_and_the_passages_are_there(
    visit: Watched, openai_server: FakeOpenAI
) -> None:
    visit.expected += ["502", "503", "500"]
    openai_server.fault_scenario = FaultScenario(status=500, only="chat")
    page = visit.ask(QUESTION)
    expect(page.get_by_role("alert").first).to_be_visible()
    expect(page.locator(".passage").first).to_be_visible()
