"""Unpacks the rich text of Outlook's mails ([MS-OXRTFCP])."""

from __future__ import annotations

import struct
from typing import Final

COMPRESSED, PLAIN = b"LZFu", b"MELA"
PRELOADED: Final = (
    b"{\\rtf1\\ansi\\mac\\deff0\\deftab720{\\fonttbl;}{\\f0\\fnil \\froman \\fswiss \\fmodern \\fscript "
    b"\\fdecor MS Sans SerifSymbolArialTimes New RomanCourier{\\colortbl\\red0\\green0\\blue0\r\n\\par "
    b"\\pard\\plain\\f0\\fs20\\b\\i\\u\\tab\\tx"
)
WINDOW: Final = 4096


def unpacked(data: bytes) -> bytes:
    """At most nine times as many bytes. Empty for what is no such text; what is cut off ends where it does."""
    if len(data) < 16:
        return b""
    size, mark = struct.unpack_from("<4xI4s", data)
    if mark == PLAIN:
        return data[16 : 16 + size]
    return _unpacked(data, 16)[:size] if mark == COMPRESSED else b""


def _unpacked(data: bytes, place: int) -> bytes:
    window = bytearray(PRELOADED.ljust(WINDOW, b" "))
    write, out = len(PRELOADED), bytearray()
    while place < len(data):
        flags, place = data[place], place + 1
        for bit in range(8):
            if not flags >> bit & 1:
                found = data[place : place + 1]
                place += 1
            elif place + 2 > len(data):
                return bytes(out)
            else:
                word = data[place] << 8 | data[place + 1]
                place += 2
                start, length = word >> 4, (word & 15) + 2
                if start == write:
                    return bytes(out)
                found = _repeated(window, start, write, length)
            for octet in found:
                window[write] = octet
                write = (write + 1) % WINDOW
            out += found
    return bytes(out)


def _repeated(window: bytearray, start: int, write: int, length: int) -> bytes:
    """What is referred to may reach into what it makes."""
    found = bytearray()
    for step in range(length):
        place = (start + step) % WINDOW
        ahead = (place - write) % WINDOW
        found.append(found[ahead] if ahead < step else window[place])
    return bytes(found)
