"""What of HTML and of Markdown made of it is no text: the head, scripts, images that are data. Pure.

The time is linear in the text, whatever is opened in it and never closed: where a regular expression looks for an end
anew from each beginning, what has no end is known here once it was looked for.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_OPENING = re.compile(r"<(head|script|style|title|meta)\b", re.IGNORECASE)
_ENDS = {
    **{
        name: re.compile(rf"</{name}\s*>", re.IGNORECASE | re.DOTALL)
        for name in ("head", "script", "style", "title")
    },
    "meta": re.compile(">"),
}
_TITLE = re.compile(r"<title\b", re.IGNORECASE)
_DATA = "](data:"


def without_head(text: str) -> str:
    """HTML without its head, and without scripts, styles, titles and meta tags that stand elsewhere."""
    return _without(text, _heads(text))


def title(text: str) -> str:
    """Of HTML, as it is written there; empty where there is none."""
    if not (opening := _TITLE.search(text)):
        return ""
    start = text.find(">", opening.end()) + 1
    end = _ENDS["title"].search(text, start) if start else None
    return text[start : end.start()] if end else ""


def without_data_images(text: str) -> str:
    """Markdown without its images whose address is the image itself: `![a drawing](data:...)`."""
    return _without(text, _data_images(text))


def _heads(text: str) -> Iterator[tuple[int, int]]:
    position, endless = 0, set()
    while opening := _OPENING.search(text, position):
        position, name = opening.end(), opening[1].lower()
        if name in endless:
            continue
        if end := _ENDS[name].search(text, position):
            position = end.end()
            yield opening.start(), position
        else:
            endless.add(name)


def _data_images(text: str) -> Iterator[tuple[int, int]]:
    position = 0
    while (address := text.find(_DATA, position)) >= 0:
        start = text.find("![", max(position, text.rfind("]", position, address) + 1), address)
        position = address + 1
        if start < 0:
            continue
        if (end := text.find(")", address)) < 0:
            return
        position = end + 1
        yield start, position


def _without(text: str, spans: Iterator[tuple[int, int]]) -> str:
    parts, end = [], 0
    for start, following in spans:
        parts.append(text[end:start])
        end = following
    return "".join([*parts, text[end:]])
