"""Old binary slides (PPT): as they are now, with notes, comments and footers."""

from __future__ import annotations

import struct

import pytest

from pgfolio.flows.extraction.extract import extract
from pgfolio.flows.extraction.extracted import Unextractable
from tests.flows.extraction.compound_file import broken, compound, text_or_reason


def record(kind: int, body: bytes, instance: int = 0, *, holds: bool = False) -> bytes:
    return struct.pack("<HHI", instance << 4 | (15 if holds else 0), kind, len(body)) + body


def holder(kind: int, *records: bytes, instance: int = 0) -> bytes:
    return record(kind, b"".join(records), instance, holds=True)


def box(text: str, style: int = 4) -> bytes:
    """Text in bytes where they are enough for it."""
    try:
        atom = record(4008, text.encode("latin-1"))
    except UnicodeEncodeError:
        atom = record(4000, text.encode("utf-16-le"))
    return holder(0xF004, holder(0xF00D, record(3999, struct.pack("<I", style)), atom))


def outline_box(index: int) -> bytes:
    return holder(0xF00D, record(3998, struct.pack("<I", index)))


def string(text: str, instance: int) -> bytes:
    return record(4026, text.encode("utf-16-le"), instance)


def persist(place: int, key: int) -> bytes:
    return record(1011, struct.pack("<IIIII", place, 0, 0, key, 0))


def show(token: int = 0xE391C05F) -> bytes:
    """Two slides, of which the first was saved twice."""
    comment = record(5003, holder(12000, string("Bo", 0), string("Why?", 1)))
    slides = holder(
        4080,
        persist(2, 256),
        record(3999, struct.pack("<I", 0)),
        record(4008, b"Safety & care"),
        persist(3, 257),
    )
    notes = holder(4080, persist(4, 9), instance=2)
    footers = holder(4057, string("Draft <1>", 2))
    objects = {
        1: holder(1000, slides, notes, footers),
        2: holder(1006, outline_box(0), box("Exits\rDoors\x0band gates"), box("*"), comment, footers),
        3: holder(1006, box("Żółć", 6)),
        4: holder(1008, record(1009, struct.pack("<I", 256)), box("Say hello", 2)),
    }
    stream = holder(1006, box("As it was before"))
    places = {2: 0}
    first = len(stream)
    stream += record(6002, struct.pack("<II", 1 << 20 | 2, 0))
    edit = len(stream)
    stream += record(4085, struct.pack("<IIIIII", 0, 0, edit, first, 1, 0))
    for number, data in objects.items():
        places[number] = len(stream)
        stream += data
    directory = len(stream)
    stream += record(6002, struct.pack("<IIIII", 4 << 20 | 1, *(places[number] for number in objects)))
    last = len(stream)
    stream += record(4085, struct.pack("<IIIIII", 0, 0, edit, directory, 1, 0))
    user = record(4086, struct.pack("<III", 0x14, token, last) + bytes(12))
    return compound({"PowerPoint Document": stream, "Current User": user})


def test_slides_are_read_as_they_are_now() -> None:
    made = extract("a.ppt", show())
    first = "## Safety & care\n\nExits\n\nDoors\nand gates\n\nComment: Why?\n\nDraft <1>\n\nSay hello\n\n"
    assert made.text == f"{first}## Żółć\n"
    assert made.pages == (0, len(first))
    assert made.title == "Safety & care"


def test_slides_with_a_password_say_so() -> None:
    with pytest.raises(Unextractable, match=r"^encrypted file: remove the password$"):
        extract("a.ppt", show(0xF3D1C4DF))


def test_broken_slides_end_in_text_or_in_a_reason() -> None:
    assert all(text_or_reason("a.ppt", data) for data in broken(show(), 300))
