"""The labels of a Word document's lists and numbered headings: "2.1", "b)", or a dash for a bullet."""

from __future__ import annotations

import re
from typing import Any, Final

from pgfolio.flows.extraction.package import attribute, child, children

ROMAN: Final = (
    (1000, "m"), (900, "cm"), (500, "d"), (400, "cd"), (100, "c"), (90, "xc"), (50, "l"), (40, "xl"),
    (10, "x"), (9, "ix"), (5, "v"), (4, "iv"), (1, "i"),
)  # fmt: skip
BULLET: Final = "-"


class Numbering:
    """Counts as the document is read: each list by its id and level."""

    def __init__(self, root: Any) -> None:
        self._levels: dict[str, list[tuple[str, str, int]]] = {}
        self._lists: dict[str, str] = {}
        self._counts: dict[str, list[int]] = {}
        if root is None:
            return
        for abstract in children(root, "abstractNum"):
            self._levels[attribute(abstract, "abstractNumId") or ""] = [
                (_value(level, "numFmt"), _value(level, "lvlText"), _number(_value(level, "start"), 1))
                for level in children(abstract, "lvl")
            ]
        for item in children(root, "num"):
            self._lists[attribute(item, "numId") or ""] = _value(item, "abstractNumId")

    def label(self, list_id: str, level: int) -> str | None:
        """Of the next item. None where the list is none."""
        abstract = self._lists.get(list_id)
        levels = self._levels.get(abstract or "", [])
        if abstract is None or not 0 <= level < len(levels):
            return None
        counts = self._counts.setdefault(abstract, [start - 1 for _, _, start in levels])
        counts[level] += 1
        for deeper in range(level + 1, len(levels)):
            counts[deeper] = levels[deeper][2] - 1
        kind, pattern, _ = levels[level]
        if kind == "none" or not pattern:
            return ""
        if kind == "bullet":
            return BULLET
        return re.sub(r"%([1-9])", lambda match: _counted(levels, counts, int(match[1]) - 1), pattern)


def _counted(levels: list[tuple[str, str, int]], counts: list[int], level: int) -> str:
    if level >= len(levels):
        return ""
    kind, number = levels[level][0], max(counts[level], levels[level][2])
    if kind in ("lowerLetter", "upperLetter") and number > 0:
        word = chr(ord("a") + (number - 1) % 26) * min((number - 1) // 26 + 1, 10)
    elif kind in ("lowerRoman", "upperRoman") and 0 < number < 4000:
        word, rest = "", number
        for value, letters in ROMAN:
            word += letters * (rest // value)
            rest %= value
    else:
        word = str(number)
    return word.upper() if kind.startswith("upper") else word


def _value(element: Any, name: str) -> str:
    found = child(element, name)
    return (attribute(found, "val") or "") if found is not None else ""


def _number(text: str, otherwise: int) -> int:
    return int(text) if re.fullmatch(r"-?\d{1,6}", text) else otherwise
