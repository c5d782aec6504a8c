# ruff: noqa: RUF001 -- letters of many scripts
"""One table of encodings: the same words as a text that says nothing of its own, as a page and as a mail that do."""

from __future__ import annotations

from base64 import b64encode

import pytest

from pgfolio.flows.extraction.extract import extract
from tests.flows.extraction.test_decode import TABLE

WITHOUT_MARKS = [
    (encoding, text) for encoding, text in TABLE if not encoding.startswith(("utf-16", "utf-32"))
]
NAMES_ON_THE_WEB = {"cp932": "windows-31j", "cp874": "windows-874", "utf-8-sig": "utf-8", "cp866": "ibm866"}
WEB = [row for row in WITHOUT_MARKS if row[0] != "iso-8859-8"]
"""The web's letters of that one stand in the order of the screen."""


def named(encoding: str) -> str:
    name = NAMES_ON_THE_WEB.get(encoding, encoding)
    return name.replace("cp125", "windows-125")


@pytest.mark.parametrize(("encoding", "text"), WEB, ids=[encoding for encoding, _ in WEB])
def test_a_page_is_read_as_it_declares(encoding: str, text: str) -> None:
    page = f"<html><head><meta charset='{named(encoding)}'></head><body><p>{text}</p></body></html>"
    assert extract("a.html", page.encode(encoding)).text.strip() == text


@pytest.mark.parametrize("transfer", ["8bit", "base64"])
@pytest.mark.parametrize(("encoding", "text"), WITHOUT_MARKS, ids=[encoding for encoding, _ in WITHOUT_MARKS])
def test_a_mail_is_read_as_it_declares(encoding: str, text: str, transfer: str) -> None:
    head = (
        "From: ada@example.org\r\nTo: bo@example.org\r\nSubject: Report\r\nMIME-Version: 1.0\r\n"
        f"Content-Type: text/plain; charset={named(encoding)}\r\nContent-Transfer-Encoding: {transfer}\r\n\r\n"
    )
    body = text.encode(encoding)
    data = head.encode() + (b64encode(body) if transfer == "base64" else body) + b"\r\n"
    assert text in extract("a.eml", data).text


@pytest.mark.parametrize(
    ("declared", "encoding", "text"),
    [
        ("iso-8859-1", "cp1252", "The “quiet room” costs €12 – breakfast"),
        ("shift_jis", "cp932", "①受付は九時から"),
        ("gb2312", "gbk", "镕基先生的报告已经完成。"),
        ("iso-8859-9", "cp1254", "“Çatı” işçilik €5"),
        ("euc-kr", "cp949", "똠방각하 보고서가 준비되었습니다."),
        ("", "cp1252", "§ 4: die Gebühr beträgt 30 €."),
    ],
)
@pytest.mark.parametrize("kind", ["html", "eml"])
def test_a_label_means_what_programs_mean_by_it(declared: str, encoding: str, text: str, kind: str) -> None:
    if kind == "html":
        meta = f"<meta charset={declared}>" if declared else ""
        data = f"<html><head>{meta}</head><body><p>{text}</p></body></html>".encode(encoding)
    else:
        charset = f"; charset={declared}" if declared else ""
        head = f"From: a@example.org\nTo: b@example.org\nContent-Type: text/plain{charset}\n\n"
        data = head.encode() + f"{text}\n".encode(encoding)
    assert text in extract(f"a.{kind}", data).text
