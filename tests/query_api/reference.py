"""What a filter means, in plain Python over one document: what the SQL is compared with."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

MISSING = object()
TEXTS = ("path", "source", "title", "mime", "language", "owner")
DATES = ("created_at", "updated_at")


def holds(condition: dict[str, Any], document: dict[str, Any]) -> bool:
    """Whether a right filter holds for a document: the built-in fields and `metadata`."""
    return all(_part(name, value, document) for name, value in condition.items())


def _part(name: str, value: Any, document: dict[str, Any]) -> bool:
    match name:
        case "$and":
            return all(holds(part, document) for part in value)
        case "$or":
            return any(holds(part, document) for part in value)
        case "$not":
            return not holds(value, document)
    tests = value if isinstance(value, dict) else {"$eq": value}
    return _tests(_values(name, document), tests, built_in=name in TEXTS)


def _tests(values: list[Any], tests: dict[str, Any], *, built_in: bool) -> bool:
    return all(
        not _tests(values, operand, built_in=built_in)
        if operator == "$not"
        else _test(values, operator, operand, built_in=built_in)
        for operator, operand in tests.items()
    )


def _test(values: list[Any], operator: str, operand: Any, *, built_in: bool) -> bool:
    match operator:
        case "$ne":
            return not _test(values, "$eq", operand, built_in=built_in)
        case "$nin":
            return not _test(values, "$in", operand, built_in=built_in)
        case "$in":
            return any(_test(values, "$eq", each, built_in=built_in) for each in operand)
        case "$exists":
            return bool(values) is operand
        case "$eq" if operand is None:
            return not values or any(value is None for value in _elements(values))
        case "$like":
            return any(isinstance(value, str) and _like(value, operand) for value in _elements(values))
    return any(_ordered(value, operator, operand, built_in=built_in) for value in _elements(values))


def _ordered(value: Any, operator: str, operand: Any, *, built_in: bool) -> bool:
    if not built_in and isinstance(operand, str) and (date := when(operand)):
        value, operand = when(value) if isinstance(value, str) else value, date
    if _type(value) is not _type(operand):
        return False
    return bool(
        {
            "$eq": lambda: value == operand,
            "$gt": lambda: value > operand,
            "$gte": lambda: value >= operand,
            "$lt": lambda: value < operand,
            "$lte": lambda: value <= operand,
        }[operator]()
    )


def _type(value: Any) -> type:
    return float if type(value) is int else type(value)


def when(text: str) -> datetime | None:
    if not re.fullmatch(
        r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d:\d\d)?)?", text, re.ASCII
    ):
        return None
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        return None
    return read if read.tzinfo else read.replace(tzinfo=UTC)


def _like(value: str, pattern: str) -> bool:
    parts = re.findall(r"\\.|.", pattern, re.DOTALL)
    regex = "".join({"%": ".*", "_": "."}.get(part) or re.escape(part[-1]) for part in parts)
    return re.fullmatch(regex, value, re.DOTALL) is not None


def _values(name: str, document: dict[str, Any]) -> list[Any]:
    """All values that a field's name leads to."""
    if name in TEXTS or name in DATES:
        return [] if document[name] is None else [document[name]]
    values = [document["metadata"]]
    keys = name.split(".")
    for key in keys[1:] if len(keys) > 1 and keys[0] == "metadata" else keys:
        objects = [each for value in values for each in (value if isinstance(value, list) else [value])]
        values = [each[key] for each in objects if isinstance(each, dict) and key in each]
    return values


def _elements(values: list[Any]) -> list[Any]:
    """Arrays stand for their elements, and those again."""
    for _ in range(2):
        values = [each for value in values for each in (value if isinstance(value, list) else [value])]
    return values
