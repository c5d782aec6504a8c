"""OpenDocument texts, slides and sheets."""

from __future__ import annotations

import pytest

from pgfolio.flows.extraction.extract import extract
from tests.flows.extraction.office import odf


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (
            "<text:p>R&amp;D <text:span>a <text:span>nested</text:span> seal</text:span>.</text:p>",
            "R&D a nested seal.",
        ),
        ("<text:p>a<text:tab/>b<text:line-break/>c<text:s text:c='3'/>d</text:p>", "a\tb\nc d"),
        ("<text:h text:outline-level='2'>Plan</text:h>", "## Plan"),
        (
            (
                "<text:list><text:list-item><text:p>one</text:p><text:list><text:list-item><text:p>two</text:p></text:list-item>"
                "</text:list></text:list-item></text:list>"
            ),
            "- one\n  - two",
        ),
        (
            (
                "<table:table><table:table-row><table:table-cell><text:p><text:span>Item</text:span></text:p></table:table-cell>"
                "<table:table-cell><text:p>Price</text:p></table:table-cell></table:table-row></table:table>"
            ),
            "| Item | Price |\n| --- | --- |",
        ),
        (
            (
                "<text:p>a<text:note><text:note-citation>1</text:note-citation><text:note-body><text:p>note</text:p></text:note-body>"
                "</text:note>b</text:p>"
            ),
            "ab\n\nnote",
        ),
        (
            "<text:p>a<office:annotation><dc:creator>Ann</dc:creator><text:p>why?</text:p></office:annotation>b</text:p>",
            "ab\n\nComment by Ann: why?",
        ),
        (
            "<text:p>a<draw:frame><draw:text-box><text:p>box</text:p></draw:text-box></draw:frame>b</text:p>",
            "ab\n\nbox",
        ),
        ("<text:tracked-changes><text:p>gone</text:p></text:tracked-changes><text:p>kept</text:p>", "kept"),
        ("<text:section><text:p>in a section</text:p></text:section>", "in a section"),
    ],
)
def test_a_text_is_read_as_it_stands(body: str, text: str) -> None:
    assert extract("a.odt", odf("text", body)).text == text + "\n"


def test_headers_and_footers_are_found_once() -> None:
    page = (
        "<style:header xmlns:style='s'><text:p>Handbook</text:p></style:header><style:footer"
        " xmlns:style='s'><text:p>Internal</text:p></style:footer>"
    )
    pages = f"<x:master-page xmlns:x='s'>{page}</x:master-page>" * 2
    assert (
        extract("a.odt", odf("text", "<text:p>Text</text:p>", pages)).text == "Handbook\n\nText\n\nInternal\n"
    )


def test_slides_have_titles_and_notes() -> None:
    frame = (
        "<draw:frame presentation:class='{}'><draw:text-box><text:p>{}</text:p></draw:text-box></draw:frame>"
    )
    notes = f"<presentation:notes>{frame.format('notes', 'Say it')}</presentation:notes>"
    body = f"<draw:page>{frame.format('title', 'First')}{frame.format('outline', 'Exits')}{notes}</draw:page>"
    extracted = extract(
        "a.odp", odf("presentation", body + f"<draw:page>{frame.format('title', 'Second')}</draw:page>")
    )
    assert (extracted.title, extracted.text) == ("First", "## First\n\nExits\n\nSay it\n\n## Second\n")
    assert extracted.pages == (0, extracted.text.index("## Second"))


def test_a_sheet_shows_its_values_comments_and_formulas() -> None:
    said = "<office:annotation><text:p>about</text:p></office:annotation>"
    cells = (
        "<table:table-cell><text:p>When</text:p></table:table-cell>",
        "<table:table-cell table:number-columns-repeated='9'/>",
        f"<table:table-cell office:value='0.5'><text:p>50 %</text:p>{said}</table:table-cell>",
    )
    empty = "<table:table-row table:number-rows-repeated='1048576'><table:table-cell/></table:table-row>"
    formula = "<table:table-row><table:table-cell table:formula='of:=SUM([.A1])'/></table:table-row>"
    rows = f"<table:table-row>{''.join(cells)}</table:table-row>{empty}{formula}"
    text = extract(
        "a.ods", odf("spreadsheet", f"<table:table table:name='R&amp;D'>{rows}</table:table>")
    ).text
    assert text == "## R&D\n\n| When | 50 % |\n| --- | --- |\n| =SUM([.A1]) |  |\n\nComment: about\n"


def test_a_cell_that_is_repeated_without_end_is_bounded() -> None:
    cell = "<table:table-cell table:number-columns-repeated='16384'><text:p>x</text:p></table:table-cell>"
    rows = f"<table:table-row table:number-rows-repeated='1048576'>{cell}</table:table-row>"
    assert len(extract("a.ods", odf("spreadsheet", f"<table:table>{rows}</table:table>")).text) < 100_000
