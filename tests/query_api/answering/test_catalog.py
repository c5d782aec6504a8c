"""Questions about the documents themselves are answered from the catalog; contradictions are quoted with dates."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from pgfolio.query_api.answering.catalog_question import CatalogQuestion, catalog_question
from pgfolio.query_api.answering.contradictions import contradict
from pgfolio.query_api.answering.expected import expected_answer
from pgfolio.query_api.answering.sentences import QuotablePassage
from pgfolio.schema.database.connect import connect
from tests.query_api.library import PAGES, Page, make_key, running_api, stock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    import httpx

    from pgfolio.config.settings import Settings

REPORTS = tuple(
    Page(
        f"reports/sales-{year}.md",
        f"Sales report {year}",
        {
            "Sales": f"The sales of kettles and teapots rose to {amount} million euros. {boss} led the sales team."
        },
        collection="finance",
    )
    for year, amount, boss in ((2021, 41, "Ann Lee"), (2022, 47, "Bo Katz"), (2023, 52, "Cy Dunn"))
)
KETTLES = Page(
    "notes/kettles.md", "Kettles", {"Kettles": "Sales of kettles depend on the winter."}, "finance"
)
OFFICES = tuple(
    Page(path, title, {"Office": f"The office in Oslo has {desks} desks. {extra}"}, "finance")
    for path, title, desks, extra in (
        ("office/plan.md", "Office plan", 40, "All of them can be raised."),
        ("office/move.md", "Moving the office", 55, "The lease ends in June."),
    )
)
SECRET = Page("secret/report.md", "Secret report", {"Plan": "The zeppelin report is secret."}, "hangar")


@pytest.fixture(scope="module")
def client(
    new_database: Callable[[], AbstractContextManager[str]], new_settings: Callable[..., Settings]
) -> Iterator[tuple[httpx.Client, str]]:
    with new_database() as conninfo:
        settings = new_settings(database_url=conninfo, api={"log": "off"})
        stock(conninfo, settings, (*PAGES, *REPORTS, KETTLES, *OFFICES, SECRET))
        with connect(conninfo) as connection:
            for year in (2021, 2022, 2023):
                connection.execute(
                    "update documents set created_at = %s where path like %s",
                    [datetime(year + 1, 2, 1, tzinfo=UTC), f"%sales-{year}.md"],
                )
        limited = make_key(conninfo, collections=("manual", "kitchen", "finance"))
        with running_api(settings, conninfo) as running:
            yield running, limited


def ask(client: tuple[httpx.Client, str], question: str, **fields: Any) -> dict[str, Any]:
    client[0].headers["Authorization"] = f"Bearer {client[1]}"
    response = client[0].post("/ask", json={"question": question, **fields})
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def from_catalog(answer: dict[str, Any]) -> bool:
    return (
        answer["answered"]
        and answer["answer"].startswith("From the catalog: ")
        and "catalog" in answer["notes"][-1]
    )


@pytest.mark.parametrize(
    ("question", "order", "topic", "kind"),
    [
        ("What documents do you have?", "listed", "", ""),
        ("which files are there about retries?", "listed", "retries", ""),
        ("How many documents are indexed here?", "counted", "", ""),
        ("What is the latest report on the tramway?", "latest", "tramway", "report"),
        ("newest annual reports of ACME", "latest", "ACME", "annual report"),
        ("the oldest policies on leave", "oldest", "leave", "policy"),
        ("do you have any documents about baking?", "listed", "baking", ""),
        ("What's in your library?", "listed", "", ""),
        ("Welche Dokumente gibt es über Brot?", "listed", "Brot", ""),
    ],
)
def test_a_question_about_the_documents_is_understood(
    question: str, order: str, topic: str, kind: str
) -> None:
    understood = catalog_question(question)
    assert understood is not None
    assert (understood.order, understood.topic, understood.kind) == (order, topic, kind)


@pytest.mark.parametrize(
    "question",
    ["What documents do I need for a visa?", "How many pages are there in the report?", "List the settings",
     "What does the latest report on sales say?", "what is the latest version of prefect?", "the oldest trees",
     "Which files does a flow run write?", "how many reports did Halvorsen publish?", "which sources of law exist?",
     "what is the latest document about?", "how many notes are there in an octave?", "x" * 4000, "list " * 800],
)  # fmt: skip
def test_what_documents_say_is_no_question_about_them(question: str) -> None:
    assert catalog_question(question) is None


def test_all_documents_are_counted_and_listed(client: tuple[httpx.Client, str]) -> None:
    counted, listed = (
        ask(client, "How many documents do you have?"),
        ask(client, "What documents do you have?"),
    )
    assert from_catalog(counted)
    assert "10 documents in 3 collections (finance 6, kitchen 1, manual 3)" in counted["answer"]
    assert len(listed["sources"]) == 10
    assert "Secret" not in listed["answer"]


def test_of_a_topic_those_about_it_are_listed(client: tuple[httpx.Client, str]) -> None:
    answer = ask(client, "Which reports do you have on the sales of kettles?")
    assert from_catalog(answer)
    assert len(answer["notes"]) == 1
    assert {source["path"] for source in answer["sources"]} == {page.path for page in REPORTS}
    assert "3 reports about sales of kettles" in answer["answer"]


@pytest.mark.parametrize(("order", "year"), [("latest", 2023), ("oldest", 2021)])
def test_the_latest_is_so_by_its_own_date(client: tuple[httpx.Client, str], order: str, year: int) -> None:
    answer = ask(client, f"What is the {order} report on kettle sales?")
    first = answer["answer"].split("\n\n")[1]
    assert first == f"- Sales report {year} (reports/sales-{year}.md), {year + 1}-02-01"
    assert answer["sources"][0]["path"] == f"reports/sales-{year}.md"


def test_a_filter_and_collections_hold_for_the_catalog_too(client: tuple[httpx.Client, str]) -> None:
    assert "1 document" in ask(client, "what documents are there?", collections=["kitchen"])["answer"]
    few = ask(client, "what documents are there?", filter={"path": {"$like": "office/%"}})
    assert {source["path"] for source in few["sources"]} == {page.path for page in OFFICES}


def test_without_such_documents_what_they_say_may_answer(client: tuple[httpx.Client, str]) -> None:
    answer = ask(client, "What is the latest report on zeppelins?")
    assert "catalog" not in str(answer["notes"])
    assert "secret" not in answer["answer"].casefold()


def test_what_two_documents_contradict_each_other_in_is_quoted_of_both(
    client: tuple[httpx.Client, str],
) -> None:
    answer = ask(client, "How many desks does the office in Oslo have?")
    assert {citation["path"] for citation in answer["citations"]} == {page.path for page in OFFICES}
    assert all(citation["verified"] for citation in answer["citations"])
    assert answer["answer"].count("(file of 2026-01-01)") == 2
    assert "contradict" in answer["notes"][0]


DESKS = "How many desks does the office have?"


@pytest.mark.parametrize(
    ("question", "one", "other", "expected"),
    [
        (DESKS, "The office has 40 desks.", "The office has 55 desks.", True),
        (DESKS, "The office has 1,400 desks.", "The office has 1400 desks.", False),
        (DESKS, "The office has 40 desks.", "There are 55 employees in Oslo.", False),
        (DESKS, "In 2021 the office had 40 desks.", "In 2022 the office had 55 desks.", False),
        (
            "When was the bridge opened?",
            "The bridge was opened in 1901.",
            "The bridge was opened in 1904.",
            True,
        ),
        ("Is COUNT supported?", "COUNT is supported in rules.", "COUNT is not supported in rules.", True),
        ("Is COUNT supported?", "COUNT is supported in rules.", "COUNT is supported in all rules.", False),
    ],
)
def test_other_facts_of_the_same_contradict(question: str, one: str, other: str, expected: bool) -> None:
    passages = QuotablePassage(0, one), QuotablePassage(0, other)
    assert contradict(question, expected_answer(question), *passages) is expected


def test_rows_of_one_table_with_another_cell_contradict() -> None:
    head = ("", "| Station | Height | Opened |")
    one, other = (QuotablePassage(0, f"| Alm | {n} | 1901 |", context=head, shape="row") for n in (900, 910))
    expected = expected_answer("What is the height of Alm?")
    assert contradict("What is the height of Alm?", expected, one, other)
    assert not contradict("When was Alm opened?", expected_answer("When was Alm opened?"), one, other)
    assert CatalogQuestion("listed") == CatalogQuestion("listed", "", "")
