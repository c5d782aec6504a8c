"""What is quoted: what a question expects, what holds it, and the fact that stands beside the question's echo."""

from __future__ import annotations

import pytest

from pgfolio.query_api.answering.citations import Quote
from pgfolio.query_api.answering.expected import expected_answer
from pgfolio.query_api.answering.facts import defines, holds
from pgfolio.query_api.answering.quotable import quotable
from pgfolio.query_api.answering.quoting import written
from pgfolio.query_api.answering.ranking import (
    ABOUT_BY_DOCUMENT,
    Evidence,
    PassageCandidate,
    about,
    best_passages,
)
from pgfolio.query_api.answering.sentences import QuotablePassage
from pgfolio.query_api.answering.similarity import SoftCoverage
from pgfolio.query_api.answering.structured import cells_in_words


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("How many cores were drilled?", "number"),
        ("What did the company pay for the ships?", "money"),
        ("What was the revenue in 2022?", "money"),
        ("How long are events stored?", "measure"),
        ("When did the voyage begin?", "date"),
        ("In which version was completion added?", "date"),
        ("Where is the beaver study carried out?", "place"),
        ("Who led Debian in 2009?", "person"),
        ("How do I remove a variable?", "how_to"),
        ("Which environment variable changes the port?", "how_to"),
        ("What are the install policies?", "list"),
        ("What is a worker?", "definition"),
        ("What does RRULE stand for?", "definition"),
        ("Is persistence enabled by default?", "yes_no"),
        ("Is it red or green?", "other"),
        ("Wann wurde die Brücke gebaut?", "date"),
        ("Сколько стоит билет?", "money"),
    ],
)
def test_a_question_expects_a_kind_of_answer(question: str, expected: str) -> None:
    assert expected_answer(question).type == expected


def test_a_question_names_what_its_answer_must_be_about() -> None:
    asked = expected_answer(
        "What did Maria Lopez say of wait_fixed in v3.2.0 in FY2021, err-1042 and `--limit`?"
    )
    assert (asked.years, asked.versions) == (frozenset({"2021"}), frozenset({"3.2.0"}))
    assert {"wait_fixed", "err-1042"} <= set(asked.codes)
    assert {"maria", "lopez", "wait_fixed", "--limit"} <= set(asked.names)


@pytest.mark.parametrize(
    ("question", "text", "answers"),
    [
        ("How many guns did she carry?", "She carried 64 bronze cannon.", True),
        ("How many guns did she carry?", "The guns that she carried were of bronze.", False),
        ("How many of the 64 guns were raised?", "All of the 64 guns were of bronze.", False),
        ("What did it cost?", "The price was NOK 46 million.", True),
        ("What did it cost?", "It was sold in May 2022.", False),
        ("When was it founded?", "It was set up in 1974 by the state.", True),
        ("When was it founded?", "It was set up by three counties.", False),
        ("Who runs the office?", "Agnieszka Wrona has led it since May.", True),
        ("Who runs the office?", "The office is led well.", False),
        ("How do I reset it?", "prefect server database reset -y", True),
        ("How long is it stored?", "It is stored for 7 days.", True),
    ],
)
def test_a_fact_of_the_kind_is_one_that_the_question_has_not(
    question: str, text: str, *, answers: bool
) -> None:
    assert holds(expected_answer(question).type, text, question) is answers


@pytest.mark.parametrize(
    "text", ["A worker is a service.", "**Worker**: polls a pool.", "Workers are services."]
)
def test_a_definition_begins_with_what_it_defines(text: str) -> None:
    assert defines(text, "worker")
    assert not defines(f"With a {text.casefold()}", "service")


CHUNK = """## Key figures

Table 1. In NOK million

| Item | 2022 | 2021 |
| --- | --- | --- |
| Revenue | 3,776 | 3,412 |

The Vasa was a warship. She carried 64 guns.

You can set these ports:

- `WEB_PORT`: of the page
- `API_PORT`: of the API

```bash
# removes everything
prefect server database reset
```
"""


def test_rows_items_lines_and_sentences_know_what_they_are_about() -> None:
    found = {each.text: each for each in quotable("report.md", CHUNK, None)}
    row = found["| Revenue | 3,776 | 3,412 |"]
    assert (row.shape, row.context) == ("row", ("Table 1. In NOK million", "| Item | 2022 | 2021 |"))
    assert found["She carried 64 guns."].context == ("Key figures", "The Vasa was a warship.")
    assert found["prefect server database reset"].context[-1] == "# removes everything"
    assert all(CHUNK[each.start : each.end] == each.text for each in found.values())


def test_of_a_row_the_cell_that_is_asked_for_is_said_with_its_head() -> None:
    row = next(each for each in quotable("report.md", CHUNK, None) if each.shape == "row")
    assert cells_in_words("What was the revenue in 2021?", row) == "Revenue, 2021: 3,412"
    assert cells_in_words("What was the revenue?", row) == "Revenue, 2022: 3,776; 2021: 3,412"


def test_what_two_documents_say_alike_is_said_once_with_both_markers_and_the_tables_title() -> None:
    row = next(each for each in quotable("report.md", CHUNK, None) if each.shape == "row")
    text = written("What was the revenue in 2021?", [Quote(1, 0, row), Quote(2, 1, row)])
    assert text == "Revenue, 2021: 3,412 (Table 1. In NOK million) [1][2]"


def candidate(text: str, *context: str) -> PassageCandidate:
    passage = QuotablePassage(0, text, context=context)
    return PassageCandidate(0, passage, words(text), words(" ".join(context)))


def words(text: str) -> frozenset[str]:
    return frozenset(word.strip(".,?|").casefold() for word in text.split())


def evidence(*texts: str, header: str = "Annual report 2022") -> Evidence:
    chunk = f"{header}\n" + " ".join(texts)
    before = ("", *texts)
    found = [candidate(text, previous) for previous, text in zip(before, texts, strict=False)]
    idf = {frozenset({word}): 3.0 for word in ("vasa", "guns", "carry", "revenue", "rose")}
    return Evidence(idf, [header], [(chunk, words(chunk))], [1], found)


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("In 2022 revenue was 5 million.", 1.0),
        ("In 2021 revenue was 4 million.", 0.0),
        ("Revenue was 5 million.", ABOUT_BY_DOCUMENT),
    ],
)
def test_another_year_is_no_answer(text: str, share: float) -> None:
    asked = expected_answer("What was the revenue in 2022?")
    assert about(asked, candidate(text), evidence(text)) == share
    assert about(expected_answer("What was the revenue in 2019?"), candidate(text), evidence(text)) == 0


def test_the_sentence_after_the_echo_answers() -> None:
    found = evidence("The Vasa could carry many guns.", "There were 64 of bronze.")
    question = "How many guns did the Vasa carry?"
    best = best_passages(question, expected_answer(question), found, 0.0)
    assert best.passages[0].passage.text == "There were 64 of bronze."


def test_related_words_count_for_a_part() -> None:
    idf = {frozenset({"rain"}): 2.0, frozenset({"bridg"}): 2.0}
    coverage = SoftCoverage("rain on the bridge", idf, ["rainfall", "a bridge", "printing"])
    assert coverage.of("a bridge", frozenset({"bridg"})) >= 0.5
    assert 0 < coverage.of("rainfall", frozenset({"rainfal"})) < 0.5
    assert coverage.of("printing", frozenset({"print"})) == 0


def test_the_year_in_a_title_contradicts_nothing() -> None:
    """As in the foot of each page of two reports."""
    feet = [f"Institute for soil, yearly report {year}." for year in (2022, 2023)]
    headers = [f"Institute\nyearly-report-{year}.pdf" for year in (2022, 2023)]
    found = [
        PassageCandidate(i, QuotablePassage(0, text), words(text), words("")) for i, text in enumerate(feet)
    ]
    chunks = [(f"{header}\n{text}", words(text)) for header, text in zip(headers, feet, strict=True)]
    question = "In which year was the institute founded?"
    given = Evidence({frozenset({"institute"}): 1.0}, headers, chunks, [1, 2], found)
    assert not best_passages(question, expected_answer(question), given, 0.0).contradictory
    untitled = Evidence({frozenset({"institute"}): 1.0}, ["Institute", "Institute"], chunks, [1, 2], found)
    assert best_passages(question, expected_answer(question), untitled, 0.0).contradictory
