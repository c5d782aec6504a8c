"""What an old binary document says of itself ([MS-OLEPS]). `olefile` itself counts as far as a broken file says."""

from __future__ import annotations

import struct
from datetime import UTC, datetime, timedelta
from typing import Any, Final

NAMES: Final = {
    2: "title",
    3: "subject",
    4: "created_by",
    5: "keywords",
    6: "description",
    8: "modified_by",
    12: "created_at",
    13: "modified_at",
}
CODE_PAGE: Final = 1
SHORT, OCTETS, UNICODE, MOMENT = 2, 30, 31, 64
MAX_PROPERTIES: Final = 100
EPOCH: Final = datetime(1601, 1, 1, tzinfo=UTC)


def read(data: bytes) -> tuple[dict[str, Any], int]:
    """By the names that the metadata of all documents has: texts as bytes or decoded, moments as ISO 8601; and the
    code page of the bytes. Raises struct.error for what is cut off."""
    if len(data) < 48:
        return {}, 0
    (section,) = struct.unpack_from("<I", data, 44)
    (count,) = struct.unpack_from("<I", data, section + 4)
    found: dict[str, Any] = {}
    code_page = 0
    for index in range(min(count, MAX_PROPERTIES)):
        number, place = struct.unpack_from("<II", data, section + 8 + 8 * index)
        kind, value = struct.unpack_from("<II", data, section + place)
        start = section + place + 8
        if number == CODE_PAGE and kind == SHORT:
            code_page = value & 0xFFFF
        elif number not in NAMES:
            continue
        elif kind == OCTETS:
            found[NAMES[number]] = data[start : start + value]
        elif kind == UNICODE:
            found[NAMES[number]] = data[start : start + 2 * value].decode("utf-16-le", "replace")
        elif kind == MOMENT:
            found[NAMES[number]] = _moment(struct.unpack_from("<Q", data, start - 4)[0])
    return found, code_page


def _moment(ticks: int) -> str:
    try:
        return (EPOCH + timedelta(microseconds=ticks // 10)).isoformat() if ticks else ""
    except OverflowError:
        return ""
