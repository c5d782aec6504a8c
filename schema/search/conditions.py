"""Conditions on documents, as values, and the SQL that they are.

A condition is composed as SQL whose every value and every key of the metadata is a parameter. Where a value of a row
has another type than the condition asks for, the condition does not hold; it never fails.

The metadata is looked into by JSON paths in lax mode: a condition on an array holds when it does on any element, and
a path goes through arrays of objects. Equality can use the index `documents_metadata`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from psycopg import sql

from pgfolio.schema.corpus.languages import configuration

if TYPE_CHECKING:
    from collections.abc import Sequence

Scalar: TypeAlias = str | int | float | bool | datetime | None
Order: TypeAlias = Literal["<", "<=", ">", ">="]

TEXTS: Final = {
    "path": sql.SQL("d.path"),
    "source": sql.SQL("s.name"),
    # As results show it: a document without a title goes by its file's name.
    "title": sql.SQL("coalesce(nullif(d.title, ''), substring(d.path from '[^/]*$'))"),
    "mime": sql.SQL("d.mime"),
    "language": sql.SQL("d.language::text"),
    "owner": sql.SQL("d.owner"),
}
DATES: Final = {"created_at": sql.SQL("d.created_at"), "updated_at": sql.SQL("d.updated_at")}
"""The fields that every document has, over documents d and sources s."""


@dataclass(frozen=True, slots=True)
class BuiltIn:
    """A field that every document has: a name of TEXTS or DATES."""

    name: str


@dataclass(frozen=True, slots=True)
class Key:
    """A place in the metadata, by its keys from the outermost on."""

    path: tuple[str, ...]


Field: TypeAlias = BuiltIn | Key


@dataclass(frozen=True, slots=True)
class Equal:
    """The field has one of these values. None is one that is missing or null."""

    field: Field
    values: tuple[Scalar, ...]


@dataclass(frozen=True, slots=True)
class Ordered:
    """The field stands in this order to a value of the same type. Texts go by code points."""

    field: Field
    order: Order
    value: str | float | datetime


@dataclass(frozen=True, slots=True)
class Like:
    """The field is a text that fits an SQL pattern, upper and lower case told apart."""

    field: Field
    pattern: str


@dataclass(frozen=True, slots=True)
class Exists:
    """The metadata has the key, whatever its value; a built-in field is not null."""

    field: Field


@dataclass(frozen=True, slots=True)
class Every:
    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Some:
    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Negated:
    part: Condition


@dataclass(frozen=True, slots=True)
class NotDocuments:
    """The document is none of these, by their ids."""

    ids: tuple[int, ...]


Condition: TypeAlias = Equal | Ordered | Like | Exists | Every | Some | Negated | NotDocuments

OF_DOCUMENT: Final = sql.SQL("{}")
"""Where documents d and sources s are at hand."""

OF_CHUNK: Final = sql.SQL(
    "exists (select from documents d left join sources s on s.id = d.source_id"
    " where d.id = c.document_id and {})"
)
"""Of chunks c."""

OF_VECTOR: Final = sql.SQL(
    "(select {} from chunks c join documents d on d.id = c.document_id left join sources s on s.id = d.source_id"
    " where c.id = v.chunk_id)"
)
"""Of vectors v, looked up for one after the other: a join would not keep the order of an index scan."""


def matches(condition: Condition | None, place: sql.SQL) -> tuple[sql.Composable, dict[str, Any]]:
    """The condition as SQL at one of the places above, with its parameters. None is always true."""
    if condition is None:
        return sql.SQL("true"), {}
    composer = _Composer()
    return place.format(composer.any_of([condition])), composer.parameters


class _Composer:
    """Collects the parameters, `filter_0` and so on."""

    def __init__(self) -> None:
        self.parameters: dict[str, Any] = {}

    def any_of(self, parts: Sequence[Condition]) -> sql.Composed:
        return _joined(" or ", [self._composed(part) for part in parts])

    def _composed(self, condition: Condition) -> sql.Composed:
        match condition:
            case Every(parts):
                return _joined(" and ", [self._composed(part) for part in parts])
            case Some(parts):
                return self.any_of(parts)
            case Negated(part):
                # Not of what is null is null: of a missing key it shall be true.
                return sql.SQL("({}) is not true").format(self._composed(part))
            case Equal(BuiltIn(name), values):
                return self._column_equal(name, values)
            case NotDocuments(ids):
                return sql.SQL("d.id <> all({}::bigint[])").format(self._put(list(ids)))
            case Equal(Key(path), values):
                return self._key_equal(path, values)
            case Ordered(BuiltIn(name), order, value):
                return self._column_ordered(name, order, value)
            case Ordered(Key(path), order, value):
                return self._key_ordered(path, order, value)
            case Like(BuiltIn(name), pattern):
                return sql.SQL("{} like {}::text").format(TEXTS[name], self._put(pattern))
            case Like(Key(path), pattern):
                return self._of_texts(path, sql.SQL("like {}::text").format(self._put(pattern)))
            case Exists(BuiltIn(name)):
                return sql.SQL("{} is not null").format({**TEXTS, **DATES}[name])
            case Exists(Key(path)):
                return self._scanned(_path(path))
        raise TypeError(condition)

    def _column_equal(self, name: str, values: tuple[Scalar, ...]) -> sql.Composed:
        column = {**TEXTS, **DATES}[name]
        kind = sql.SQL("timestamptz[]" if name in DATES else "text[]")
        present = [value for value in values if value is not None]
        if name == "language":  # "de" is as good as "german"
            present += [c for value in present if (c := configuration(str(value))) and c not in present]
        known = self._put(present)
        tests = [sql.SQL("{} = any({}::{})").format(column, known, kind)]
        if None in values:
            tests.append(sql.SQL("{} is null").format(column))
        return _joined(" or ", tests)

    def _column_ordered(self, name: str, order: Order, value: Scalar) -> sql.Composed:
        if name in DATES:
            return sql.SQL("{} {} {}::timestamptz").format(DATES[name], sql.SQL(order), self._put(value))
        text = sql.SQL('{} collate "C" {} {}::text')
        return text.format(TEXTS[name], sql.SQL(order), self._put(value))

    def _key_equal(self, path: tuple[str, ...], values: tuple[Scalar, ...]) -> sql.Composed:
        dates = [value for value in values if isinstance(value, datetime)]
        others = [value for value in values if not isinstance(value, datetime)]
        tests = []
        if others:
            same = " || ".join(f"@ == {_literal(value)}" for value in others)
            tests.append(self._path_exists(f"{_path(path)} ? ({same})"))
        if None in others:
            tests.append(sql.SQL("({}) is not true").format(self._path_exists(_path(path))))
        if dates:
            among = sql.SQL("any({}::timestamptz[])").format(self._put(dates))
            tests.append(self._dated(path, sql.SQL("="), among))
        return _joined(" or ", tests)

    def _key_ordered(
        self, path: tuple[str, ...], order: Order, value: str | float | datetime
    ) -> sql.Composed:
        if isinstance(value, datetime):
            return self._dated(path, sql.SQL(order), sql.SQL("{}::timestamptz").format(self._put(value)))
        return self._scanned(f"{_path(path)} ? (@ {order} {_literal(value)})")

    def _path_exists(self, path: str) -> sql.Composed:
        return sql.SQL("d.metadata @? {}::jsonpath").format(self._put(path))

    def _scanned(self, path: str) -> sql.Composed:
        """What the index does not know: asked all the same, PostgreSQL would read all of it, and then all documents
        (over 100,000 of them 126 ms instead of 42)."""
        return sql.SQL("({}) is true").format(self._path_exists(path))

    def _dated(self, path: tuple[str, ...], operator: sql.SQL, operand: sql.Composed) -> sql.Composed:
        text = sql.SQL(
            "exists (select from jsonb_path_query(d.metadata, {}::jsonpath, '{{}}', true) as f (item)"
            " where iso_timestamp(f.item #>> '{{}}') {} {})"
        )
        return text.format(self._put(_texts(path)), operator, operand)

    def _of_texts(self, path: tuple[str, ...], test: sql.Composed) -> sql.Composed:
        text = sql.SQL(
            "exists (select from jsonb_path_query(d.metadata, {}::jsonpath, '{{}}', true) as f (item)"
            " where f.item #>> '{{}}' {})"
        )
        return text.format(self._put(_texts(path)), test)

    def _put(self, value: Any) -> sql.Placeholder:
        name = f"filter_{len(self.parameters)}"
        self.parameters[name] = value
        return sql.Placeholder(name)


def _joined(word: Literal[" and ", " or "], tests: Sequence[sql.Composable]) -> sql.Composed:
    if not tests:
        return sql.SQL("true" if word == " and " else "false").format()
    return sql.SQL("({})").format(sql.SQL(word).join(tests))


def _path(keys: Sequence[str]) -> str:
    """The JSON path to a key. Its string literals are JSON's own."""
    return "$" + "".join(f".{_literal(key)}" for key in keys)


def _texts(keys: Sequence[str]) -> str:
    """All texts at a key; comparisons within a JSON path look as deep into arrays."""
    return f'{_path(keys)}[*][*] ? (@.type() == "string")'


def _literal(value: str | float | None) -> str:
    return json.dumps(value, ensure_ascii=False)
