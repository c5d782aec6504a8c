"""A file is what its bytes are."""

from __future__ import annotations

import pytest

from pgfolio.flows.extraction import mime
from pgfolio.flows.extraction.extract import extract
from pgfolio.flows.extraction.extracted import Unextractable
from pgfolio.flows.extraction.package import Package
from tests.flows.extraction.office import archive, docx, odf, p, pptx, shape, xlsx

TABLE = b"\xef\xbb\xbf<html><body><table><tr><th>Article<th>Stock<tr><td>Pipe<td>340</table>"
XML = (
    '<?xml version="1.0"?><?mso-application progid="Excel.Sheet"?><Workbook'
    ' xmlns="urn:schemas-microsoft-com:office:spreadsheet"'
    ' xmlns:ss="urn:schemas-microsoft-com:office:spreadsheet"><Worksheet'
    ' ss:Name="Stock"><Table><Row><Cell><Data ss:Type="String">Pipe</Data></Cell><Cell ss:Index="4"><Data'
    ' ss:Type="Number">340</Data></Cell></Row></Table></Worksheet></Workbook>'
)
SHEET = xlsx("<row><c><v>1</v></c></row>")


@pytest.mark.parametrize(
    ("name", "data", "kind", "words"),
    [
        ("a.xls", TABLE, mime.HTML, "| Pipe | 340 |"),
        ("a.xlsx", TABLE, mime.HTML, "| Pipe | 340 |"),
        ("a.doc", b"<html><p>The lease.", mime.HTML, "The lease."),
        ("a.xls", b"Valve\tStock\nElbow\t57\n", mime.TSV, "| Elbow | 57 |"),
        ("a.xls", "Größe\tStück\nWinkel\t57\n".encode("utf-16"), mime.TSV, "| Größe | Stück |"),
        ("a.xls", b"Valve;Stock\nElbow;57\n", mime.CSV, "| Elbow | 57 |"),
        ("a.xls", SHEET, mime.XLSX, "| 1 |"),
        ("a.csv", SHEET, mime.XLSX, "| 1 |"),
        ("a.xls", XML.encode(), mime.XML_SHEET, "| Pipe |  |  | 340 |"),
        ("a.doc", docx(p("The lease.")), mime.DOCX, "The lease."),
        ("a.doc", rb"{\rtf1\ansi M\'e4rz\par}", mime.RTF, "März"),
        ("a.doc", "Plain words, März.".encode(), "text/plain", "März"),
        ("a.docx", pptx(shape("A slide")), mime.PPTX, "A slide"),
        ("a.ppt", pptx(shape("A slide")), mime.PPTX, "A slide"),
        ("unknown", odf("text", "<text:p>Text</text:p>"), mime.ODT, "Text"),
        ("a.odp", odf("presentation", "<text:p>Text</text:p>"), mime.ODP, "Text"),
        ("a.docm", docx(p("Macros.")), mime.DOCX, "Macros."),
        ("a.msg", b"From: a@example.org\nSubject: S\n\nText\n", mime.EML, "Text"),
    ],
)
def test_a_document_is_read_by_what_its_bytes_are(name: str, data: bytes, kind: str, words: str) -> None:
    extracted = extract(name, data)
    assert words in extracted.text
    assert extracted.mime == kind


@pytest.mark.parametrize("name", ["page.txt", "page.php", "page.md", "noname"])
def test_a_text_that_shows_markup_stays_as_it_is(name: str) -> None:
    assert extract(name, b"<html><p>code</html>\n").text == "<html><p>code</html>\n"


def test_a_document_with_a_password_says_so() -> None:
    data = (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600) + "EncryptedPackage".encode("utf-16-le") + bytes(100)
    )
    with pytest.raises(Unextractable, match=r"^encrypted file: remove the password$"):
        extract("a.docx", data)


def test_a_part_that_unpacks_without_end_is_refused() -> None:
    loaded = Package(archive({"a.xml": "<a>" + " " * 2000 + "</a>"}))
    with pytest.raises(Unextractable, match="unpacks to more than"):
        loaded.stream("a.xml", 1000)
