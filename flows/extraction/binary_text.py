"""The text of an old binary Word document, which stands in pieces, and what is said of it ([MS-DOC])."""

from __future__ import annotations

import struct
from bisect import bisect_right
from enum import IntEnum
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

from pgfolio.flows.extraction.compound import codec_of
from pgfolio.flows.extraction.extracted import Unextractable

if TYPE_CHECKING:
    from collections.abc import Iterator

WORD_97: Final = 193
COMPLEX, HAS_PASSWORD, SECOND_TABLE = 0x4, 0x100, 0x200
HEADER_STORIES, COMMENT_TEXTS, CHARACTERS, PARAGRAPHS, PIECES = 11, 5, 12, 13, 33
"""Numbers of tables in the document's head."""

DELETED, HIDDEN, ROW_END, IN_TABLE, LIST, LIST_LEVEL, HEADING_LEVEL = (
    0x0800, 0x083C, 0x2417, 0x2416, 0x460B, 0x260A, 0x2640,
)  # fmt: skip
SIZES: Final = (1, 1, 2, 4, 2, 2, 0, 3)
PAGE_BYTES: Final = 512
MAX_GROWTH: Final = 4
"""Characters for each byte of the file: pieces that show the same bytes again and again are no document."""

LANGUAGES: Final = {
    0x01: 1256, 0x02: 1251, 0x05: 1250, 0x08: 1253, 0x0D: 1255, 0x0E: 1250, 0x11: 932, 0x12: 949, 0x15: 1250,
    0x18: 1250, 0x19: 1251, 0x1A: 1250, 0x1B: 1250, 0x1C: 1250, 0x1E: 874, 0x1F: 1254, 0x22: 1251, 0x23: 1251,
    0x24: 1250, 0x25: 1257, 0x26: 1257, 0x27: 1257, 0x29: 1256, 0x2A: 1258, 0x2F: 1251,
}  # fmt: skip
"""Code pages of what is older than Word 97, by the document's language."""


CHINESE, TRADITIONAL = 0x04, (1, 3, 5)
MACHINE: Final = 0x12
"""Where the head says whether the document is from a Macintosh."""


class Part(IntEnum):
    """In the order of their texts."""

    TEXT = 0
    FOOTNOTES = 1
    HEADERS = 2
    MACROS = 3
    COMMENTS = 4
    ENDNOTES = 5
    TEXT_BOXES = 6
    HEADER_BOXES = 7


class Layout(NamedTuple):
    """Of a paragraph. `row_end` is None where the document does not tell."""

    row_end: bool | None = None
    in_table: bool = False
    heading: int = 0
    listed: bool = False
    list_level: int = 0


class OldDocument:
    """`text`: of all parts; `hidden`: the spans of it that are not seen, in their order."""

    def __init__(self, main: bytes, tables: dict[str, bytes]) -> None:
        """Raises ValueError for what is no document."""
        if len(main) < 0x200:
            raise ValueError("it has no document in it")
        self._main = main
        self._is_97 = struct.unpack_from("<H", main, 2)[0] >= WORD_97 and main[:2] == b"\xec\xa5"
        (flags,) = struct.unpack_from("<H", main, 0x0A)
        self.encrypted = bool(flags & HAS_PASSWORD)
        self.text, self.hidden = "", []
        self._table = tables.get("1Table" if flags & SECOND_TABLE else "0Table", b"") if self._is_97 else main
        if self.encrypted:
            return
        lengths = struct.unpack_from("<8i", main, 0x4C if self._is_97 else 0x34)
        self._edges = [0, *accumulate(max(length, 0) for length in lengths)]
        self._pieces = list(self._read_pieces(flags))
        self.text = self._joined()
        self._starts = [place for place, _, _, _ in self._pieces]
        self._paragraph_ends, self._layouts = self._paragraphs() if self._is_97 else ([], [])
        self.hidden = self._unseen() if self._is_97 else []

    def part(self, part: Part) -> tuple[int, int]:
        size = len(self.text)
        return min(self._edges[part], size), min(self._edges[part + 1], size)

    def headers(self) -> Iterator[tuple[int, int]]:
        yield from self._stories(Part.HEADERS, HEADER_STORIES)

    def comments(self) -> Iterator[tuple[int, int]]:
        yield from self._stories(Part.COMMENTS, COMMENT_TEXTS)

    def layout(self, place: int) -> Layout:
        """Of the paragraph whose mark is there."""
        index = bisect_right(self._starts, place) - 1
        if index < 0 or not self._layouts:
            return Layout()
        start, length, offset, width = self._pieces[index]
        at = bisect_right(self._paragraph_ends, offset + min(place - start, length) * width)
        return self._layouts[at] if at < len(self._layouts) else Layout()

    def _stories(self, part: Part, number: int) -> Iterator[tuple[int, int]]:
        begin, end = self.part(part)
        table = self._indexed(number)
        places = [begin + place for (place,) in struct.iter_unpack("<I", table[: len(table) // 4 * 4])]
        places = [place for place in places if place <= end]
        if not places and begin < end:
            yield begin, end
        for here, following in pairwise(places):
            yield here, max(here, following)

    def _indexed(self, number: int) -> bytes:
        place, size = struct.unpack_from("<II", self._main, (0x9A if self._is_97 else 0x58) + 8 * number)
        return self._table[place : place + size]

    def _read_pieces(self, flags: int) -> Iterator[tuple[int, int, int, int]]:
        """Where each begins in the text, its length, where its bytes are, and how many a character has."""
        found = _piece_table(self._indexed(PIECES)) if self._is_97 or flags & COMPLEX else b""
        count = (len(found) - 4) // 12
        if count <= 0:
            (begin, end) = struct.unpack_from("<II", self._main, 0x18)
            yield 0, max(min(end, len(self._main)) - begin, 0), begin, 1
            return
        places = struct.unpack_from(f"<{count + 1}I", found)
        total = 0
        for index in range(count):
            (offset,) = struct.unpack_from("<2xI2x", found, 4 * (count + 1) + 8 * index)
            width = 1 if not self._is_97 or offset & 0x40000000 else 2
            offset = (offset & 0x3FFFFFFF) // (2 if self._is_97 and width == 1 else 1)
            length = min(places[index + 1] - places[index], max(len(self._main) - offset, 0) // width)
            total += max(length, 0)
            if total > MAX_GROWTH * len(self._main):
                raise Unextractable("its pieces are more than the file")
            if length > 0:
                yield places[index], length, offset, width

    def _joined(self) -> str:
        mac = self._main[MACHINE] == 1
        old = 10000 if mac else _language_code_page(self._main[6], self._main[7])
        codec = "cp1252" if self._is_97 else codec_of(old)
        parts, end = [], 0
        for place, length, offset, width in self._pieces:
            data = self._main[offset : offset + length * width]
            text = data.decode(
                "utf-16-le" if width == 2 else codec, "surrogatepass" if width == 2 else "replace"
            )
            parts.append("\0" * min(place - end, len(self._main)) if place > end else "")
            parts.append(text)
            end = place + length
        return "".join(parts)

    def _pages(self, number: int) -> Iterator[tuple[bytes, int, list[int]]]:
        """Pages of properties: each with the count of its runs, and where these begin and end in the file."""
        table = self._indexed(number)
        count = (len(table) - 4) // 8
        seen = set()
        for index in range(max(count, 0)):
            (page,) = struct.unpack_from("<I", table, 4 * (count + 1) + 4 * index)
            start = (page & 0x3FFFFF) * PAGE_BYTES
            data = self._main[start : start + PAGE_BYTES]
            if start in seen or len(data) < PAGE_BYTES or data[-1] * 4 + 4 > PAGE_BYTES:
                continue
            seen.add(start)
            yield data, data[-1], list(struct.unpack_from(f"<{data[-1] + 1}I", data))

    def _paragraphs(self) -> tuple[list[int], list[Layout]]:
        found = []
        for page, count, edges in self._pages(PARAGRAPHS):
            for index in range(count):
                place = 4 * (count + 1) + 13 * index
                start = page[place] * 2 if place < PAGE_BYTES - 1 else 0
                found.append(
                    (edges[index + 1], _layout(_grouped(page, start)) if start else Layout(row_end=False))
                )
        found.sort(key=lambda item: item[0])
        return [end for end, _ in found], [layout for _, layout in found]

    def _unseen(self) -> list[tuple[int, int]]:
        spans = []
        for page, count, edges in self._pages(CHARACTERS):
            for index in range(count):
                place = 4 * (count + 1) + index
                start = page[place] * 2 if place < PAGE_BYTES - 1 else 0
                changes = dict(_changes(page[start + 1 : start + 1 + page[start]])) if start else {}
                if any(changes.get(kind, b"\0") == b"\1" for kind in (DELETED, HIDDEN)):
                    spans.append((edges[index], edges[index + 1]))
        spans.sort()
        return sorted(self._in_text(spans)) if spans else []

    def _in_text(self, spans: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
        """Spans of the file as those of the text."""
        starts = [begin for begin, _ in spans]
        for place, length, offset, width in self._pieces:
            last = offset + length * width
            for begin, end in spans[max(bisect_right(starts, offset) - 1, 0) : bisect_right(starts, last)]:
                here, following = max(begin, offset), min(end, last)
                if here < following:
                    yield place + (here - offset) // width, place + (following - offset) // width


def _language_code_page(language: int, variant: int) -> int:
    if language == CHINESE:
        return 950 if variant >> 2 in TRADITIONAL else 936
    return LANGUAGES.get(language, 1252)


def _piece_table(data: bytes) -> bytes:
    place = 0
    while place + 5 <= len(data):
        if data[place] == 2:
            return data[place + 5 : place + 5 + int.from_bytes(data[place + 1 : place + 5], "little")]
        if data[place] != 1:
            return b""
        place += 3 + int.from_bytes(data[place + 1 : place + 3], "little")
    return b""


def _grouped(page: bytes, start: int) -> bytes:
    """A paragraph's style and its changes."""
    if page[start]:
        return page[start + 1 : start + 2 * page[start]]
    return page[start + 2 : start + 2 + 2 * page[start + 1]] if start + 1 < len(page) else b""


def _layout(data: bytes) -> Layout:
    changes = dict(_changes(data[2:]))
    style = int.from_bytes(data[:2], "little")
    number = int.from_bytes(changes.get(LIST, b""), "little")
    return Layout(
        row_end=changes.get(ROW_END) == b"\1",
        in_table=changes.get(IN_TABLE) == b"\1",
        heading=style if 1 <= style <= 9 else 0,
        listed=0 < number < 0x7FF,
        list_level=int.from_bytes(changes.get(LIST_LEVEL, b""), "little"),
    )


def _changes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Each property that is changed, by its number ([MS-DOC], 2.6)."""
    place = 0
    while place + 2 <= len(data):
        (kind,) = struct.unpack_from("<H", data, place)
        place += 2
        size = SIZES[kind >> 13]
        if kind == 0xD608:
            size = int.from_bytes(data[place : place + 2], "little") + 1
        elif not size:
            size = 1 + (data[place] if place < len(data) else 0)
        yield kind, data[place : place + size]
        place += size
