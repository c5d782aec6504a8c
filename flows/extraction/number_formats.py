"""Numbers of a sheet that are dates and times, as ISO 8601: what the program shows by its number formats. Pure."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Final, NamedTuple

BUILT_IN: Final = {
    **dict.fromkeys((14, 15, 16, 17, *range(27, 32), 34, 35, 36, *range(50, 59)), "yyyy-mm-dd"),
    **dict.fromkeys((18, 20), "h:mm"),
    **dict.fromkeys((19, 21, 32, 33, 45, 47), "h:mm:ss"),
    22: "yyyy-mm-dd h:mm",
    32: "h:mm",
    46: "[h]:mm:ss",
}
"""Those that a file names by their number only; from 27 on the East Asian ones."""

_DAY_CELL: Final = re.compile(r"(?<=\| )(\d{4}-\d\d-\d\d) 00:00:00(?= \|)")
_TIME_CELL: Final = re.compile(r"(?<=\| )1899-12-3[01] (\d\d:\d\d:\d\d)(?= \|)")
_LONG_CELL: Final = re.compile(r"(?<=\| )-?\d+\.\d{12,}(?= \|)")
_NO_CODE: Final = re.compile(r'"[^"]*"|\\.|_.|\*.|\[(?![hmsHMS]+\])[^\]]*\]')
_ELAPSED: Final = re.compile(r"\[[hms]+\]", re.IGNORECASE)
_LAST_DAY: Final = 2_958_465
FEW: Final = 15
"""Characters of a number that is as short as it can be."""

FIRST_CUSTOM: Final = 164
_OUR_DAYS: Final = range(29_221, 54_788)
"""From 1980 to 2049: where the format is lost, a whole number of these is taken for a date."""


class MomentFormat(NamedTuple):
    """What of a moment a format shows."""

    date: bool
    time: bool
    seconds: bool
    elapsed: bool
    lost: bool = False
    """The file names a format that it does not have."""


def display(number: int, code: str | None) -> MomentFormat | None:
    """By the number of a format, and its code where the file has one; None for plain numbers."""
    if code is None and number >= FIRST_CUSTOM:
        return MomentFormat(date=True, time=False, seconds=False, elapsed=False, lost=True)
    code = BUILT_IN.get(number) if code is None else code
    if not code or code.lower() == "general":
        return None
    plain = _NO_CODE.sub("", code.split(";")[0]).lower()
    if _ELAPSED.search(plain):
        return MomentFormat(date=False, time=True, seconds="s" in plain, elapsed=True)
    date = bool(re.search("[ydegb\u5e74\u6708\u65e5]", plain.replace("general", "")))
    time = bool(re.search("[hs]|am/pm", plain))
    if not date and not time and not re.search("m", plain):
        return None
    if not date and not time:
        date = True
    return MomentFormat(
        date=date or bool(re.search("m{3}", plain)), time=time, seconds="s" in plain, elapsed=False
    )


def moment(serial: float, what: MomentFormat, *, from_1904: bool) -> str | None:
    """None for a number that no calendar has."""
    if not 0 <= serial <= _LAST_DAY or (what.lost and not (serial.is_integer() and serial in _OUR_DAYS)):
        return None
    if what.elapsed:
        total = round(serial * 86400)
        clock = f"{total // 3600}:{total // 60 % 60:02}"
        return f"{clock}:{total % 60:02}" if what.seconds else clock
    days, rest = divmod(round(serial * 86400), 86400)
    days += 1462 if from_1904 else 0
    clock = f"{rest // 3600:02}:{rest // 60 % 60:02}" + (f":{rest % 60:02}" if what.seconds else "")
    if not what.date or (days < 1 and what.time):
        return clock
    if days < 1:
        return None
    # The program takes 1900 for a leap year: its day 60 is the 29th of February.
    day = datetime(1899, 12, 30) + timedelta(days=days + (days < 60))  # noqa: DTZ001 - days have no zone
    written = f"{day:%Y-%m-%d}" if days != 60 else "1900-02-29"
    return f"{written} {clock}" if what.time else written


def plain(text: str) -> str:
    """A number without what its floating point adds: the program shows no more than 15 digits."""
    if text.isdigit() or (len(text) < FEW and "." in text and text[-1] != "0" and "e" not in text.lower()):
        return text
    try:
        number = float(text)
    except ValueError:
        return text
    short = f"{number:.15g}"
    if "e" in short and 1e-7 < abs(number) < 1e21:
        short = f"{number:.20f}".rstrip("0").rstrip(".") if abs(number) < 1 else f"{number:.0f}"
    return short


def displayed_cells(table: str) -> str:
    """Markdown tables of a library that writes a day as its midnight, a time as that of the first day that it knows,
    and a number with all that floating point adds."""
    table = _TIME_CELL.sub(r"\1", _DAY_CELL.sub(r"\1", table))
    return _LONG_CELL.sub(lambda match: plain(match[0]), table)
