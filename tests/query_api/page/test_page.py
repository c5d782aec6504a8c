"""What a person does with the page, in a browser: asks, follows citations, reads, filters, goes on asking."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from tests.query_api.page.conftest import Watched

RETRY = "How is a failed task retried?"
VIEWS = ["/", f"/?q={RETRY.replace(' ', '+')}", "/?q=bread&mode=search", "/d/1", "/sources", "/nowhere"]


def test_the_first_visit_says_what_there_is_and_waits_for_a_question(visit: Watched) -> None:
    page = visit.open()
    expect(page.get_by_role("heading", level=1)).to_have_text("What would you like to know?")
    expect(page.get_by_text(re.compile(r"\d+ documents in \d+ collections"))).to_be_visible()
    expect(page.locator("#q")).to_be_focused()


def test_a_question_is_answered_with_citations_and_passages(visit: Watched) -> None:
    visit.open()
    page = visit.ask(RETRY)
    expect(page.locator(".answer p").first).to_contain_text("retries")
    expect(page.locator("a.cite").first).to_have_text("1")
    expect(page.locator(".citations li").first).to_contain_text("guides/retries.md")
    expect(page.locator(".passage mark").first).to_be_visible()
    assert page.locator(".passage").count() >= 3
    assert "q=How+is+a+failed" in page.url


def test_a_citation_leads_to_its_quote_in_the_document(visit: Watched) -> None:
    visit.open()
    page = visit.ask(RETRY)
    quote = page.locator(".citations blockquote").first.inner_text()
    page.locator("a.cite").first.click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Retrying failed tasks")
    expect(page.locator(".text mark")).to_have_text(quote)
    expect(page.locator(".text mark")).to_be_in_viewport()


def test_a_passage_leads_to_its_place(visit: Watched) -> None:
    visit.open("/?q=sourdough+starter&mode=search")
    visit.page.locator(".passage h4 a").first.click()
    expect(visit.page.locator(".text mark").first).to_contain_text("Sourdough")


def test_back_comes_back_to_the_question(visit: Watched) -> None:
    visit.open()
    page = visit.ask(RETRY)
    page.locator("a.cite").first.click()
    expect(page.locator(".text")).to_be_visible()
    page.go_back()
    expect(page.locator(".asked")).to_have_text(RETRY)
    expect(page.locator("a.cite").first).to_be_visible()


def test_an_address_with_a_question_asks_it(visit: Watched) -> None:
    page = visit.open("/?q=How+long+is+sourdough+bread+baked%3F")
    expect(page.locator(".answer")).to_contain_text("forty minutes")


def test_what_no_document_answers_is_said_with_what_comes_nearest(visit: Watched) -> None:
    visit.open()
    page = visit.ask("Who won the football championship of Bavaria in 1983?")
    expect(page.locator(".answer")).to_contain_text("Nothing in the documents answers this question.")
    expect(page.locator(".answer")).to_contain_text("What comes nearest is below.")


def test_a_question_about_the_documents_is_answered_from_the_catalog(visit: Watched) -> None:
    visit.open()
    page = visit.ask("What documents do you have about the revenue of the mill?")
    expect(page.locator(".answer")).to_contain_text("From the catalog: there are 2 documents")
    expect(page.locator(".note").first).to_contain_text("catalog")


def test_a_conversation_goes_on(visit: Watched) -> None:
    visit.open()
    visit.ask("What was the revenue of the mill in 2021?")
    expect(visit.page.locator(".answer").first).to_contain_text("41 million crowns")
    page = visit.ask("and in 2022?")
    expect(page.locator(".turn")).to_have_count(2)
    expect(page.locator(".turn").last).to_contain_text(
        "Understood as: What was the revenue of the mill in 2022?"
    )
    expect(page.locator(".turn").last.locator(".answer")).to_contain_text("47 million crowns")


def test_one_key_press_goes_from_search_to_ask(visit: Watched) -> None:
    visit.open("/?q=work+pool&mode=search")
    page = visit.page
    expect(page.locator(".passage").first).to_be_visible()
    expect(page.locator(".answer")).to_have_count(0)
    visit.ask("How do I create a work pool?", key="Control+Enter")
    expect(page.locator(".answer")).to_contain_text("work-pool create")
    expect(page.get_by_role("group", name="What to do").get_by_role("button", name="Ask")).to_have_attribute(
        "aria-pressed", "true"
    )


def test_a_search_is_asked_instead(visit: Watched) -> None:
    visit.open("/?q=How+do+I+create+a+work+pool%3F&mode=search")
    visit.page.get_by_role("button", name="Ask this instead").click()
    expect(visit.page.locator(".answer")).to_contain_text("work-pool create")


def test_search_without_a_result_says_what_to_try(visit: Watched) -> None:
    page = visit.open("/")
    page.route("**/search", lambda route: route.fulfill(json={
        "results": [], "total_returned": 0, "complete": True, "space": "s", "took_ms": 1, "trace_id": "t", "notes": []
    }))  # fmt: skip
    page.get_by_role("button", name="Search").first.click()
    visit.ask("nothing at all")
    expect(page.get_by_text("No passage was found")).to_be_visible()


def test_begin_anew_forgets_the_conversation(visit: Watched) -> None:
    visit.open()
    page = visit.ask(RETRY)
    expect(page.locator("a.cite").first).to_be_visible()
    page.get_by_role("button", name="Begin anew").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("What would you like to know?")
    assert "q=" not in page.url


def test_the_keyboard_is_enough(visit: Watched) -> None:
    page = visit.open("/sources")
    page.keyboard.press("Tab")
    expect(page.get_by_text("Skip to the content")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Ask", exact=True)).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#q")).to_be_focused()
    page.keyboard.type(RETRY)
    page.keyboard.press("Enter")
    expect(page.locator("a.cite").first).to_be_visible()
    page.locator("a.cite").first.focus()
    page.keyboard.press("Enter")
    expect(page.locator(".text mark")).to_be_focused()


def test_a_slash_goes_to_the_question(visit: Watched) -> None:
    page = visit.open("/")
    page.locator("nav a").first.focus()
    page.keyboard.press("/")
    expect(page.locator("#q")).to_be_focused()
    expect(page.locator("#q")).to_have_value("")


def test_shift_enter_makes_a_line(visit: Watched) -> None:
    page = visit.open("/")
    page.locator("#q").fill("one")
    page.locator("#q").press("Shift+Enter")
    expect(page.locator("#q")).to_have_value("one\n")
    expect(page.locator(".turn")).to_have_count(0)


def test_a_trace_shows_how_an_answer_was_found(visit: Watched) -> None:
    visit.open()
    page = visit.ask(RETRY)
    page.get_by_role("link", name="how this was found").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("How this was found")
    expect(page.get_by_role("img", name=re.compile("Ranks of the best"))).to_be_visible()
    assert page.locator("tbody tr.taken").count() >= 3
    expect(page.locator("svg .taken").first).to_be_visible()


def test_why_a_document_is_not_there_is_told(visit: Watched) -> None:
    visit.open("/?q=sourdough&mode=search")
    page = visit.page
    page.get_by_role("link", name="why these").click()
    page.get_by_placeholder("path/of/the/document.md").fill("reports/2021.md")
    page.get_by_role("button", name="Tell me").click()
    expect(page.get_by_role("status")).to_contain_text("reports/2021.md")


def test_places_that_are_not_there_say_so(visit: Watched) -> None:
    visit.expected += ["404"]
    expect(visit.open("/nowhere").locator("body")).to_contain_text("urn:pgfolio:problem:")
    for path, heading in (
        ("/d/99999", "This document is not here"),
        ("/trace/0000", "There is no such trace"),
    ):
        expect(visit.open(path).get_by_role("heading", level=1)).to_have_text(heading)


def test_a_passage_that_is_no_longer_there_is_marked_nowhere(visit: Watched) -> None:
    page = visit.open("/d/1?start=999999&end=1000000")
    expect(page.get_by_role("status")).to_contain_text("Nothing is marked")
    expect(page.locator(".text mark")).to_have_count(0)


def test_a_quote_that_is_not_in_the_text_is_marked_nowhere(visit: Watched) -> None:
    page = visit.open("/d/1?unplaced=1")
    expect(page.get_by_role("status")).to_contain_text("does not stand in this text")
    expect(page.locator(".text mark")).to_have_count(0)


def test_offsets_count_characters_and_not_halves_of_them(visit: Watched) -> None:
    visit.open()
    page = visit.ask("What does the okapi eat?")
    quote = page.locator(".citations blockquote").first.inner_text()
    page.locator("a.cite").first.click()
    expect(page.locator(".text mark")).to_have_text(quote)


def test_a_server_that_is_gone_and_back(visit: Watched) -> None:
    visit.expected += ["ERR_FAILED", "Failed to load resource"]
    page = visit.open("/")
    page.route("**/ask", lambda route: route.abort())
    page.route("**/search", lambda route: route.abort())
    visit.ask(RETRY)
    expect(page.get_by_role("alert").first).to_contain_text("The server cannot be reached")
    page.unroute("**/ask")
    page.unroute("**/search")
    page.get_by_role("button", name="Try again").first.click()
    expect(page.locator("a.cite").first).to_be_visible()


def test_a_problem_of_the_server_is_its_sentence(visit: Watched) -> None:
    visit.expected += ["503"]
    page = visit.open("/")
    problem = {"type": "urn:pgfolio:problem:busy", "title": "Busy", "status": 503, "trace_id": "abc",
               "detail": "too many requests are waiting: come again in 2 s"}  # fmt: skip
    for address in ("**/ask", "**/search"):
        page.route(address, lambda route: route.fulfill(status=503, json=problem))
    visit.ask(RETRY)
    expect(page.get_by_role("alert").first).to_contain_text("too many requests are waiting")
    expect(page.get_by_role("alert").first).to_contain_text("trace abc")


def test_a_stream_that_breaks_off_says_so(visit: Watched) -> None:
    page = visit.open("/")
    body = (
        'event: sources\ndata: []\n\nevent: token\ndata: {"text": "Half an"}\n\n'
        'event: error\ndata: {"detail": "the model failed", "title": "t", "trace_id": "x"}\n\n'
    )
    page.route("**/ask", lambda route: route.fulfill(body=body, content_type="text/event-stream"))
    visit.ask(RETRY)
    expect(page.get_by_role("alert").first).to_contain_text("the model failed")
    expect(page.locator(".answer")).to_contain_text("Half an")


@pytest.mark.parametrize("path", VIEWS[:-1])
def test_nothing_is_wider_than_a_phone(
    served: str, opened: Callable[..., AbstractContextManager[Watched]], path: str
) -> None:
    with opened(served, viewport={"width": 390, "height": 800}) as watched:
        page = watched.open(path)
        page.wait_for_load_state("networkidle")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_numbers_are_written_for_the_reader(
    served: str, opened: Callable[..., AbstractContextManager[Watched]]
) -> None:
    with opened(served, locale="de-DE") as watched:
        page = watched.open("/d/1")
        page.get_by_text("About this document").click()
        expect(page.locator("dl")).to_contain_text("01.01.2026")


@pytest.mark.parametrize(
    ("choices", "paths"),
    [
        ({"Collection": "reports"}, {"reports/2021.md", "reports/2022.md"}),
        ({"Field": "year", "is": "2022"}, {"reports/2022.md"}),
        ({"Field": "category", "is": '"guide"'}, {"guides/retries.md"}),
        ({"Changed from": "2026-06-01"}, set()),
    ],
)
def test_filters_are_those_that_the_documents_have(
    visit: Watched, choices: dict[str, str], paths: set[str]
) -> None:
    page = visit.open("/")
    page.get_by_text("Filters").click()
    for label, value in choices.items():
        field = page.get_by_label(label, exact=True)
        if value.startswith("2026"):
            field.fill(value)
        else:
            field.select_option(value)
    page.get_by_role("group", name="What to do").get_by_role("button", name="Search").click()
    visit.ask("the mill, its revenue, retries of a task")
    expect(page.locator(".results, h3")).not_to_have_count(0)
    expect(page.get_by_role("heading", level=3)).to_be_visible()
    assert set(page.locator(".passage .path").all_inner_texts()) == paths
