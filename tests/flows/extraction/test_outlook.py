"""Mails of Outlook (MSG) have the text that the same mail has as EML."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest

from pgfolio.flows.extraction.compressed_rtf import unpacked
from pgfolio.flows.extraction.extract import MAX_DEPTH, extract
from tests.flows.extraction.compound_file import broken, compound, properties, text_or_reason, text_streams

if TYPE_CHECKING:
    from pgfolio.flows.extraction.extracted import Extracted

TABLE = "__properties_version1.0"
SENT = 132_223_104_000_000_000  # 2020-01-01, in steps of 100 ns since 1601
EMBEDDED = "__attach_version1.0_#00000000/__substg1.0_3701000D/"


def streams(
    place: str = "", head_bytes: int = 32, code_page: int = 1252, **texts: str | bytes
) -> dict[str, bytes]:
    table = properties(head_bytes, p3ffd=code_page, p3fde=code_page, p0039=SENT)
    return {f"{place}{TABLE}": table, **text_streams(place, **texts)}


def attachment(number: int, name: str, data: bytes, kind: str = "") -> dict[str, bytes]:
    place = f"__attach_version1.0_#{number:08X}/"
    return {
        f"{place}{TABLE}": bytes(8),
        **text_streams(place, p3707001f=name, p370e001f=kind, p37010102=data),
    }


def read(*parts: dict[str, bytes]) -> Extracted:
    return extract("a.msg", compound({name: data for part in parts for name, data in part.items()}))


def test_a_mail_has_its_head_and_its_text() -> None:
    recipient = {
        f"__recip_version1.0_#00000000/{TABLE}": properties(8, p0c15=1),
        **text_streams("__recip_version1.0_#00000000/", p3001001f="'Bo'", p39fe001f="bo@example.org"),
    }
    mail = streams(
        p0037001f="R&D < 5", p0c1a001f="Åsa Ek", p5d01001f="asa@example.org", p1000001f="One *two*\r\nthree"
    )
    made = read(mail, recipient)
    assert made.text == (
        "Subject: R&D < 5\nFrom: Åsa Ek <asa@example.org>\nTo: Bo <bo@example.org>\n"
        "Date: Wed, 01 Jan 2020 00:00:00 +0000\n\nOne *two*\nthree\n"
    )
    assert made.title == "R&D < 5"
    assert made.created_at is not None
    assert made.created_at.isoformat() == "2020-01-01T00:00:00+00:00"


@pytest.mark.parametrize(
    ("code_page", "text"),
    [(1252, "Größe"), (1251, "привет"), (932, "日本語"), (936, "你好"), (65001, "żółć")],
)
def test_bytes_are_in_the_mails_code_page(code_page: int, text: str) -> None:
    codec = {65001: "utf-8", 936: "gb18030"}.get(code_page, f"cp{code_page}")
    page = f"<p>Page: {text}</p>".encode(codec)
    plain = read(streams(code_page=code_page, p0037001e=text.encode(codec), p1000001e=text.encode(codec)))
    assert plain.text.startswith(f"Subject: {text}\n")
    assert plain.text.endswith(f"\n\n{text}\n")
    assert read(streams(code_page=code_page, p10130102=page)).text.endswith(f"\n\nPage: {text}\n")


def test_rich_text_is_read_where_there_is_no_other() -> None:
    rich = rb"{\rtf1\ansi Only in \b rich\b0  text, 5 < 6\par}"
    packed = struct.pack("<II4sI", len(rich) + 12, len(rich), b"MELA", 0) + rich
    assert read(streams(p10090102=packed)).text.endswith("\n\nOnly in rich text, 5 < 6\n")


def test_compressed_rich_text_is_unpacked() -> None:
    """The two examples of [MS-OXRTFCP]."""
    plain = bytes.fromhex(
        "2d0000002b0000004c5a4675f1c5c7a703000a007263706731323542320af32068656c090020627705b06c647d0a800fa0"
    )
    crossing = bytes.fromhex("1a0000001c0000004c5a4675e2d44b51410004205758595a0d6e7d010eb0")
    assert unpacked(plain) == b"{\\rtf1\\ansi\\ansicpg1252\\pard hello world}\r\n"
    assert unpacked(crossing) == b"{\\rtf1 WXYZWXYZWXYZWXYZWXYZ}"
    for end in range(len(plain)):
        assert len(unpacked(plain[:end])) <= 9 * end


def test_what_is_attached_is_read() -> None:
    made = read(
        streams(p0037001f="S", p1000001f="See below."),
        attachment(0, "rates.csv", b"Valve,Stock\nElbow,57\n", "text/csv"),
        attachment(1, "notes.txt", "Grüße".encode(), "text/plain"),
        attachment(2, "logo.png", b"\x89PNG", "image/png"),
    )
    assert made.text.endswith(
        "### rates.csv\n\n"
        "| Valve | Stock |\n| --- | --- |\n| Elbow | 57 |\n\n### notes.txt\n\nGrüße\n\n### logo.png\n"
    )
    assert made.metadata["attachments"] == ["rates.csv", "notes.txt", "logo.png"]


def test_a_mail_in_a_mail_is_read_and_one_too_deep_is_not() -> None:
    place, parts = "", streams(p0037001f="Outer", p1000001f="outside")
    for depth in range(1, 20):
        place += EMBEDDED
        parts |= streams(place, 24, p0037001f=f"Inner {depth}", p1000001f=f"inside {depth}")
    text = read(parts).text
    assert "### Inner 1\n\nSubject: Inner 1" in text
    assert "inside 3" in text
    assert "inside 19" not in text
    assert MAX_DEPTH < 19


def test_of_a_contact_its_phones_and_company_are_read() -> None:
    text = read(
        streams(p001a001f="IPM.Contact", p0037001f="Bo", p3a08001f="555 1234", p3a16001f="Pipes Ltd")
    ).text
    assert "555 1234" in text
    assert "Pipes Ltd" in text


def test_broken_mails_end_in_text_or_in_a_reason() -> None:
    mail = streams(p0037001f="S", p1000001f="Text") | attachment(0, "a.txt", b"attached")
    sound = compound(mail | streams(EMBEDDED, 24, p1000001f="x"))
    assert all(text_or_reason("a.msg", data) for data in broken(sound, 200))


def test_a_storage_that_holds_itself_ends() -> None:
    data = bytearray(compound(streams(p1000001f="Text") | attachment(0, "a.txt", b"attached")))
    root, inside = (
        data.index(name.encode("utf-16-le")) for name in ("Root Entry", "__attach_version1.0_#00000000")
    )
    struct.pack_into("<I", data, inside + 76, (inside - root) // 128)
    assert text_or_reason("a.msg", bytes(data))
