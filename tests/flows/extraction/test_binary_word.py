"""Old binary Word documents (DOC): what is seen of them, once."""

from __future__ import annotations

import struct

import pytest

from pgfolio.flows.extraction.extract import extract
from pgfolio.flows.extraction.extracted import Unextractable
from tests.flows.extraction.compound_file import broken, compound, text_or_reason

ROW_END, IN_TABLE = struct.pack("<HB", 0x2417, 1), struct.pack("<HB", 0x2416, 1)
HIDDEN, DELETED = struct.pack("<HB", 0x083C, 1), struct.pack("<HB", 0x0800, 1)


def word(
    text: str,
    *,
    parts: dict[int, str] | None = None,
    headers: tuple[str, ...] = (),
    layouts: tuple[tuple[int, int, bytes], ...] = (),
    changes: tuple[tuple[str, bytes], ...] = (),
    flags: int = 0,
) -> bytes:
    """`parts`: by their place in the order of texts; `layouts`: where the mark of a paragraph is, its style and its
    changes; `changes`: of the words."""
    texts = [text, *((parts or {}).get(number, "") for number in range(1, 8))]
    texts[2] = "".join(headers)
    joined = "".join(texts) + "\r"
    main = bytearray(0x800)
    struct.pack_into("<HHHHHH", main, 0, 0xA5EC, 193, 0, 0x409, 0, flags)
    struct.pack_into("<8i", main, 0x4C, *map(len, texts))
    pieces = struct.pack("<II2xI2x", 0, len(joined), 0x800)
    stories = [0]
    for story in headers:
        stories.append(stories[-1] + len(story))
    edges = [0, len(joined)]
    tables = {
        33: b"\2" + struct.pack("<I", len(pieces)) + pieces,
        11: struct.pack(f"<{len(stories)}I", *stories) if headers else b"",
        12: struct.pack("<III", *edges, 2),
        13: struct.pack("<III", *edges, 3),
    }
    table = b""
    for number, data in tables.items():
        struct.pack_into("<II", main, 0x9A + 8 * number, len(table), len(data))
        table += data
    spans = [(joined.index(words), len(words), change) for words, change in changes]
    main[0x400:0x600] = _page(joined, spans, 1)
    spans = [(at, 1, struct.pack("<H", style) + change) for at, style, change in layouts]
    main[0x600:0x800] = _page(joined, spans, 13)
    return compound({"WordDocument": bytes(main) + joined.encode("utf-16-le"), "0Table": table})


def _page(joined: str, spans: list[tuple[int, int, bytes]], width: int) -> bytes:
    """Of properties: the runs from one end of the text to the other, those without any between."""
    edges = sorted(
        {0, len(joined), *(edge for begin, length, _ in spans for edge in (begin, begin + length))}
    )
    of = {begin: change for begin, _, change in spans}
    page = bytearray(512)
    page[511] = len(edges) - 1
    struct.pack_into(f"<{len(edges)}I", page, 0, *(0x800 + 2 * edge for edge in edges))
    end = 510
    for index, edge in enumerate(edges[:-1]):
        if edge in of:
            change = of[edge]
            head = bytes([len(change)]) if width == 1 else bytes([0, (len(change) + 1) // 2])
            end -= len(head) + len(change) + (len(head) + len(change)) % 2
            page[end : end + len(head) + len(change)] = head + change
            page[4 * len(edges) + width * index] = end // 2
    return bytes(page)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("R&D < 5\rtwo\x0blines\r", "R&D < 5\n\ntwo\nlines"),
        ("a\x1eb co\x1foperate \x01\x08x\r", "a-b cooperate x"),
        ('See \x13 HYPERLINK "https://example.org/x" \x14here\x15.\r', "See [here](https://example.org/x)."),
        ("Page \x13 PAGE \x14\x13 X \x147\x15\x15 of \x13 NUMPAGES \x15\r", "Page 7 of"),
        ("Żółć 日本 \U0001f600\r", "Żółć 日本 \U0001f600"),
        ("one\x0ctwo\r", "one\n\ntwo"),
    ],
)
def test_text_is_what_is_seen(text: str, shown: str) -> None:
    assert extract("a.doc", word(text)).text == f"{shown}\n"


def test_headings_lists_and_tables_are_told() -> None:
    text = "Title\rfirst\rA\x07B\x07\x07C\rtwo\x07\x07\x07end\r"
    layouts = (
        (text.index("\r"), 1, b""),
        (text.index("first") + 5, 0, struct.pack("<HH", 0x460B, 1)),
        (text.index("\x07\x07C") + 1, 0, ROW_END),
        (text.index("C\r") + 1, 0, IN_TABLE),
        (text.index("end") - 1, 0, ROW_END),
    )
    made = extract("a.doc", word(text, layouts=layouts)).text
    assert made == "# Title\n\n- first\n\n| A | B |\n| --- | --- |\n| C two |  |\n\nend\n"


def test_hidden_and_deleted_words_are_left_out() -> None:
    data = word("seen secret gone kept\r", changes=((" secret", HIDDEN), (" gone", DELETED)))
    assert extract("a.doc", data).text == "seen kept\n"


def test_notes_comments_boxes_and_margins_are_read_once() -> None:
    data = word(
        "Text\x02 here\x05\r",
        parts={1: "\x02 A note\r", 4: "\x05Why?\r", 5: "\x02 At the end\r", 6: "A box\r"},
        headers=(*[""] * 7, "Top\r", "", "Bottom\r", *[""] * 3, "Top\r", "", "Bottom\r", *[""] * 2),
    )
    made = extract("a.doc", data).text
    assert made == "Top\n\nText here\n\nA note\n\nAt the end\n\nComment: Why?\n\nA box\n\nBottom\n"


@pytest.mark.parametrize(
    ("language", "text", "codec"), [(0x419, "Привет", "cp1251"), (0x411, "日本", "cp932")]
)
def test_older_documents_are_in_the_code_page_of_their_language(language: int, text: str, codec: str) -> None:
    octets = (text + "\r").encode(codec)
    main = bytearray(0x300)
    struct.pack_into("<HHHHHH", main, 0, 0xA5DC, 104, 0, language, 0, 0)
    struct.pack_into("<II", main, 0x18, 0x300, 0x300 + len(octets))
    struct.pack_into("<i", main, 0x34, len(octets))
    assert extract("a.doc", compound({"WordDocument": bytes(main) + octets})).text == f"{text}\n"


def test_a_document_with_a_password_says_so() -> None:
    with pytest.raises(Unextractable, match=r"^encrypted file: remove the password$"):
        extract("a.doc", word("x\r", flags=0x100))


def test_broken_documents_end_in_text_or_in_a_reason() -> None:
    sound = word(
        "Text\x02 \x13 X \x14y\x15\rA\x07B\x07\x07\r",
        parts={1: "n\r", 4: "c\r"},
        headers=("",) * 7 + ("Top\r",),
        layouts=((12, 0, IN_TABLE),),
        changes=(("Te", HIDDEN),),
    )
    assert all(text_or_reason("a.doc", data) for data in broken(sound, 300))
