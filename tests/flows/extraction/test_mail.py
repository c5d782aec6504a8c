"""Mails, mailboxes and saved pages."""

from __future__ import annotations

import base64

import pytest

from pgfolio.flows.extraction.extract import extract
from tests.flows.extraction.office import docx, p

HEAD = (
    b"From: Ann <ann@example.org>\nTo: bob@example.org\nSubject: Plan\nDate: Mon, 4 Mar 2024 09:00:00 +0000\n"
)


def mail(body: bytes, kind: str = "text/plain", encoding: str = "8bit") -> bytes:
    return HEAD + f"Content-Type: {kind}\nContent-Transfer-Encoding: {encoding}\n\n".encode() + body


def multipart(kind: str, *parts: bytes, boundary: str = "b") -> bytes:
    """`parts`: each with its own headers."""
    inner = b"".join(b"--%s\n%s\n" % (boundary.encode(), part) for part in parts)
    head = f'MIME-Version: 1.0\nContent-Type: multipart/{kind}; boundary="{boundary}"\n\n'.encode()
    return head + inner + b"--%s--\n" % boundary.encode()


def attached(name: str, data: bytes) -> bytes:
    head = (
        f'Content-Type: application/octet-stream; name="{name}"\nContent-Disposition: attachment;'
        f' filename="{name}"\n'
    )
    return head.encode() + b"Content-Transfer-Encoding: base64\n\n" + base64.encodebytes(data)


PLAIN = b"Content-Type: text/plain; charset=utf-8\n\nThe plain text says it all.\n"
PAGE = b"Content-Type: text/html; charset=utf-8\n\n<p>The <b>page</b> says it all.</p>\n"


@pytest.mark.parametrize(
    ("charset", "codec", "text"),
    [
        ("gb2312", "gb18030", "预算已经批准朱镕基"),
        ("big5", "big5", "預算已經核准"),
        ("shift_jis", "cp932", "①予算が承認されました"),
        ("iso-2022-jp", "iso-2022-jp", "来週の会議"),
        ("ks_c_5601-1987", "cp949", "예산이 승인되었고"),
        ("iso-8859-1", "cp1252", "Preis: 25 € “frei”"),
        ("koi8-r", "koi8-r", "Бюджет утверждён"),
        ("us-ascii", "utf-8", "déjà vu"),
        ("nonsense", "cp1252", "déjà vu"),
        ("", "cp1252", "Rückgabe möglich: 25 €"),
        ("", "utf-8", "Rückgabe möglich: 25 €"),
    ],
)
def test_a_mail_is_read_in_its_charset(charset: str, codec: str, text: str) -> None:
    kind = f"text/plain; charset={charset}" if charset else "text/plain"
    assert extract("a.eml", mail(text.encode(codec), kind)).text.split("\n\n")[1] == text + "\n"


def test_a_header_is_decoded_and_is_the_title() -> None:
    subject = "=?gb2312?B?" + base64.b64encode("预算".encode("gb2312")).decode() + "?= 2024"
    data = f"From: =?utf-8?q?J=C3=B6rg?= <j@example.org>\nSubject: {subject}\n\nText\n".encode()
    extracted = extract("a.eml", data)
    assert (extracted.title, extracted.metadata["from_name"]) == ("预算 2024", "Jörg")
    assert extract("a.eml", "Subject: Grüße\n\nText\n".encode("latin-1")).title == "Grüße"


def test_cells_of_a_page_do_not_glue() -> None:
    data = mail(
        b"<table><tr><td>Item</td><td>Price</td></tr><tr><td>Rake</td><td>19.50</td></tr></table>",
        "text/html",
    )
    assert "| Item | Price |\n| --- | --- |\n| Rake | 19.50 |" in extract("a.eml", data).text


@pytest.mark.parametrize(
    ("parts", "kept"),
    [
        ((PLAIN, PAGE), "The plain text says it all."),
        ((b"Content-Type: text/plain\n\nNo HTML?\n", PAGE), "The page says it all."),
        ((PAGE,), "The page says it all."),
    ],
)
def test_of_alternatives_the_one_that_says_it_all_is_taken(parts: tuple[bytes, ...], kept: str) -> None:
    text = extract("a.eml", HEAD + multipart("alternative", *parts)).text
    assert text.count("says it all") == 1
    assert kept in text


def test_what_is_attached_is_read_where_it_can_be() -> None:
    inner = b"Content-Type: message/rfc822\n\nSubject: Inner\n\nA forwarded mail.\n"
    parts = (
        PLAIN,
        attached("list.csv", b"a;b\n1;2\n"),
        attached("lease.docx", docx(p("Six years."))),
        attached("x.png", b"\x89PNG"),
    )
    extracted = extract("a.eml", HEAD + multipart("mixed", *parts, inner))
    for words in (
        "says it all",
        "### list.csv\n\n| a | b |",
        "### lease.docx\n\nSix years.",
        "### Inner",
        "A forwarded mail.",
    ):
        assert words in extracted.text
    assert extracted.metadata["attachments"] == ["list.csv", "lease.docx", "x.png"]


def test_mails_within_mails_without_end_are_bounded() -> None:
    data = HEAD + b"\nThe innermost text.\n"
    for level in range(6):
        data = HEAD + multipart("mixed", PLAIN, attached("inner.eml", data), boundary=f"b{level}")
    assert "innermost" not in extract("a.eml", data).text


def test_a_mailbox_has_a_heading_for_each_mail() -> None:
    mails = b"".join(
        b"From a@example.org Mon Mar  4 09:00:00 2024\nSubject: %s\n\n>From here on.\n\n" % name
        for name in (b"One", b"Two")
    )
    for name in ("a.mbox", "Inbox"):
        text = extract(name, mails).text
        assert text == "## One\n\nSubject: One\n\nFrom here on.\n\n## Two\n\nSubject: Two\n\nFrom here on.\n"


def test_a_saved_page_is_read_as_a_page() -> None:
    page = (
        b"Content-Type: text/html; charset=utf-8\nContent-Transfer-Encoding:"
        b" quoted-printable\n\n<title>T</title><p>caf=C3=A9</p>\n"
    )
    style = b"Content-Type: text/css\n\np { color: red }\n"
    data = b"From: <Saved>\nSubject: Saved\n" + multipart("related", page, style)
    for name in ("a.mhtml", "a.mht", "a.doc"):
        extracted = extract(name, data)
        assert (extracted.text, extracted.title) == ("café\n", "T")
