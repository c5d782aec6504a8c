"""Decides: the JSON of a filter as a condition, or what is wrong with it. Pure.

`{"category": "database", "pages": {"$gte": 10, "$lt": 20}, "$or": [{"tags": "sql"}, {"tags": {"$exists": false}}]}`

- A field is a built-in one (path source title mime language owner created_at updated_at), else a key of the
  metadata; `a.b` is the key b within a, and `metadata.title` is the metadata's own title. What results show beside
  these, such as `collection`, is refused, and is a key of the metadata as `metadata.collection` only.
- Several fields, and several operators of one field, must all hold. `{}` holds for every document.
- `$eq`, and a plain value: equal and of the same type; null also stands for a missing key. `$in`: equal to one of
  a list. A condition on an array holds when it does for any element: `{"tags": "sql"}`.
- `$gt $gte $lt $lte` order numbers, dates and texts, each among its own kind; texts by code points.
- `$like`: a text that fits a pattern with `%` (anything) and `_` (one character), upper and lower case told apart;
  a backslash takes the meaning from the next character.
- `$exists`: whether there is such a key, even with null; a built-in field exists when it is not null.
- `$ne`, `$nin` and `$not` hold whenever `$eq`, `$in` and the negated do not, so for a missing key too.
- A text that is an ISO date or time, such as 2026-01-31 or 2026-01-31T12:00:00Z, is compared as such, with dates
  only; without a time it is midnight, without an offset UTC.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec

from pgfolio.config.errors import WrongUsageError
from pgfolio.query_api.retrieval.filter_fields import elsewhere
from pgfolio.schema.search.conditions import (
    DATES,
    TEXTS,
    BuiltIn,
    Condition,
    Equal,
    Every,
    Exists,
    Field,
    Key,
    Like,
    Negated,
    Order,
    Ordered,
    Scalar,
    Some,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_LEVELS = 10
MAX_CONDITIONS = 100
MAX_VALUES = 1000
MAX_CHARACTERS = 4000
"""How much a filter may hold: levels, conditions, values of all lists together, characters of a text."""

LARGEST_NUMBER = 10**308

ORDERS: Final[dict[str, Order]] = {"$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}
OPERATORS: Final = ("$eq", "$ne", "$in", "$nin", *ORDERS, "$like", "$exists", "$not")
COMBINED: Final = ("$and", "$or", "$not")

ISO: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]{1,6})?)?"
    r"(Z|[+-](0[0-9]|1[0-5]):[0-5][0-9])?)?"
)
"""As iso_timestamp has it in the database."""


class WrongFilterError(WrongUsageError):
    """A filter that cannot be understood; the message names the operator or field and says what it takes."""


def parse(raw: object) -> Condition | None:
    """The condition that a filter is; None when every document fits. Raises WrongFilterError."""
    condition = _Parser().filter(raw, "the filter", 0)
    return None if condition == Every(()) else condition


def parse_json(text: str) -> Condition | None:
    """The same of its JSON."""
    try:
        return parse(msgspec.json.decode(text))
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise WrongFilterError("the filter is no JSON: write it as in POST /search") from error


class _Parser:
    """Counts what a filter holds while it is read."""

    def __init__(self) -> None:
        self._conditions = 0
        self._values = 0

    def filter(self, raw: object, what: str, level: int) -> Condition:
        if not isinstance(raw, dict):
            raise WrongFilterError(f"{what} must be an object, not {_kind(raw)}")
        if level >= MAX_LEVELS:
            raise WrongFilterError(f"a filter has at most {MAX_LEVELS} levels of $and, $or and $not")
        return _every(list(self._parts(raw, level)))

    def _parts(self, raw: dict[str, Any], level: int) -> Iterator[Condition]:
        for name, value in raw.items():
            self._count()
            if name == "$not":
                yield Negated(self.filter(value, "$not", level + 1))
            elif name in COMBINED:
                parts = self._list(name, value, "objects")
                together = tuple(self.filter(part, f"each part of {name}", level + 1) for part in parts)
                yield Every(together) if name == "$and" else Some(together)
            elif name.startswith("$"):
                raise WrongFilterError(_unknown(name, (*COMBINED, "or the name of a field")))
            else:
                yield self._tests(_field(name), name, value, level)

    def _tests(self, field: Field, name: str, value: object, level: int) -> Condition:
        """What a field must be: a plain value, or an object of operators."""
        if not isinstance(value, dict):
            return Equal(field, (self._scalar(field, f"field {_quoted(name)}", value),))
        if not value:
            raise WrongFilterError(
                f"field {_quoted(name)} has no operator: give one of {', '.join(OPERATORS)}"
            )
        if level >= MAX_LEVELS:
            raise WrongFilterError(f"a filter has at most {MAX_LEVELS} levels of $and, $or and $not")
        return _every(
            [self._test(field, name, operator, operand, level) for operator, operand in value.items()]
        )

    def _test(self, field: Field, name: str, operator: str, operand: object, level: int) -> Condition:
        self._count()
        what = f"{_quoted(operator)[1:-1]} of field {_quoted(name)}"
        match operator:
            case "$eq":
                return Equal(field, (self._scalar(field, what, operand),))
            case "$ne":
                return Negated(Equal(field, (self._scalar(field, what, operand),)))
            case "$in" | "$nin":
                values = self._list(what, operand, "values", minimum=0)
                among = Equal(field, tuple(self._scalar(field, what, value) for value in values))
                return among if operator == "$in" else Negated(among)
            case "$gt" | "$gte" | "$lt" | "$lte":
                return Ordered(field, ORDERS[operator], self._orderable(field, what, operand))
            case "$like":
                return Like(field, self._pattern(field, what, operand))
            case "$exists":
                if not isinstance(operand, bool):
                    raise WrongFilterError(f"{what} takes true or false, not {_kind(operand)}")
                return Exists(field) if operand else Negated(Exists(field))
            case "$not":
                if not isinstance(operand, dict):
                    raise WrongFilterError(f"{what} takes an object of operators, not {_kind(operand)}")
                return Negated(self._tests(field, name, operand, level + 1))
        if operator.startswith("$"):
            raise WrongFilterError(_unknown(operator, OPERATORS))
        raise WrongFilterError(
            f"field {_quoted(name)} has {_quoted(operator)} where an operator stands: for a key within it write "
            f"{_quoted(f'{name}.{operator}')}"
        )

    def _scalar(self, field: Field, what: str, value: object) -> Scalar:
        if value is None:
            return None
        if isinstance(field, BuiltIn):
            return self._built_in(field, what, value)
        if isinstance(value, bool):
            return value
        if isinstance(value, (int, float)):
            return _number(what, value)
        if isinstance(value, str):
            return _date(value) or _text(what, value)
        raise WrongFilterError(f"{what} takes a text, a number, true, false or null, not {_kind(value)}")

    def _orderable(self, field: Field, what: str, value: object) -> str | float | datetime:
        if isinstance(field, BuiltIn):
            return self._built_in(field, what, value)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return _number(what, value)
        if isinstance(value, str):
            return _date(value) or _text(what, value)
        raise WrongFilterError(f"{what} takes a number, a date or a text, not {_kind(value)}")

    def _built_in(self, field: BuiltIn, what: str, value: object) -> str | datetime:
        if field.name in DATES:
            date = _date(value) if isinstance(value, str) else None
            if date is None:
                raise WrongFilterError(f"{what} takes an ISO date such as 2026-01-31, not {_kind(value)}")
            return date
        if not isinstance(value, str):
            raise WrongFilterError(f"{what} takes a text, not {_kind(value)}")
        return _text(what, value)

    def _pattern(self, field: Field, what: str, value: object) -> str:
        if isinstance(field, BuiltIn) and field.name in DATES:
            raise WrongFilterError(f"{what} is a date: compare it with $gt, $gte, $lt, $lte")
        if not isinstance(value, str):
            raise WrongFilterError(f"{what} takes a text, not {_kind(value)}")
        if (len(value) - len(value.rstrip("\\"))) % 2:
            raise WrongFilterError(f"{what} ends with a backslash, which stands before another character")
        return _text(what, value)

    def _list(self, what: str, value: object, of: str, minimum: int = 1) -> list[Any]:
        if not isinstance(value, list):
            raise WrongFilterError(f"{what} takes a list of {of}, not {_kind(value)}")
        if len(value) < minimum:
            raise WrongFilterError(f"{what} takes a list of at least one of {of}")
        self._values += len(value)
        if self._values > MAX_VALUES:
            raise WrongFilterError(f"the lists of a filter hold at most {MAX_VALUES:,} values together")
        return value

    def _count(self) -> None:
        self._conditions += 1
        if self._conditions > MAX_CONDITIONS:
            raise WrongFilterError(f"a filter has at most {MAX_CONDITIONS} conditions")


def _every(parts: list[Condition]) -> Condition:
    return parts[0] if len(parts) == 1 else Every(tuple(parts))


def _field(name: str) -> Field:
    if name in TEXTS or name in DATES:
        return BuiltIn(name)
    if (advice := elsewhere(name)) is not None:
        raise WrongFilterError(advice)
    path = tuple(_text("the name of a field", name).split("."))
    if len(path) > 1 and path[0] == "metadata":
        path = path[1:]
    if not all(path):
        raise WrongFilterError(f"field {_quoted(name)} has an empty key")
    return Key(path)


def _text(what: str, value: str) -> str:
    if "\x00" in value:
        raise WrongFilterError(f"{what} holds a NUL character, which no text has")
    if len(value) > MAX_CHARACTERS:
        raise WrongFilterError(f"{what} takes at most {MAX_CHARACTERS:,} characters")
    return value


def _number(what: str, value: float) -> float:
    if not -LARGEST_NUMBER < value < LARGEST_NUMBER:
        raise WrongFilterError(f"{what} takes a number between -1e308 and 1e308")
    return value


def _date(value: str) -> datetime | None:
    if not ISO.fullmatch(value):
        return None
    try:
        parsed = datetime.fromisoformat(value)
        return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _unknown(operator: str, known: tuple[str, ...]) -> str:
    return f"there is no operator {_quoted(operator)} here: use {', '.join(known)}"


def _quoted(name: str) -> str:
    return repr(name if len(name) <= 60 else name[:60] + "...")


def _kind(value: object) -> str:
    """As JSON calls it."""
    if isinstance(value, str) and len(value) <= 60:
        return f"the text {value!r}"
    return {
        type(None): "null", bool: "true or false", int: "a number", float: "a number", str: "a long text",
        list: "a list", dict: "an object",
    }.get(type(value), "that")  # fmt: skip
