# ruff: noqa: RUF001 -- letters of many scripts
"""Bytes to text: what proves an encoding, what is told from the letters, and where the text is in the file."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgfolio.flows.extraction.decode import clean, decode, decoded
from pgfolio.flows.extraction.extract import extract
from pgfolio.flows.extraction.extracted import Unextractable

if TYPE_CHECKING:
    from pgfolio.flows.extraction.decode import Decoded

GERMAN = (
    "Der Prüfbericht für die Aufzüge liegt im Büro, die Gebühr beträgt dreißig Mark, geprüft von Frau Größe."
)
POLISH = "Następne zebranie odbędzie się w środę. Źródło: księga główna, zażółć gęślą jaźń."
CZECH = "Příliš žluťoučký kůň úpěl ďábelské ódy, řekla učitelka v úterý večer."
TURKISH = "Toplantı tutanağı: çatının onarımı için şirkete yazıldı, işçilik ve ısıtma ayrıca ödenecek."
RUSSIAN = "Отчёт готов: крыша будет отремонтирована в среду, счёт придёт по почте."
GREEK = "Η στέγη θα επισκευαστεί την Τετάρτη και ο λογαριασμός θα έρθει ταχυδρομικώς."
HEBREW = "הדוח מוכן. הגג יתוקן ביום רביעי והתקציב אושר."
ARABIC = "التقرير جاهز وسيتم إصلاح السقف يوم الأربعاء."
LITHUANIAN = "Stogas bus sutvarkytas trečiadienį, sąskaita ateis paštu, ačiū už kantrybę ir žinią."
THAI = "รายงานเสร็จแล้ว หลังคาจะซ่อมในวันพุธ"
JAPANESE = "報告書ができました。屋根は水曜日に修理されます。"
KOREAN = "보고서가 준비되었습니다. 지붕은 수요일에 수리됩니다."
SIMPLIFIED = "报告已经完成，屋顶将在星期三修理，账单会寄出。"
TRADITIONAL = "報告已經完成，屋頂將在星期三修理，帳單會寄出。"

TABLE = [
    ("utf-8", GERMAN),
    ("utf-8-sig", GERMAN),
    ("utf-16", GERMAN),
    ("utf-16-le", GERMAN),
    ("utf-16-be", GERMAN),
    ("utf-16-le", f"{RUSSIAN}\n{RUSSIAN}"),
    ("utf-32", GERMAN),
    ("utf-32-le", GERMAN),
    ("utf-32-be", RUSSIAN),
    ("cp1252", GERMAN),
    ("iso-8859-1", GERMAN),
    ("iso-8859-15", GERMAN),
    ("iso-8859-2", POLISH),
    ("cp1250", POLISH),
    ("iso-8859-2", CZECH),
    ("cp1250", CZECH),
    ("cp1254", TURKISH),
    ("iso-8859-9", TURKISH),
    ("cp1251", RUSSIAN),
    ("koi8-r", RUSSIAN),
    ("iso-8859-5", RUSSIAN),
    ("cp866", RUSSIAN),
    ("cp1253", GREEK),
    ("iso-8859-7", GREEK),
    ("cp1255", HEBREW),
    ("iso-8859-8", HEBREW),
    ("cp1256", ARABIC),
    ("cp1257", LITHUANIAN),
    ("cp874", THAI),
    ("shift_jis", JAPANESE),
    ("cp932", f"①{JAPANESE}"),
    ("euc-jp", JAPANESE),
    ("iso-2022-jp", JAPANESE),
    ("euc-kr", KOREAN),
    ("gb2312", SIMPLIFIED),
    ("gbk", SIMPLIFIED),
    ("gb18030", SIMPLIFIED),
    ("big5", TRADITIONAL),
]


def found(data: bytes) -> Decoded:
    made = decoded(data, known=True)
    assert made is not None
    return made


@pytest.mark.parametrize(("encoding", "text"), TABLE, ids=[encoding for encoding, _ in TABLE])
def test_text_is_read_in_its_encoding(encoding: str, text: str) -> None:
    assert found(text.encode(encoding)).text == text


@pytest.mark.parametrize("encoding", ["cp1252", "koi8-r"])
def test_an_encoding_that_shows_late_counts_for_all(encoding: str) -> None:
    """The first 64 KB are ASCII in any of them."""
    text = (
        "all is well in hall two\n" * 4000 + (GERMAN if encoding == "cp1252" else RUSSIAN) + "\nlast line\n"
    )
    assert found(text.encode(encoding)).text == text


@pytest.mark.parametrize("position", [0, 1700, 90_000])
def test_one_invalid_byte_does_not_make_another_encoding(position: int) -> None:
    good = (GERMAN + "\n").encode() * 1000
    made = found(good[:position] + b"\xff" + good[position:])
    assert (made.text.count("ü"), made.replaced) == (good.decode().count("ü"), 1)
    assert "Ã" not in made.text


def test_a_text_that_is_cut_within_a_letter_keeps_the_others() -> None:
    made = found("Ein Zähler im Büro: ä".encode()[:-1])
    assert made.text == "Ein Zähler im Büro: \ufffd"
    assert found("Only the last: ä".encode()[:-1]).text == "Only the last: \ufffd"


def test_what_has_replacement_characters_itself_lacks_nothing() -> None:
    assert found("a \ufffd b".encode()).replaced == 0


@pytest.mark.parametrize(
    "name", ["theme.scss", "panel.vue", "fr.po", "solve.f90", "unit.pas", "app.dart", "a.unheard"]
)
def test_source_text_is_read_whatever_its_name(name: str) -> None:
    text = "/* le réglage de la fenêtre est à vérifier après l'été */\n.a { color: red }\n"
    assert extract(name, text.encode("latin-1")).text == text


@pytest.mark.parametrize(
    "data",
    [
        b"\x89PNG\r\n\0",
        b"\xff\xd8\xff\xe0",
        bytes(range(128, 256)) * 40,
        random.Random(1).randbytes(4000),
        b"\0\0\1\0" * 300,
        b"MZ\x90\0\3\0\0\0\4\0\0\0\xff\xff\0\0" * 50,
    ],
    ids=["png", "jpeg", "high", "random", "numbers", "program"],
)
def test_what_is_no_text_is_not_made_one(data: bytes) -> None:
    assert decode(data, known=False) is None


def test_bytes_that_could_not_be_read_are_told() -> None:
    made = extract("a.md", b"# A heading\n\n" + GERMAN.encode() + b" \xfe\xff.\n")
    assert made.incomplete == "2 bytes are in no known encoding"
    assert extract("a.md", GERMAN.encode()).incomplete == ""


@given(st.lists(st.sampled_from(["a", "ü", "\U0001f600", "\n", "\r\n", "\r"]), max_size=30).map("".join))
def test_every_place_of_the_text_is_known_in_the_file(raw: str) -> None:
    made = found(raw.encode())
    assert made.crlf is not None
    for place in range(len(made.text) + 1):
        lines = sum(
            made.text.count("\n", part.start, min(part.end, place))
            for part in made.crlf
            if part.start < place
        )
        assert clean(raw[: place + lines]) == made.text[:place]


def test_places_are_not_told_where_characters_were_dropped() -> None:
    assert found(b"a\0b").crlf is None
    assert extract("a.txt", b"a\0b").file_offset is None


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("front", ["", "---\ntitle: A\n---\n", "+++\ntitle = 'A'\n+++\n\n"])
def test_what_stands_before_the_text_is_counted(front: str, end: str) -> None:
    raw = (front + "# A\n\nThe tide comes in.\n").replace("\n", end)
    made = extract("a.md", raw.encode())
    assert made.file_offset is not None
    assert raw[made.file_offset :].startswith("# A")
    assert (made.title, len(made.crlf)) == ("A", end == "\r\n")


@pytest.mark.parametrize(
    ("text", "fields", "body"),
    [
        (
            "+++\ntitle = 'Oil'\ntags = ['a', 'b']\ndate = 2024-02-01\n+++\nOil it.\n",
            {"title", "tags", "date"},
            "Oil it.\n",
        ),
        ("+++\nno toml at all\n+++\nOil it.\n", set(), None),
        ("+++\ntitle = 'never closed'\n", set(), None),
        ("+++ a sign\n\nOil it.\n", set(), None),
    ],
)
def test_front_matter_may_be_toml(text: str, fields: set[str], body: str | None) -> None:
    made = extract("a.md", text.encode())
    assert made.text == (text if body is None else body)
    assert set(made.metadata) == fields - {"title"}
    assert made.title == ("Oil" if "title" in fields else None)


def test_toml_that_is_nested_without_end_is_text() -> None:
    text = "+++\na = " + "[" * 5000 + "\n+++\nA page.\n"
    try:
        assert extract("a.md", text.encode()).text == text
    except Unextractable:
        pytest.fail("front matter that makes no sense is text")
