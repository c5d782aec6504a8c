"""Sheets: values as the program shows them."""

from __future__ import annotations

import pytest

from pgfolio.flows.extraction import number_formats
from pgfolio.flows.extraction.extract import extract
from tests.flows.extraction.office import A, S, xlsx

STYLES = (
    '<numFmts><numFmt numFmtId="164" formatCode="[$-407]d/ mmmm\\ yyyy;@"/><numFmt numFmtId="165"'
    ' formatCode="&quot;day&quot; 0.00"/><numFmt numFmtId="166" formatCode="yyyy/mm/dd\\'
    ' hh:mm:ss"/></numFmts><cellXfs>'
    + "".join(f'<xf numFmtId="{number}"/>' for number in (0, 14, 20, 22, 31, 46, 164, 165, 166, 999))
    + "</cellXfs>"
)


def shown(cell: str) -> str:
    """The text of a cell."""
    text = extract(
        "a.xlsx", xlsx(f"<row>{cell}</row>", styles=STYLES, strings="<si><t>AT&amp;T</t></si>")
    ).text
    return text.removeprefix("## R&D\n\n| ").partition(" |\n")[0]


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        ('<c t="s"><v>0</v></c>', "AT&T"),
        ('<c t="inlineStr"><is><r><t>a</t></r><r><t>b</t></r><rPh><t>c</t></rPh></is></c>', "ab"),
        ('<c t="b"><v>1</v></c>', "TRUE"),
        ('<c t="e"><v>#DIV/0!</v></c>', "#DIV/0!"),
        ('<c t="str"><f>A1</f><v>x_x000D_y</v></c>', "x y"),
        ("<c><f>SUM(A1:A3)</f></c>", "=SUM(A1:A3)"),
        ("<c><f>SUM(A1:A3)</f><v>7</v></c>", "7"),
        ("<c><v>0.30000000000000004</v></c>", "0.3"),
        ("<c><v>4711</v></c>", "4711"),
        ('<c s="1"><v>45366</v></c>', "2024-03-15"),
        ('<c s="2"><v>0.5625</v></c>', "13:30"),
        ('<c s="3"><v>45366.5625</v></c>', "2024-03-15 13:30"),
        ('<c s="4"><v>45482</v></c>', "2024-07-09"),
        ('<c s="5"><v>1.5</v></c>', "36:00:00"),
        ('<c s="6"><v>45366</v></c>', "2024-03-15"),
        ('<c s="7"><v>45366</v></c>', "45366"),
        ('<c s="8"><v>45366.99999999</v></c>', "2024-03-16 00:00:00"),
        ('<c s="9"><v>45366</v></c>', "2024-03-15"),
        ('<c s="9"><v>12.5</v></c>', "12.5"),
        ('<c s="1"><v>59</v></c>', "1900-02-28"),
        ('<c s="1"><v>61</v></c>', "1900-03-01"),
        ('<c s="1"><v>-1</v></c>', "-1"),
        ('<c s="1"><v>1e300</v></c>', "1e+300"),
    ],
)
def test_a_cell_is_read_as_it_is_shown(cell: str, text: str) -> None:
    assert shown(cell) == text


@pytest.mark.parametrize(
    ("text", "plain"), [("1E-3", "0.001"), ("12345678901234567", "12345678901234567"), ("1.10", "1.1")]
)
def test_a_number_has_no_more_digits_than_it_means(text: str, plain: str) -> None:
    assert number_formats.plain(text) == plain


def test_empty_columns_are_left_out_and_rows_need_no_places() -> None:
    rows = '<row><c r="C2"><v>1</v></c><c r="E2"><v>2</v></c></row><row/><row><c r="E9"><v>3</v></c></row>'
    assert extract("a.xlsx", xlsx(rows)).text == "## R&D\n\n| 1 | 2 |\n| --- | --- |\n|  | 3 |\n"


def test_the_last_column_in_each_row_takes_no_room() -> None:
    rows = "".join(f'<row><c r="A{n}"><v>1</v></c><c r="XFD{n}"><v>2</v></c></row>' for n in range(1, 500))
    assert len(extract("a.xlsx", xlsx(rows)).text) < 10_000


def test_comments_and_text_boxes_are_found() -> None:
    said = (
        f'<comments {S}><commentList><comment ref="B2"><text><r><t>Replace'
        " </t></r><r><t>it</t></r></text></comment></commentList></comments>"
    )
    drawing = f"<d {A}><txBody><a:p><a:r><a:t>A box</a:t></a:r></a:p></txBody></d>"
    data = xlsx(
        "<row><c><v>1</v></c></row>",
        parts={"comments1.xml": said, "drawings/d.xml": drawing},
        c="comments ../comments1.xml",
        d="drawing ../drawings/d.xml",
    )
    assert extract("a.xlsx", data).text.endswith("Comment on B2: Replace it\n\nA box\n")


def test_an_old_sheet_shows_days_and_times() -> None:
    table = "| 2024-03-15 00:00:00 | 1899-12-31 13:30:00 | 0.30000000000000004 | 2024-03-15 13:30:00 |"
    assert number_formats.displayed_cells(table) == "| 2024-03-15 | 13:30:00 | 0.3 | 2024-03-15 13:30:00 |"
