"""What is read out of a PDF: every word, page by page, with its headings, columns, tables and code."""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgfolio.flows.extraction import pdf
from pgfolio.flows.extraction.extract import extract
from pgfolio.flows.extraction.pdf_layout import markdown_pages
from pgfolio.flows.extraction.pdf_line import Line, Page
from pgfolio.schema import markdown
from tests.bench import pages as bench
from tests.flows.extraction.pdf_file import HEIGHT, WIDTH, Written, at, down

if TYPE_CHECKING:
    from pathlib import Path

PROSE = [
    "The harbour depot keeps its ropes in the long shed behind the",
    "eastern gate, where a keeper counts them each week and writes the",
    "number into a ledger that is read by nobody but the auditor.",
]


def text_of(*contents: str) -> str:
    return extract("a.pdf", Written(list(contents)).data()).text


def headings(text: str) -> list[tuple[int, str]]:
    return [(heading.level, heading.text) for heading in markdown.headings(text, markdown.code_blocks(text))]


def on_pages(*contents: str) -> list[str]:
    """Each page's part of the text."""
    made = extract("a.pdf", Written(list(contents)).data())
    assert len(made.pages) == len(contents)
    ends = [*made.pages[1:], len(made.text)]
    return [made.text[start:end].strip() for start, end in zip(made.pages, ends, strict=True)]


@pytest.mark.parametrize("y", [HEIGHT - 10, HEIGHT - 30, 30, 4])
def test_a_line_at_the_edge_of_a_page_is_text(y: float) -> None:
    assert "Total to pay 42.10 EUR" in text_of(at(72, y, "Total to pay 42.10 EUR") + down(PROSE))


def test_what_repeats_from_page_to_page_stands_where_it_stands_first() -> None:
    contents = [
        at(72, 780, "Depot Report for Members")
        + at(72, 20, f"Depot of Harlow, sheet {number} of 9")
        + at(500, 20, str(number))
        + down([f"Shed {number} was painted.", *PROSE])
        for number in range(3, 8)
    ]
    first, *others = on_pages(*contents)
    assert first.startswith("Depot Report for Members")
    assert "sheet 3 of 9" in first
    assert [page.split(".")[0] for page in others] == [f"Shed {number} was painted" for number in range(4, 8)]
    assert [page for page in others if "Report" in page or "sheet" in page] == []


@pytest.mark.parametrize(
    "numbers", [("ii", "iii", "iv", "v"), ("1", "2", "3", "4"), ("9 / 12", "10 / 12", "11 / 12", "12 / 12")]
)
def test_a_bare_page_number_is_none_of_the_text(numbers: tuple[str, ...]) -> None:
    pages = on_pages(*(down(PROSE) + at(300, 20, number) for number in numbers))
    assert {page.split()[-1] for page in pages} == {"auditor."}


@pytest.mark.parametrize("word", ["Lesson", "Step"])
def test_a_title_that_counts_with_the_pages_is_text(word: str) -> None:
    pages = on_pages(*(at(72, 770, f"{word} {number}", size=20) + down(PROSE) for number in range(1, 5)))
    assert [page.split("\n")[0].strip("# ") for page in pages] == [
        f"{word} {number}" for number in range(1, 5)
    ]


@pytest.mark.parametrize("numbers", [(1998, 2011, 2024, 2031), (7, 7, 9, 12)])
def test_a_number_at_the_edge_that_does_not_count_the_pages_is_text(numbers: tuple[int, ...]) -> None:
    pages = on_pages(*(at(72, 780, str(number)) + down(PROSE) for number in numbers))
    assert [page.split()[0] for page in pages] == [str(number) for number in numbers]


def test_what_repeats_on_pages_far_apart_is_text() -> None:
    contents = [
        (at(72, 780, "from harbour import ropes") if n % 4 == 0 else "") + down(PROSE) for n in range(12)
    ]
    assert text_of(*contents).count("from harbour import ropes") == 3


def test_a_page_has_its_own_sentence_whatever_repeats_around_it() -> None:
    own = [f"Gate {word} was found stuck and was freed." for word in ("north", "south", "east", "west")]
    notice = ["This report is for the staff of the depot.", "Do not pass it on."]
    pages = on_pages(*(down([notice[0], sentence, notice[1]], y=790) for sentence in own))
    assert [page for page, sentence in zip(pages, own, strict=True) if sentence not in page] == []


@pytest.mark.parametrize("line", ["2024", "Page layout is set in the menu.", "12 / 40", "- 7 -", "Page 3"])
def test_a_line_that_looks_like_a_page_number_is_text(line: str) -> None:
    assert line in text_of(down([*PROSE, "", "", line, "", "", *PROSE]))


def test_pages_begin_where_their_text_begins_though_a_heading_stands_again_much_later() -> None:
    title = "Report of Independent Registered Public Accounting Firm"
    contents = [
        down([title if number in (2, 9) else f"Part {number}", *PROSE, f"End of page {number}."])
        for number in range(10)
    ]
    pages = on_pages(*contents)
    assert [page.rsplit("\n", 1)[-1][-14:].strip() for page in pages] == [
        f"End of page {n}."[-14:].strip() for n in range(10)
    ]


def test_a_page_without_text_begins_where_the_next_one_does() -> None:
    made = extract("a.pdf", Written([down(["One."]), "", "", down(["Four."])]).data())
    assert made.pages == (0, 6, 6, 6)
    assert made.text == "One.\n\nFour.\n"


def test_columns_that_were_written_row_by_row_are_read_one_after_the_other() -> None:
    left = [f"Left {number:02} tells of the ropes in sheds" for number in range(20)]
    right = [f"Right {number:02} tells of nets and of boats" for number in range(20)]
    rows = [
        at(40, 700 - 14 * n, one) + at(320, 700 - 14 * n, other)
        for n, (one, other) in enumerate(zip(left, right, strict=True))
    ]
    title = at(100, 750, "A title that stands across both of the columns of this page", size=16)
    words = " ".join(text_of(title, "\n".join(rows)).split())
    assert words.endswith(" ".join([*left, *right]))


def test_columns_of_numbers_are_a_table() -> None:
    rows = [
        (f"Arrests of kind {n:02}", *(f"{n * k:,}.5" for k in (71, 402, 633, 8040, 97))) for n in range(1, 21)
    ]
    cells = (
        at(40 + 90 * c, 700 - 14 * n, text, size=9)
        for n, row in enumerate(rows)
        for c, text in enumerate(row)
    )
    assert [line for line in text_of("\n".join(cells)).split("\n") if "kind 07" in line] == [
        "| " + " | ".join(rows[6]) + " |"
    ]


def test_columns_that_were_written_one_after_the_other_are_left_so() -> None:
    left, right = (
        down([f"Left {n:02} tells of ropes" for n in range(20)]),
        [f"Right {n:02} of boats" for n in range(20)],
    )
    text = text_of(left + down(right, x=320))
    assert text.index("Left 19") < text.index("Right 00")


def test_a_heading_is_known_by_its_size_or_by_bold_type() -> None:
    content = at(72, 760, "Ropes and nets", size=20) + at(72, 730, "Their care", bold=True)
    prose = PROSE * 4
    assert headings(text_of(content + down(prose), down(prose))) == [(1, "Ropes and nets"), (2, "Their care")]


def test_a_bookmark_tells_a_heading_that_is_set_like_any_line() -> None:
    contents = [at(72, 760, f"{n + 1}. The {name}") + down(PROSE) for n, name in enumerate(("Shed", "Gate"))]
    made = extract("a.pdf", Written(contents, [("The Shed", 0), ("The Gate", 1)]).data())
    assert headings(made.text) == [(1, "1. The Shed"), (1, "2. The Gate")]


ROWS = [
    ("Rope", "Metres", "Price"),
    ("Hemp", "120", "1,340.50"),
    ("Sisal | red", "80", "912.00"),
    ("Wire", "9", "77.25"),
]


def test_cells_that_stand_below_each_other_are_a_table() -> None:
    cells = (at(x, 600 - 16 * n, row[c]) for n, row in enumerate(ROWS) for c, x in enumerate((72, 240, 400)))
    assert text_of(down(PROSE) + "\n".join(cells)).endswith(
        "| Rope | Metres | Price |\n| --- | --- | --- |\n| Hemp | 120 | 1,340.50 |\n"
        "| Sisal \\| red | 80 | 912.00 |\n| Wire | 9 | 77.25 |\n"
    )


@pytest.mark.parametrize(
    "lines",
    [
        ["Values are in millimetres.", "The gate was stuck.", "Report faults at once."],
        ["Dear members,", "the depot is closed on Monday.", "Yours, the keeper"],
        ["One rope.", "Two ropes.", "Three ropes."],
    ],
)
def test_lines_of_prose_are_no_table(lines: list[str]) -> None:
    text = text_of(down(lines))
    assert "|" not in text
    assert " ".join(text.split()) == " ".join(lines)


def test_a_word_that_a_lines_end_parts_is_one_word() -> None:
    lines = [
        "The keeper found the ropes in a good condi-",
        "tion, as the well-known auditor had said; the well-",
        "known one.",
    ]
    words = " ".join(text_of(down(lines)).split())
    assert "good condition, as" in words
    assert "the well-known one." in words


def test_lines_of_a_script_without_spaces_are_joined_without_them() -> None:
    line = "\u6d41\u4f53\u529b\u5b66" * 8
    lines = [Line(line, 0, 300, 700 - 14 * n, 11) for n in range(3)]
    assert markdown_pages([Page(lines, (0, 0, 600, 800))], []) == [line * 3]


def test_code_keeps_its_lines_and_a_comment_is_no_heading() -> None:
    code = ["def ropes():", "    # count them", "    return 3"]
    lines = "\n".join(
        at(72 + 6.6 * 4 * (n > 0), 600 - 12 * n, line.strip(), code=True) for n, line in enumerate(code)
    )
    text = text_of(down(PROSE) + lines)
    assert text.endswith("```\ndef ropes():\n    # count them\n    return 3\n```\n")
    assert headings(text) == []


def test_a_typewritten_page_is_prose() -> None:
    lines = "\n".join(at(72, 700 - 12 * n, line, code=True) for n, line in enumerate(PROSE))
    assert "```" not in text_of(lines)


def test_a_line_that_begins_like_a_heading_is_none() -> None:
    text = text_of(down(["# 12 Harbour Road", "", "", "--------", "", "", "~~~", "", "", *PROSE]))
    assert headings(text) == []
    assert "12 Harbour Road" in text


def test_text_that_runs_up_the_page_is_text() -> None:
    assert "arXiv:2401.01234v2" in text_of(
        down(PROSE) + "BT /F1 18 Tf 0 1 -1 0 30 200 Tm (arXiv:2401.01234v2 [cs.CL] 9 Jan 2024) Tj ET"
    )


def test_what_is_filled_into_a_form_is_text() -> None:
    assert "Ada Lovelace" in extract("a.pdf", Written([down(["Name:"])], filled="Ada Lovelace").data()).text


def test_a_pdf_tells_its_title_author_and_time() -> None:
    info = "/Title(Ropes)/Author(Ada)/CreationDate(D:20191104140525+03'00')"
    made = extract("a.pdf", Written([down(PROSE)], info=info).data())
    assert (made.title, made.owner, made.metadata["page_count"]) == ("Ropes", "Ada", 1)
    assert made.created_at is not None
    assert made.created_at.isoformat() == "2019-11-04T11:05:25+00:00"


@pytest.mark.parametrize("date", ["D:20201399", "D:99999999999999+99'99'", "yesterday", ""])
def test_a_date_that_no_calendar_has_is_none(date: str) -> None:
    assert extract("a.pdf", Written([down(PROSE)], info=f"/CreationDate({date})").data()).created_at is None


WORDS = st.text("ab1.|#`-~=\u2022", min_size=1, max_size=6)
LINES = st.builds(
    Line,
    st.lists(WORDS, min_size=1, max_size=4).map(" ".join),
    left=st.sampled_from([72.0, 90.0]),
    right=st.sampled_from([200.0, 500.0]),
    baseline=st.integers(100, 700).map(float),
    size=st.sampled_from([0.0, 9.0, 11.0, 18.0]),
    bold=st.booleans(),
    mono=st.booleans(),
    turn=st.sampled_from([0, 0, 0, 1]),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(LINES, max_size=12))
def test_no_word_of_a_page_is_lost(lines: list[Line]) -> None:
    [text] = markdown_pages([Page(lines, (0, 0, 600, 800))], [])
    written = "".join(line.text for line in lines)
    assert Counter(filter(str.isalnum, text)) == Counter(filter(str.isalnum, written))


SCAN = f"q {WIDTH} 0 0 {HEIGHT} 0 0 cm /Im Do Q"


def test_a_scanned_page_between_others_is_read_by_tesseract(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "tesseract"
    program.write_text('#!/bin/sh\nhead -c 2\necho " was scanned"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert on_pages(down(["One."]), SCAN, "", down(["Four."])) == ["One.", "P5 was scanned", "", "Four."]
    assert on_pages(SCAN, SCAN) == ["P5 was scanned", "P5 was scanned"]


def test_a_page_that_is_a_picture_alone_is_known() -> None:
    assert pdf.read(Written([down(["One."]), SCAN, ""]).data()).scans == [1]


def test_another_look_at_the_words_sees_a_sample_of_the_pages() -> None:
    contents = [
        at(72, 780, "Depot Report")
        + at(72, 20, f"Sheet {n}")
        + down([f"Shed number {n} has a par-", "ted word."])
        for n in range(45)
    ]
    text = pdf.independent_text(Written(contents).data())
    assert (text.count("Shed number"), text.count("parted"), text.count("Depot Report")) == (20, 20, 1)


def test_the_bench_tells_a_wrong_page() -> None:
    pages = [" ".join(f"word{n}x{i}" for i in range(40)) for n in range(1, 5)]
    right = bench.count([(page, number) for number, page in enumerate(pages, 1)], pages)
    assert (right.single, right.right, right.far_off, right.passed) == (4, 4, 0, True)
    wrong = bench.count([(page, min(number, 2)) for number, page in enumerate(pages, 1)], pages)
    assert (wrong.single, wrong.right, wrong.far_off, wrong.passed) == (4, 2, 1, False)


def test_pages_that_are_pictures_are_told_where_nothing_reads_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    made = extract("a.pdf", Written([down(["One."]), SCAN]).data())
    assert (
        made.incomplete
        == "a page is a picture, which needs OCR: pip install 'pgfolio[ocr]', or install Tesseract"
    )
    assert extract("a.pdf", Written([down(["One."]), ""]).data()).incomplete == ""
