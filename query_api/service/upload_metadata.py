"""Decides: what of a client's metadata for its document is stored, and how. A name is only ever a label, no path.
Pure."""

from __future__ import annotations

import re
import unicodedata
from typing import Any, Final

import msgspec

from pgfolio.schema.records import MAX_METADATA_BYTES

MAX_VALUES: Final = 2000
"""Values in a document's metadata, as in front matter."""

MAX_DEPTH: Final = 50

_SUFFIX = re.compile(r"[^.]\.([A-Za-z0-9]{1,10})$")


class TooMuchMetadataError(Exception):
    """More metadata than a document may have; the message says how much that is."""


class WrongMetadataError(Exception):
    """Metadata that cannot be stored; the message says why."""


def display_name(name: str) -> str:
    """What a person sees of a file's name: its last part, in one line of at most 200 characters."""
    last = re.split(r"[/\\]", name)[-1]
    return _line(last)[:200] or "untitled"


def title(text: str | None) -> str:
    """In one line; empty where there is none."""
    return _line(text or "")[:500]


def suffix(name: str) -> str:
    """As ".pdf": letters and digits only, for it becomes part of the document's path in the database. Else empty."""
    match = _SUFFIX.search(name)
    return f".{match[1].lower()}" if match else ""


def metadata(value: Any) -> str:
    """A JSON object that PostgreSQL takes. Raises WrongMetadataError, TooMuchMetadataError."""
    if value is None:
        return "{}"
    if not isinstance(value, dict):
        raise WrongMetadataError("metadata must be a JSON object")
    _check(value, MAX_DEPTH, [MAX_VALUES])
    encoded = msgspec.json.encode(value)
    if len(encoded) > MAX_METADATA_BYTES:
        raise TooMuchMetadataError(
            f"the metadata has {len(encoded):,} bytes as JSON, and a document may have {MAX_METADATA_BYTES:,}: "
            "put long texts into the content"
        )
    return encoded.decode()


def _line(text: str) -> str:
    """Without control characters, and without marks that turn the direction of what follows."""
    characters = (" " if unicodedata.category(c) in {"Cc", "Cf", "Cs", "Zl", "Zp"} else c for c in text)
    return " ".join("".join(characters).split())


def _check(value: Any, depth: int, remaining: list[int]) -> None:
    remaining[0] -= 1
    if depth < 0 or remaining[0] < 0:
        raise WrongMetadataError(f"metadata may have {MAX_VALUES} values, {MAX_DEPTH} levels deep")
    if isinstance(value, dict):
        for key, item in value.items():
            _check(key, depth, remaining)
            _check(item, depth - 1, remaining)
    elif isinstance(value, list):
        for item in value:
            _check(item, depth - 1, remaining)
    elif isinstance(value, str) and "\x00" in value:
        raise WrongMetadataError("metadata must not contain NUL characters")
