"""Reads JSON that a client sent, and says in a sentence what is wrong with what is none. Pure.

By the standard library and not by msgspec, which takes the last of two equal keys and says of half a character that
the input was truncated. A usual body takes it 5 us.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, Final, NoReturn

HALF_CHARACTER: Final = re.compile(r"\\u[dD][89a-fA-F]")
JSON_TYPES: Final = re.compile(r"|(application|text)/([^;]*\+)?json")

FAULTS: Final = {
    "Expecting value": "a value is missing",
    "Expecting property name": "a name in double quotes is missing",
    "Expecting ',' delimiter": "a comma or a closing bracket is missing",
    "Expecting ':' delimiter": "a colon is missing",
    "Extra data": "something stands behind its end",
    "Invalid control character": "a line break or another control character stands in a text, where JSON writes \\n",
    "Invalid \\": "a backslash stands in a text before what it has no meaning for",
    "Unterminated string": "a text has no closing quote",
}


class UnreadableBodyError(Exception):
    """What was sent is no JSON; the message says why."""


def decode_body(body: bytes, content_type: str) -> Any:
    """The value of a body, which is JSON whatever its type says: curl's own is that of a form. Raises
    UnreadableBodyError."""
    try:
        return decode(body)
    except UnreadableBodyError as error:
        if JSON_TYPES.fullmatch(content_type.strip().lower()) or body.lstrip()[:1] in {b"{", b"[", b""}:
            raise
        raise UnreadableBodyError(
            f"the request's body is {_short(content_type)}, and JSON is taken: send it with `Content-Type: "
            "application/json` (curl: `--json` in the place of `-d`)"
        ) from error


def decode(data: bytes | str, what: str = "the request's body") -> Any:
    """The value, without equal keys in an object and with finite numbers. UTF-16 and UTF-32 and a byte order mark are
    understood. Raises UnreadableBodyError."""

    def fail(reason: str) -> NoReturn:
        raise UnreadableBodyError(f"{what} {reason}")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        value = dict(pairs)
        if len(value) < len(pairs):
            names = [name for name, _ in pairs]
            fail(f"has the key {_short(next(n for n in names if names.count(n) > 1))} twice in one object")
        return value

    def finite(number: str) -> float:
        value = float(number)
        if not math.isfinite(value):
            fail(f"has the number {_short(number)}, which is too large")
        return value

    def constant(name: str) -> NoReturn:
        fail(f"has {name}, which is no number of JSON: leave it out or send null")

    text = data if isinstance(data, str) else _text(data, fail)
    if not text.strip():
        fail("is empty: send a JSON object")
    try:
        value = json.loads(text, object_pairs_hook=unique, parse_float=finite, parse_constant=constant)
        if HALF_CHARACTER.search(text):
            json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        fail(f"is no JSON: {_fault(error)} (line {error.lineno}, column {error.colno})")
    except UnicodeEncodeError:
        fail("has half a character: an escape such as \\ud83d without the one that belongs to it")
    except RecursionError:
        fail("has too many levels")
    except ValueError:  # of thousands of digits
        fail("has a number that is too long")
    return value


def _text(data: bytes, fail: Any) -> str:
    try:
        return data.decode(json.detect_encoding(data))
    except UnicodeDecodeError:
        compressed = data.startswith(b"\x1f\x8b")
        fail("is compressed: send it as it is" if compressed else "is not UTF-8, in which JSON is sent")
        raise


def _fault(error: json.JSONDecodeError) -> str:
    before, rest = error.doc[: error.pos].rstrip(), error.doc[error.pos : error.pos + 10]
    if not error.doc[error.pos :].strip():
        return "it ends too early"
    if before.endswith(",") and rest[0] in "]}":
        return "a comma stands before a closing bracket"
    if rest[0] == "'":
        return "texts stand in double quotes"
    if rest.startswith(("//", "/*", "#")):
        return "it has a comment"
    if rest.startswith(("True", "False", "None")):
        return "true, false and null have small letters"
    return next((fault for start, fault in FAULTS.items() if error.msg.startswith(start)), "it is malformed")


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:60] + "...")
