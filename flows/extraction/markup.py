"""Takes pictures that are written out in Markdown from it: their bytes in base64 are no text. Pure.

The time is linear in the text, whatever is opened in it and never closed.
"""

from __future__ import annotations

import re
from typing import Final

MAX_ALTERNATIVE: Final = 2000
"""Characters of an alternative text, in which the bracket that opens it is looked for."""

_ADDRESS: Final = re.compile(r"\]\(\s*<?data:", re.IGNORECASE)
_BARE: Final = re.compile(
    r"data:[\w.+-]+/[\w.+-]+(?:;[\w.=+-]+)*;base64,\s*[A-Za-z0-9+/=]*"
    r"(?:\s+[A-Za-z0-9+/=]{40,})*(?:\s+[A-Za-z0-9+/]+={1,2})?",
    re.IGNORECASE,
)


def without_data_images(text: str) -> str:
    """With the alternative text in place of an image whose address is the image itself: `![a drawing](data:...)`; an
    address elsewhere leaves nothing."""
    if "data:" not in text.lower():
        return text
    parts: list[str] = []
    end = first = 0
    for address in _ADDRESS.finditer(text):
        close = text.find(")", address.end())
        if close < 0:
            break
        start = _opening(text, max(first, address.start() - MAX_ALTERNATIVE), address.start())
        if start is not None:
            parts += [text[end : start - (text[end:start][-1:] == "!")], text[start + 1 : address.start()]]
            end = close + 1
        first = max(end, address.start())
    return _BARE.sub("", "".join([*parts, text[end:]]))


def _opening(text: str, first: int, last: int) -> int | None:
    """The bracket that the one at `last` closes, if it is not before `first`."""
    depth = 1
    for index in range(last - 1, first - 1, -1):
        if text[index] == "]":
            depth += 1
        elif text[index] == "[":
            depth -= 1
            if not depth:
                return index
    return None
