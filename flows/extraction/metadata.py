"""What a document says of itself: its front matter, its title, its dates. Pure."""

from __future__ import annotations

import json
import math
import re
from datetime import UTC, date, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from pgfolio.flows.extraction.decode import clean
from pgfolio.schema import markdown
from pgfolio.schema.records import MAX_METADATA_BYTES

JUNK_TITLE = re.compile(
    r"(?i)(untitled.*|document\d*|\((anonymous|unspecified)\)|enscript output|powerpoint presentation"
    r"|microsoft \w+ - .*)?"
)
_TOML_MARK = re.compile(r"^\+\+\+[ \t]*(?:\n|\Z)", re.MULTILINE)
MAX_INTEGER_BITS = 1000
"""Of an integer in metadata: 301 digits."""
NAMES, NAME_CHARACTERS = 20, 100
LEFT_OUT_BYTES = NAMES * (NAME_CHARACTERS * 4 + 4) + 50
"""Bytes that the names of what was left out may take."""
MAX_OWNER_CHARACTERS = 500


def front_matter(text: str) -> tuple[dict[str, Any], str]:
    """Its fields, fit for JSON, and the text that follows it: in YAML, or in TOML as Hugo has it."""
    if text.startswith("+++"):
        return _toml_front_matter(text)
    if not text.startswith("---"):
        return {}, text
    import yaml  # noqa: PLC0415 - keeps the import of this module cheap
    from frontmatter.default_handlers import YAMLHandler  # noqa: PLC0415

    try:
        head, body = YAMLHandler().split(text)
        try:
            fields = YAMLHandler().load(head)
        except ValueError:  # a date that no calendar has
            fields = YAMLHandler().load(head, Loader=yaml.BaseLoader)
        return (jsonable(fields, [2000]), body.lstrip("\n")) if isinstance(fields, dict) else ({}, text)
    except Exception:  # noqa: BLE001 - front matter that makes no sense is text
        return {}, text


def _toml_front_matter(text: str) -> tuple[dict[str, Any], str]:
    import tomllib  # noqa: PLC0415 - as above

    opening, closing = _TOML_MARK.match(text), None
    if opening:
        closing = _TOML_MARK.search(text, opening.end())
    if not opening or not closing:
        return {}, text
    try:
        fields = jsonable(tomllib.loads(text[opening.end() : closing.start()]), [2000])
    except (ValueError, RecursionError):
        return {}, text
    return fields, text[closing.end() :].lstrip("\n")


def jsonable(value: Any, budget: list[int]) -> Any:
    """Dates become ISO strings. A budget of nodes: aliases in YAML can unfold without end. A very long integer (YAML
    bounds no hexadecimal one) becomes text, in hexadecimal: Python writes no more than 4,300 digits, JSON is read
    back by it."""
    budget[0] -= 1
    if budget[0] < 0:
        raise ValueError("too much metadata")
    match value:
        case None | bool():
            return value
        case int():
            return value if value.bit_length() <= MAX_INTEGER_BITS else hex(value)
        case float():
            return value if math.isfinite(value) else str(value)
        case str():
            return clean(value)
        case date():
            return value.isoformat()
        case dict():
            return {clean(str(key)): jsonable(item, budget) for key, item in value.items()}
        case list() | tuple() | set():
            return [jsonable(item, budget) for item in value]
        case _:
            return clean(str(value))


def bounded(metadata: dict[str, Any]) -> dict[str, Any]:
    """At most MAX_METADATA_BYTES as JSON: of more the largest values are left out; `metadata_left_out` names them."""
    if _bytes(metadata) <= MAX_METADATA_BYTES:
        return metadata
    sizes = {key: _bytes({key: value}) for key, value in metadata.items()}
    left_out: list[str] = []
    total = 2 + sum(sizes.values())
    for key in sorted(sizes, key=lambda key: (-sizes[key], key)):
        if total + LEFT_OUT_BYTES <= MAX_METADATA_BYTES:
            break
        total -= sizes[key]
        left_out.append(key)
    fitting = {key: value for key, value in metadata.items() if key not in set(left_out)}
    return {**fitting, "metadata_left_out": [key[:NAME_CHARACTERS] for key in left_out[:NAMES]]}


def _bytes(value: Any) -> int:
    """As PostgreSQL writes it: a name and its value take a comma and a space more."""
    return len(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))


def title_of(value: Any) -> str | None:
    """In one line, of at most 500 characters; None where it says nothing, as programs write it."""
    title = " ".join(clean(str(value)).split())[:500] if isinstance(value, str | int | float) else ""
    return None if JUNK_TITLE.fullmatch(title) else title


def first_heading(text: str) -> str | None:
    """Of Markdown."""
    headings = markdown.headings(text, markdown.code_blocks(text))
    return next((title_of(heading.text) for heading in headings if heading.level == 1), None)


def owner(metadata: dict[str, Any]) -> str | None:
    """Whose it is, by name."""
    name = metadata.get("owner") or metadata.get("author")
    return name[:MAX_OWNER_CHARACTERS] if isinstance(name, str) else None


def created(metadata: dict[str, Any]) -> datetime | None:
    """When its author says that it was made."""
    return next(filter(None, (when(metadata.get(name)) for name in ("date", "created", "created_at"))), None)


def when(value: Any) -> datetime | None:
    """A date as ISO 8601 or as mails have it, in UTC; None for what is none."""
    if not isinstance(value, str):
        return None
    for parse in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            moment = parse(value.strip())
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
        except (ValueError, OverflowError, TypeError):
            continue
    return None
