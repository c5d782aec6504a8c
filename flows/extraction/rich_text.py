"""Rich text (RTF): paragraphs, tables, headers, footers, notes and comments; of a field its result."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final

from pgfolio.flows.extraction.reading import Reading
from pgfolio.flows.extraction.writing import Writer

_TOKEN: Final = re.compile(
    rb"\\(?:([A-Za-z]{1,32})(-?\d{1,10})? ?|'([0-9A-Fa-f]{2})|(.))|([{}])|([^\\{}\r\n]+)", re.DOTALL
)
SKIPPED: Final = frozenset(
    """
    atnauthor atnid atnref bkmkend bkmkstart colortbl datafield datastore fldinst filetbl generator latentstyles
    listoverridetable listtable nonshppict objdata pgdsctbl pict revtbl rsidtbl sn sp stylesheet tc themedata
    colorschememapping xe xmlnstbl
    """.split()  # noqa: SIM905 - a line for each else
)
STARRED: Final = frozenset({"annotation", "shpinst", "shptxt"})
"""Destinations that older readers may leave out, and we do not."""

ASIDE: Final = frozenset({"annotation", "footer", "footerf", "footerl", "footerr", "footnote", "header", "headerf",
                          "headerl", "headerr", "shptxt"})  # fmt: skip
SEPARATE: Final = frozenset({"author", "fonttbl", "info", "title"})
SIGNS: Final = {
    "tab": "\t", "line": "\n", "emdash": "—", "endash": "–", "lquote": "‘", "rquote": "’", "ldblquote": "“",  # noqa: RUF001
    "rdblquote": "”", "bullet": "•", "emspace": " ", "enspace": " ", "nestcell": " ", "nestrow": "\n",
}  # fmt: skip
MARKS: Final = {
    b"~": " ",
    b"_": "-",
    b"\\": "\\",
    b"{": "{",
    b"}": "}",
    b"\n": "\n",
    b"\r": "\n",
    b"\t": "\t",
}
CODE_PAGES: Final = {77: "mac_roman", 128: "cp932", 129: "cp949", 134: "gb18030", 136: "cp950", 161: "cp1253",
                     162: "cp1254", 163: "cp1258", 177: "cp1255", 178: "cp1256", 186: "cp1257", 204: "cp1251",
                     222: "cp874", 238: "cp1250"}  # fmt: skip
"""By the charset of a font."""


@dataclass(frozen=True, slots=True)
class _Group:
    """What a group sets holds until it ends. `destination` is empty for the text, "-" for what is no text."""

    destination: str = ""
    font: int = -1
    unicode_skip: int = 1
    hidden: bool = False


def read(data: bytes) -> Reading:
    reader = _RichText()
    reader.read(data)
    return Reading(reader.writer.text(), reader.properties)


class _RichText:
    def __init__(self) -> None:
        self.writer = Writer()
        self.properties: dict[str, object] = {}
        self._group = _Group()
        self._groups: list[tuple[_Group, list[str]]] = []
        self._parts: list[str] = []
        self._bytes = bytearray()
        self._code_page = "cp1252"
        self._fonts: dict[int, str] = {}
        self._cells: list[str] = []
        self._rows: list[list[str]] = []
        self._in_table = False
        self._level = 9
        self._left_out = 0
        self._starred = False
        self._headers, self._footers = Writer(), Writer()

    def read(self, data: bytes) -> None:
        for match in _TOKEN.finditer(data):
            word, number, octet, mark, brace, text = match.groups()
            if octet or text:
                self._octets(bytes([int(octet, 16)]) if octet else text)
                continue
            self._decode()
            if brace == b"{":
                self._groups.append((self._group, self._parts))
            elif brace:
                self._close()
            elif mark == b"*":
                self._starred = True
            elif word:
                self._word(word.decode(), int(number) if number else None)
                self._starred = False
            elif mark in MARKS:
                self._put(MARKS[mark])
        self._decode()
        while self._groups:
            self._close()
        self._paragraph()
        self._table()
        self.writer.insert(self._headers)
        self.writer.extend(self._footers)

    def _octets(self, octets: bytes) -> None:
        left_out = min(self._left_out, len(octets))
        self._left_out -= left_out
        if not self._group.hidden and self._group.destination not in ("-", "fonttbl", "info"):
            self._bytes += octets[left_out:]

    def _decode(self) -> None:
        if self._bytes:
            code_page = self._fonts.get(self._group.font, self._code_page)
            self._parts.append(self._bytes.decode(code_page, "replace"))
            self._bytes.clear()

    def _put(self, text: str) -> None:
        if not self._group.hidden and self._group.destination not in ("-", "fonttbl", "info"):
            self._parts.append(text)

    def _word(self, word: str, number: int | None) -> None:
        if (self._starred and word not in STARRED) or word in SKIPPED:
            self._group = replace(self._group, destination="-")
        elif self._group.destination == "-":
            return
        elif word in ASIDE or word in SEPARATE:
            self._group = replace(self._group, destination=word)
            self._parts = []
        elif word in SIGNS:
            self._put(SIGNS[word])
        elif word == "u" and number is not None:
            self._put(chr(number % 65536))
            self._left_out = self._group.unicode_skip
        elif word == "uc":
            self._group = replace(self._group, unicode_skip=max(number or 0, 0))
        elif word in ("v", "deleted"):
            self._group = replace(self._group, hidden=number != 0)
        elif word == "plain":
            self._group = replace(self._group, hidden=False)
        elif word == "f":
            self._group = replace(self._group, font=number or 0)
        elif word == "fcharset" and number in CODE_PAGES:
            self._fonts[self._group.font] = CODE_PAGES[number]
        elif word == "ansicpg" and number and number not in (0, 65001):
            self._code_page = _known(f"cp{number}")
        elif word == "mac":
            self._code_page = "mac_roman"
        elif self._group.destination in SEPARATE:
            return
        else:
            self._layout(word, number)

    def _layout(self, word: str, number: int | None) -> None:
        aside = self._group.destination != ""
        if word in ("par", "sect", "page"):
            if aside or self._in_table:
                self._put("\n")
            else:
                self._paragraph()
        elif word == "cell" and not aside:
            self._cells.append("".join(self._parts))
            self._parts.clear()
        elif word == "row" and not aside:
            self._rows.append(self._cells)
            self._cells = []
            self._in_table = False
        elif word == "intbl":
            self._in_table = self._in_table or not aside
        elif word == "pard" and not aside:
            self._in_table, self._level = False, 9
        elif word == "outlinelevel" and number is not None and not aside:
            self._level = number

    def _paragraph(self) -> None:
        text = _joined(self._parts)
        self._parts.clear()
        if not text.strip():
            return
        self._table()
        if self._level < 9:
            self.writer.heading(self._level + 1, text)
        else:
            self.writer.paragraph(text)

    def _table(self) -> None:
        if self._cells:
            self._rows.append(self._cells)
            self._cells = []
        self.writer.table([_joined([cell]) for cell in row] for row in self._rows)
        self._rows = []

    def _close(self) -> None:
        if not self._groups:
            return
        destination, text = self._group.destination, _joined(self._parts)
        before, parts = self._groups.pop()
        self._group = before
        if before.destination == destination:
            return
        if destination == "title" and text.strip():
            self.properties["title"] = text.strip()
        elif destination == "author" and text.strip():
            self.properties["authors"] = [text.strip()]
        elif destination in ASIDE:
            out = self._headers if destination.startswith("header") else self.writer
            out = self._footers if destination.startswith("foot") else out
            out.paragraph(
                f"Comment: {text.strip()}" if destination == "annotation" and text.strip() else text
            )
        if destination in ASIDE or destination in SEPARATE:
            self._parts = parts


def _joined(parts: list[str]) -> str:
    """Halves of surrogate pairs, which the format writes one by one, become the sign that they are."""
    text = "".join(parts)
    if any("\ud800" <= sign <= "\udfff" for sign in text):
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def _known(code_page: str) -> str:
    try:
        "".encode(code_page)
    except LookupError:
        return "cp1252"
    return code_page
