"""Comments, text boxes and charts of the old binary sheets (XLS, from Excel 97 on), which stand beside the cells."""

from __future__ import annotations

import struct

import xlrd

from pgfolio.flows.extraction import binary_records, number_formats
from pgfolio.flows.extraction.writing import Writer

SERIES, SERIES_TEXT, BEGIN, END, INDEX, LABEL, NUMBER = 0x1003, 0x100D, 0x1033, 0x1034, 0x1065, 0x204, 0x203
CHART, COMMENT_BOX = 0x20, 0x19
"""The type of a part of the stream, and that of a box that holds a comment."""

VALUES, CATEGORIES = 1, 2


def by_sheet(stream: bytes) -> dict[str, Writer]:
    """What is drawn on each sheet that has any of it; nothing of what is older than Excel 97."""
    found = {}
    if binary_records.version(stream) == binary_records.EXCEL_97:
        for name, place in binary_records.sheets(stream):
            drawn = _Sheet()
            drawn.read(stream, place)
            drawn.write(out := Writer())
            if len(out):
                found[name] = out
    return found


class _Sheet:
    def __init__(self) -> None:
        self._boxes = Writer()
        self._texts: dict[int, str] = {}
        self._comments: dict[tuple[int, int], int] = {}
        self._object = (0, 0)
        self._expected = 0
        self._text = ""

    def read(self, stream: bytes, place: int) -> None:
        chart = _Chart()
        for kind, start, size in binary_records.records(stream, place):
            if kind == binary_records.BOF and size >= 4:
                chart.inside = int.from_bytes(stream[start + 2 : start + 4], "little") == CHART
            elif kind == binary_records.EOF:
                chart.write(self._boxes)
                chart = _Chart()
            elif kind == binary_records.OBJECT and size >= 8:
                self._object = struct.unpack_from("<HH", stream, start + 4)
            elif kind == binary_records.NOTE and size >= 8:
                row, column, _, box = struct.unpack_from("<HHHH", stream, start)
                self._comments[row, column] = box
            elif kind == binary_records.TEXT_OBJECT and size >= 12:
                (self._expected,) = struct.unpack_from("<H", stream, start + 10)
                self._text = ""
            elif kind == binary_records.CONTINUE and self._expected > 0 and size:
                self._more(stream, start, size)
            elif chart.inside:
                chart.take(kind, stream[start : start + size])

    def _more(self, stream: bytes, start: int, size: int) -> None:
        wide = stream[start] & 1
        length = min(self._expected, (size - 1) // (1 + wide))
        self._text += binary_records.string(stream, start + 1, wide, length)
        self._expected -= max(length, 1)
        if self._expected > 0:
            return
        kind, number = self._object
        if kind == COMMENT_BOX:
            self._texts[number] = self._text
        else:
            self._boxes.paragraph(self._text)

    def write(self, out: Writer) -> None:
        """The comments first, as beside the cells of other sheets."""
        for (row, column), box in sorted(self._comments.items()):
            if said := " ".join(self._texts.get(box, "").split()):
                out.paragraph(f"Comment on {xlrd.cellname(row, column)}: {said}")
        out.extend(self._boxes)


class _Chart:
    """Its titles as paragraphs, and what it shows as a table: the series side by side."""

    def __init__(self) -> None:
        self.inside = False
        self._titles: list[str] = []
        self._names: dict[int, str] = {}
        self._categories: dict[int, str] = {}
        self._values: dict[int, dict[int, str]] = {}
        self._level = 0
        self._series_level = -1
        self._series = -1
        self._index = 0

    def take(self, kind: int, body: bytes) -> None:
        if kind == BEGIN:
            self._level += 1
        elif kind == END:
            self._level -= 1
            if self._level <= self._series_level:
                self._series_level = -1
        elif kind == SERIES:
            self._series, self._series_level = self._series + 1, self._level
        elif kind == SERIES_TEXT and len(body) >= 4:
            self._named(binary_records.string(body, 4, body[3], body[2]))
        elif kind == INDEX and len(body) >= 2:
            (self._index,) = struct.unpack_from("<H", body)
        elif kind == LABEL and len(body) >= 9:
            row, column, _, length, wide = struct.unpack_from("<HHHHB", body)
            self._point(row, column, binary_records.string(body, 9, wide, length))
        elif kind == NUMBER and len(body) >= 14:
            row, column, _, value = struct.unpack_from("<HHHd", body)
            self._point(row, column, number_formats.plain(repr(value).removesuffix(".0")))

    def _named(self, text: str) -> None:
        if self._series_level >= 0:
            self._names.setdefault(self._series, text)
        else:
            self._titles.append(text)

    def _point(self, row: int, column: int, text: str) -> None:
        if self._index == CATEGORIES:
            self._categories.setdefault(row, text)
        elif self._index == VALUES:
            self._values.setdefault(row, {})[column] = text

    def write(self, out: Writer) -> None:
        if not self.inside:
            return
        for title in self._titles:
            out.paragraph(title)
        columns = sorted({column for row in self._values.values() for column in row} | self._names.keys())
        rows = sorted(self._categories.keys() | self._values.keys())
        out.table(
            [
                ["", *(self._names.get(column, "") for column in columns)],
                *(
                    [self._categories.get(row, ""), *(self._values.get(row, {}).get(c, "") for c in columns)]
                    for row in rows
                ),
            ]
        )
