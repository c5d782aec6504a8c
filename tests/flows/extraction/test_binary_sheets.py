"""Old binary sheets (XLS) have the same text as the same workbook in XLSX."""

from __future__ import annotations

import struct

import pytest

from pgfolio.flows.extraction.extract import extract
from pgfolio.flows.extraction.extracted import Unextractable
from tests.flows.extraction.compound_file import (
    box,
    broken,
    comment,
    compound,
    number,
    record,
    shared,
    text_or_reason,
    truth,
    wide,
    workbook,
)
from tests.flows.extraction.office import xlsx

FORMATS = ("dd/mm/yyyy", "h:mm:ss", '"EUR" 0.00', "[h]:mm")


@pytest.mark.parametrize(
    ("cell", "shown"),
    [
        (shared(0, 0, 0), "AT&T <a_b> *x*"),
        (number(0, 0, 340), "340"),
        (number(0, 0, 0.1 + 0.2), "0.3"),
        (number(0, 0, -1.5), "-1.5"),
        (number(0, 0, 123456789012345680), "123456789012345680"),
        (number(0, 0, 45000, 16), "2023-03-15"),
        (number(0, 0, 0.75, 17), "18:00:00"),
        (number(0, 0, 45000, 18), "45000"),
        (number(0, 0, 1.25, 19), "30:00"),
        (record(0x27E, struct.pack("<HHHI", 0, 0, 16, 45000 << 2 | 2)), "2023-03-15"),
        (record(0xBD, struct.pack("<HHHIHIH", 0, 0, 15, 7 << 2 | 2, 15, 8 << 2 | 2, 1)), "7 | 8"),
        (truth(0, 0, 1), "TRUE"),
        (truth(0, 0, 7, error=True), "#DIV/0!"),
        (truth(0, 0, 42, error=True), "#N/A"),
        (record(0x204, struct.pack("<HHHH", 0, 0, 15, 3) + wide("żar")), "żar"),
        (
            record(0x06, struct.pack("<HHH", 0, 0, 15) + b"\0\0\0\0\0\0\xff\xff" + bytes(8))
            + record(0x207, struct.pack("<H", 5) + wide("sumnj")),
            "sumnj",
        ),
    ],
)
def test_cells_are_as_they_are_shown(cell: bytes, shown: str) -> None:
    data = workbook(cell, FORMATS, ("AT&T <a_b> *x*",))
    columns = shown.count("|") + 1
    assert extract("a.xls", data).text == f"## R&D\n\n| {shown} |\n|{' --- |' * columns}\n"


def test_a_workbook_has_the_same_text_in_both_formats() -> None:
    cells = shared(0, 0, 0) + shared(0, 2, 1) + number(2, 0, 45000.5, 16) + truth(2, 2, 15, error=True)
    old = workbook(cells, ("yyyy-mm-dd hh:mm",), ("Valve", "Stock"))
    new = xlsx(
        '<row><c r="A1" t="s"><v>0</v></c><c r="C1" t="s"><v>1</v></c></row>'
        '<row><c r="A3" s="1"><v>45000.5</v></c><c r="C3" t="e"><v>#VALUE!</v></c></row>',
        strings="<si><t>Valve</t></si><si><t>Stock</t></si>",
        styles='<numFmts><numFmt numFmtId="164" formatCode="yyyy-mm-dd hh:mm"/></numFmts>'
        '<cellXfs><xf numFmtId="0"/><xf numFmtId="164"/></cellXfs>',
    )
    assert extract("a.xls", old).text == extract("a.xlsx", new).text


def test_comments_text_boxes_and_charts_are_read() -> None:
    def named(text: str) -> bytes:
        return record(0x100D, struct.pack("<HB", 0, len(text)) + wide(text))

    chart = record(0x809, struct.pack("<HHHHII", 0x600, 0x20, 0, 0, 0, 0))
    chart += named("Sales") + record(0x1003) + record(0x1033) + named("Pipes") + record(0x1034)
    chart += record(0x1065, struct.pack("<H", 2)) + record(
        0x204, struct.pack("<HHHH", 0, 0, 0, 3) + wide("May")
    )
    chart += record(0x1065, struct.pack("<H", 1)) + number(0, 0, 12.5) + record(0x0A)
    cells = number(0, 0, 1) + box(1, "Replace\nit", 25) + box(2, "A box") + chart + comment(1, 1, 1)
    assert extract("a.xls", workbook(cells)).text == (
        "## R&D\n\n| 1 |\n| --- |\n\nComment on B2: Replace it\n\nA box\n\nSales\n\n"
        "|  | Pipes |\n| --- | --- |\n| May | 12.5 |\n"
    )


def test_a_workbook_with_a_password_says_so() -> None:
    data = workbook(number(0, 0, 1), more=record(0x2F, struct.pack("<H", 1) + bytes(52)))
    with pytest.raises(Unextractable, match=r"^encrypted file: remove the password$"):
        extract("a.xls", data)


def test_what_a_formula_of_a_name_says_is_not_evaluated() -> None:
    name = record(
        0x18, struct.pack("<HBBHHHBBBB", 0, 0, 1, 7, 0, 0, 0, 0, 0, 0) + b"\0N" + b"\x2d" + bytes(6)
    )
    assert "| 5 |" in extract("a.xls", workbook(number(0, 0, 5), more=name)).text


def test_broken_workbooks_end_in_text_or_in_a_reason() -> None:
    drawn = box(1, "A box") + comment(0, 0, 1)
    sound = workbook(number(0, 0, 1) + shared(1, 0, 0) + drawn, FORMATS, ("word",))
    assert all(text_or_reason("a.xls", data) for data in broken(sound, 300))


def test_a_stream_that_is_larger_than_the_file_is_refused() -> None:
    data = bytearray(compound({"Workbook": bytes(5000)}))
    place = data.index("Workbook".encode("utf-16-le"))
    struct.pack_into("<Q", data, place + 120, 1 << 31)
    with pytest.raises(Unextractable, match="larger than the file"):
        extract("a.xls", bytes(data))


def test_what_a_workbook_says_of_itself_is_told_and_a_broken_count_costs_nothing() -> None:
    texts = ((2, "Prüfung".encode("cp1252")), (4, b"Bo"))
    values = struct.pack("<IHH", 2, 1252, 0) + b"".join(
        struct.pack("<II12s", 30, len(text) + 1, text) for _, text in texts
    )
    places = struct.pack("<IIIIII", 1, 32, 2, 40, 4, 60)
    section = struct.pack("<II", 0, 3) + places + values
    for count in (3, 0xFFFFFFFF):
        summary = bytes(44) + struct.pack("<I", 48) + section[:4] + struct.pack("<I", count) + section[8:]
        book = workbook(number(0, 0, 1), summary=summary)
        made = extract("a.xls", book)
        assert "| 1 |" in made.text
        if count == 3:
            assert (made.title, made.owner) == ("Prüfung", "Bo")
