"""Sheets of the old binary format (XLS): as those of XLSX. Cells are read by `xlrd`, what is beside them by us."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import xlrd
from xlrd.biffh import XL_CELL_BOOLEAN, XL_CELL_DATE, XL_CELL_ERROR, XL_CELL_NUMBER, XLRDError

from pgfolio.flows.extraction import binary_drawings, binary_records, number_formats
from pgfolio.flows.extraction.compound import ENCRYPTED, Compound
from pgfolio.flows.extraction.extracted import Unextractable
from pgfolio.flows.extraction.reading import Reading
from pgfolio.flows.extraction.signatures import COMPOUND
from pgfolio.flows.extraction.writing import Writer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgfolio.flows.extraction.number_formats import MomentFormat

MAX_EXACT: Final = 1e15
"""From here on a number has more digits than are shown."""

ERRORS: Final = {0: "#NULL!", 7: "#DIV/0!", 15: "#VALUE!", 23: "#REF!", 29: "#NAME?", 36: "#NUM!", 42: "#N/A"}


def read(data: bytes) -> Reading:
    """Raises Unextractable for a workbook with a password, and whatever broken bytes make the library raise."""
    properties: dict[str, Any] = {}
    if data.startswith(COMPOUND):
        compound = Compound(data)
        properties = compound.properties()
        data = compound.stream("Workbook") or compound.stream("Book")
    out, names = Writer(), []
    for name, inner in _sheets(data):
        names.append(name)
        if len(inner):
            out.heading(2, name)
            out.extend(inner)
    return Reading(out.text(), properties | ({"sheet_names": names} if names else {}))


def _sheets(stream: bytes) -> Iterator[tuple[str, Writer]]:
    book = _OldBook(stream)
    drawn = binary_drawings.by_sheet(stream)
    for index, name in enumerate(book.names):
        inner = Writer()
        inner.sheet(book.rows(index))
        if name in drawn:
            inner.extend(drawn.pop(name))
        book.forget(index)
        yield name, inner
    yield from drawn.items()


class _OldBook:
    """A workbook whose sheets are read one by one."""

    def __init__(self, stream: bytes) -> None:
        self._book = _opened(stream)
        self.names: list[str] = self._book.sheet_names()
        self._displays: dict[int, MomentFormat | None] = {}

    def rows(self, index: int) -> Iterator[list[str]]:
        """Without the columns that are empty in all rows."""
        sheet = self._book.sheet_by_index(index)
        used = sorted({column for row in range(sheet.nrows) for column in self._used(sheet, row)})
        for row in range(sheet.nrows):
            width = sheet.row_len(row)
            yield [self._text(sheet, row, column) if column < width else "" for column in used]

    def forget(self, index: int) -> None:
        self._book.unload_sheet(index)

    @staticmethod
    def _used(sheet: Any, row: int) -> Iterator[int]:
        return (column for column, value in enumerate(sheet.row_values(row)) if value != "")

    def _text(self, sheet: Any, row: int, column: int) -> str:
        kind, value = sheet.cell_type(row, column), sheet.cell_value(row, column)
        if kind == XL_CELL_BOOLEAN:
            return "TRUE" if value else "FALSE"
        if kind == XL_CELL_ERROR:
            return ERRORS.get(value, "")
        if kind not in (XL_CELL_NUMBER, XL_CELL_DATE):
            return str(value)
        what = self._display(sheet, row, column)
        moment = number_formats.moment(value, what, from_1904=bool(self._book.datemode)) if what else None
        return moment if moment is not None else _number(value)

    def _display(self, sheet: Any, row: int, column: int) -> MomentFormat | None:
        style = sheet.cell_xf_index(row, column)
        if style not in self._displays:
            key = self._book.xf_list[style].format_key if style < len(self._book.xf_list) else 0
            known = self._book.format_map.get(key)
            self._displays[style] = number_formats.display(key, known.format_str if known else None)
        return self._displays[style]


def _number(value: float) -> str:
    if value.is_integer() and abs(value) < MAX_EXACT:
        return str(int(value))
    return number_formats.plain(repr(value))


class _Silent:
    """The library's warnings are of what it could read all the same."""

    def write(self, text: str) -> int:
        return len(text)


def _opened(stream: bytes) -> Any:
    try:
        return xlrd.open_workbook(
            file_contents=binary_records.seen(stream) if binary_records.version(stream) else stream,
            formatting_info=True,
            on_demand=True,
            ragged_rows=True,
            logfile=_Silent(),
        )
    except XLRDError as error:
        if "encrypted" in str(error):
            raise Unextractable(ENCRYPTED) from error
        raise
