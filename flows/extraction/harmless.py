"""Decides: which texts no reader of ours can choke on, so that they need no process of their own. Pure.

A few thousand small notes are what most folders hold, and a process costs half a second to start. What is not proven
harmless is not refused: it is read beside.
"""

from __future__ import annotations

import re
from typing import Final

from pgfolio.flows.extraction import formats
from pgfolio.flows.extraction.decode import clean, is_binary

MAX_BYTES: Final = 512 * 1024
"""Of 346 texts of so many bytes, made of marks that are the worst for readers, none took longer than 2 s."""

MAX_FRONT_MATTER: Final = 16 * 1024
MAX_DEPTH: Final = 100
"""Of brackets in front matter, and of its indentation: the parser, in C, recurses, and 30,000 levels kill it."""

_FRONT_MATTER = re.compile(r"(---|\+\+\+)[ \t]*(\n.*?)\n\1[ \t]*(?:\n|\Z)", re.DOTALL)
"""The mark that opens it closes it: what another one seems to close goes on, and its parser reads all of it."""

_BRACKET = re.compile(r"[\[{]")
_INDENTATION = re.compile(rf"^[ \t?:-]{{{MAX_DEPTH},}}", re.MULTILINE)
_ALIAS = re.compile(r"(?:^|[\s\[{,:?-])\*", re.MULTILINE)
"""What it names may name others: a page of them unfolds into more than any memory holds."""


def is_harmless(path: str, data: bytes) -> bool:
    """A small text in UTF-8, whose front matter is small, flat and says everything once."""
    if len(data) > MAX_BYTES or b"\0" in data or is_binary(data):
        return False
    suffix, mime = formats.declared(path, data)
    if mime:
        return False
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return False
    if suffix not in formats.MARKDOWN or not text.startswith(("---", "+++")):
        return True
    return _has_plain_front_matter(text)


def _has_plain_front_matter(text: str) -> bool:
    found = _FRONT_MATTER.match(clean(text[:MAX_FRONT_MATTER]))
    if not found:
        return False
    head = found[2]
    return (
        len(_BRACKET.findall(head)) <= MAX_DEPTH
        and _INDENTATION.search(head) is None
        and _ALIAS.search(head) is None
    )
