"""Decides: what of a client's words for its document is kept, and how. A name is only ever a label, never a path.
Pure."""

from __future__ import annotations

import re
import unicodedata
from typing import Any, Final

import msgspec

NODES: Final = 2000
"""Values in a document's metadata, as in front matter."""

DEPTH: Final = 50

_SUFFIX = re.compile(r"[^.]\.([A-Za-z0-9]{1,10})$")


class WrongMetadataError(Exception):
    """Metadata that cannot be kept; the message says why."""


def label(name: str) -> str:
    """What a person sees of a file's name: its last part, in one line of at most 200 characters."""
    last = re.split(r"[/\\]", name)[-1]
    return _line(last)[:200] or "untitled"


def title(text: str | None) -> str:
    """In one line; empty where there is none."""
    return _line(text or "")[:500]


def suffix(name: str) -> str:
    """As ".pdf": letters and digits only, for it becomes part of the document's path in the database. Else empty."""
    found = _SUFFIX.search(name)
    return f".{found[1].lower()}" if found else ""


def metadata(value: Any) -> str:
    """A JSON object that PostgreSQL takes. Raises WrongMetadataError."""
    if value is None:
        return "{}"
    if not isinstance(value, dict):
        raise WrongMetadataError("metadata must be a JSON object")
    _check(value, DEPTH, [NODES])
    return msgspec.json.encode(value).decode()


def _line(text: str) -> str:
    """Without control characters, and without marks that turn the direction of what follows."""
    shown = (" " if unicodedata.category(c) in {"Cc", "Cf", "Cs", "Zl", "Zp"} else c for c in text)
    return " ".join("".join(shown).split())


def _check(value: Any, depth: int, left: list[int]) -> None:
    left[0] -= 1
    if depth < 0 or left[0] < 0:
        raise WrongMetadataError(f"metadata may have {NODES} values, {DEPTH} levels deep")
    if isinstance(value, dict):
        for key, item in value.items():
            _check(key, depth, left)
            _check(item, depth - 1, left)
    elif isinstance(value, list):
        for item in value:
            _check(item, depth - 1, left)
    elif isinstance(value, str) and "\x00" in value:
        raise WrongMetadataError("metadata must not contain NUL characters")
