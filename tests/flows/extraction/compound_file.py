"""Builds small compound files (OLE2), and what stands in them: records of sheets, properties of mails."""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

from pgfolio.flows.extraction.extract import extract
from pgfolio.flows.extraction.extracted import Unextractable

if TYPE_CHECKING:
    from collections.abc import Iterator

FREE, END, FAT = 0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFFFD
SECTOR, SMALL, CUTOFF = 512, 64, 4096
STORAGE, STREAM, ROOT = 1, 2, 5


@dataclass
class _Entry:
    name: str
    kind: int
    data: bytes = b""
    children: list[_Entry] = field(default_factory=list)
    child: int = FREE
    right: int = FREE
    start: int = END
    size: int = 0

    def packed(self) -> bytes:
        name = self.name.encode("utf-16-le") + b"\0\0"
        head = name.ljust(64, b"\0") + struct.pack(
            "<HBBIII", len(name), self.kind, 1, FREE, self.right, self.child
        )
        return head + bytes(36) + struct.pack("<IQ", self.start, self.size)


def compound(streams: dict[str, bytes]) -> bytes:
    """By their paths, whose parts a slash divides."""
    root = _Entry("Root Entry", ROOT)
    entries, folders = [root], {"": root}
    for path, data in streams.items():
        parts = path.split("/")
        for depth in range(1, len(parts) + 1):
            here = "/".join(parts[:depth])
            if here not in folders:
                folders[here] = _Entry(parts[depth - 1], STORAGE)
                folders["/".join(parts[: depth - 1])].children.append(folders[here])
                entries.append(folders[here])
        folders[path].kind, folders[path].data = STREAM, data
    for entry in entries:
        places = [entries.index(child) for child in entry.children]
        entry.child = places[0] if places else FREE
        for place, following in pairwise([*places, FREE]):
            entries[place].right = following
    small = b""
    small_table: list[int] = []
    for entry in entries[1:]:
        if entry.kind == STREAM and len(entry.data) < CUTOFF:
            entry.size, count = len(entry.data), -(-len(entry.data) // SMALL)
            entry.start = len(small_table) if count else END
            small_table += [*range(len(small_table) + 1, len(small_table) + count), END][:count]
            small += entry.data.ljust(count * SMALL, b"\0")
    root.data = small
    table: list[int] = []
    body = b""

    def put(data: bytes) -> int:
        nonlocal body
        count = -(-len(data) // SECTOR)
        start = len(table) if count else END
        table.extend([*range(len(table) + 1, len(table) + count), END][:count])
        body += data.ljust(count * SECTOR, b"\0")
        return start

    for entry in entries:
        if entry is root or (entry.kind == STREAM and len(entry.data) >= CUTOFF):
            entry.start, entry.size = put(entry.data), len(entry.data)
    packed = b"".join(entry.packed() for entry in entries)
    directory = put(packed + bytes(-len(packed) % SECTOR))
    small_start = put(struct.pack(f"<{len(small_table)}I", *small_table).ljust(SECTOR, b"\xff"))
    fats = -(-(len(table) + 8) // 128)
    table += [FAT] * fats
    fat = struct.pack(f"<{len(table)}I", *table).ljust(fats * SECTOR, b"\xff")
    first = len(table) - fats
    header = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(16) + struct.pack("<HHHHH6x", 0x3E, 3, 0xFFFE, 9, 6)
    header += struct.pack("<IIIIIIIII", 0, fats, directory, 0, CUTOFF, small_start, 1, END, 0)
    header += struct.pack(f"<{fats}I", *range(first, first + fats)).ljust(436, b"\xff")
    return header + body + fat


def record(kind: int, body: bytes = b"") -> bytes:
    """Of a sheet ([MS-XLS])."""
    return struct.pack("<HH", kind, len(body)) + body


def wide(text: str) -> bytes:
    return b"\1" + text.encode("utf-16-le")


def workbook(
    cells: bytes,
    formats: tuple[str, ...] = (),
    strings: tuple[str, ...] = (),
    *,
    more: bytes = b"",
    summary: bytes = b"",
) -> bytes:
    """One sheet named R&D. The style 15 shows a number as it is; those after it have the formats."""
    head = (
        record(0x809, struct.pack("<HHHHII", 0x600, 5, 0, 0, 0, 0))
        + record(0x42, struct.pack("<H", 1200))
        + more
    )
    for number, code in enumerate(formats):
        head += record(0x41E, struct.pack("<HH", 164 + number, len(code)) + wide(code))
    for number in [0] * 16 + [164 + number for number in range(len(formats))]:
        head += record(0xE0, struct.pack("<HHH14x", 0, number, 1))
    shared = b"".join(struct.pack("<H", len(text)) + wide(text) for text in strings)
    tail = record(0xFC, struct.pack("<II", len(strings), len(strings)) + shared) + record(0x0A)
    sheet = record(0x809, struct.pack("<HHHHII", 0x600, 0x10, 0, 0, 0, 0)) + cells + record(0x0A)
    name = bytes([3]) + wide("R&D")
    start = len(head) + len(tail) + len(record(0x85, bytes(6) + name))
    book = head + record(0x85, struct.pack("<IBB", start, 0, 0) + name) + tail + sheet
    return compound({"Workbook": book, "\x05SummaryInformation": summary})


def number(row: int, column: int, value: float, style: int = 15) -> bytes:
    return record(0x203, struct.pack("<HHHd", row, column, style, value))


def shared(row: int, column: int, place: int) -> bytes:
    return record(0xFD, struct.pack("<HHHI", row, column, 15, place))


def truth(row: int, column: int, value: int, *, error: bool = False) -> bytes:
    return record(0x205, struct.pack("<HHHBB", row, column, 15, value, error))


def box(number: int, text: str, kind: int = 6) -> bytes:
    """A text box; the kind 25 is that of a comment."""
    return (
        record(0x5D, struct.pack("<HHHH14x", 0x15, 0x12, kind, number))
        + record(0x1B6, struct.pack("<HH6xHH4x", 0, 0, len(text), 16))
        + record(0x3C, wide(text))
        + record(0x3C, bytes(16))
    )


def comment(row: int, column: int, place: int) -> bytes:
    return record(0x1C, struct.pack("<HHHHHB", row, column, 0, place, 1, 0) + b"A\0")


def properties(head_bytes: int, **values: bytes | int) -> bytes:
    """The table of a mail, by `p` and the number of each property in hexadecimal digits."""
    table = bytes(head_bytes)
    for name, value in values.items():
        packed = value.to_bytes(8, "little") if isinstance(value, int) else value.ljust(8, b"\0")
        table += struct.pack("<HHI", 0x40 if len(packed) > 8 else 3, int(name[1:], 16), 6) + packed
    return table


def text_streams(place: str = "", **texts: str | bytes) -> dict[str, bytes]:
    """Of a mail: texts as UTF-16, bytes as they are, by `p`, number and type in hexadecimal digits."""
    return {
        f"{place}__substg1.0_{name[1:].upper()}": text.encode("utf-16-le") if isinstance(text, str) else text
        for name, text in texts.items()
    }


def broken(sound: bytes, count: int) -> Iterator[bytes]:
    """The file with one to eight bytes that are others, each time."""
    chosen = random.Random(7)
    for _ in range(count):
        data = bytearray(sound)
        for _ in range(chosen.randint(1, 8)):
            data[chosen.randrange(8, len(data))] = chosen.choice([0, 1, 0x7F, 0xFF, chosen.randrange(256)])
        yield bytes(data)


def text_or_reason(name: str, data: bytes) -> str:
    try:
        return extract(name, data).text
    except Unextractable as error:
        return str(error)
