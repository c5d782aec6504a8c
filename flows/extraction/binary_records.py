"""The records of the old binary sheets (XLS, from Excel 5 on) that hold what is seen ([MS-XLS], 2.3.1).

All others are taken out before `xlrd` reads a workbook: it evaluates the formulas of names, and refuses a sheet for
what is wrong in the record of a printer.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

BOF, EOF, CONTINUE, BOUND_SHEET, NOTE, OBJECT, TEXT_OBJECT = 0x809, 0x0A, 0x3C, 0x85, 0x1C, 0x5D, 0x1B6
VISIBLE: Final = frozenset({
    BOF, EOF, CONTINUE, BOUND_SHEET,
    0x06, 0x203, 0x204, 0x205, 0x207, 0x27E, 0xBD, 0xD6, 0xFD,  # formulas, numbers, texts, truth values and errors
    0x221, 0x4BC, 0x236, 0x36, 0x37,  # what stands between a formula and its text
    0x200, 0xFC, 0x41E, 0xE0, 0x22, 0x42, 0x2F,  # sizes, shared texts, formats, 1904, code page, password
})  # fmt: skip
IGNORED: Final = 0x1FFF
"""The kind of a record that the library does not know."""

WORKSHEET, MACRO_SHEET, EXCEL_97, EXCEL_5 = 0x10, 0x40, 0x600, 0x500


def version(stream: bytes) -> int:
    """0 before Excel 5, whose records are others."""
    if len(stream) < 8 or int.from_bytes(stream[:2], "little") != BOF:
        return 0
    said = int.from_bytes(stream[4:6], "little")
    return said if said in (EXCEL_5, EXCEL_97) else 0


def records(stream: bytes, place: int = 0) -> Iterator[tuple[int, int, int]]:
    """Kind, place and size of each, until what begins there has ended, with the parts within it."""
    depth = 0
    while place + 4 <= len(stream):
        kind, size = struct.unpack_from("<HH", stream, place)
        depth += (kind == BOF) - (kind == EOF)
        yield kind, place + 4, min(size, len(stream) - place - 4)
        place += 4 + size
        if depth <= 0:
            return


def sheets(stream: bytes) -> Iterator[tuple[str, int]]:
    """The name of each and where it begins, from Excel 97 on. A place that several name comes once."""
    places = set()
    for kind, place, size in records(stream):
        if kind == BOUND_SHEET and size >= 8:
            (start,) = struct.unpack_from("<I", stream, place)
            if start not in places:
                places.add(start)
                yield string(stream, place + 8, stream[place + 7], stream[place + 6]), start


def string(data: bytes, place: int, wide: int, length: int) -> str:
    if wide & 1:
        return data[place : place + 2 * length].decode("utf-16-le", "replace")
    return data[place : place + length].decode("latin-1")


def seen(stream: bytes) -> bytes:
    """The stream with no records but the visible ones; a sheet of macros as one of cells."""
    out = bytearray(stream)
    place = 0
    while place + 4 <= len(out):
        kind, size = struct.unpack_from("<HH", out, place)
        if kind not in VISIBLE:
            struct.pack_into("<H", out, place, IGNORED)
        elif kind == BOUND_SHEET and size >= 6 and out[place + 9 : place + 10] == b"\1":
            out[place + 9] = 0
        elif kind == BOF and out[place + 6 : place + 8] == bytes([MACRO_SHEET, 0]):
            out[place + 6] = WORKSHEET
        place += 4 + size
    return bytes(out)
