"""The pure parts of filters: what a filter is read as, and when the index is relied on."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from pgfolio.query_api.retrieval.filter_fields import ELSEWHERE
from pgfolio.query_api.retrieval.filter_parser import (
    MAX_CONDITIONS,
    MAX_LEVELS,
    MAX_VALUES,
    WrongFilterError,
    parse,
)
from pgfolio.query_api.retrieval.vector_search import is_index_reliable
from pgfolio.query_api.service import contracts as c
from pgfolio.schema.search.conditions import (
    DATES,
    OF_DOCUMENT,
    TEXTS,
    BuiltIn,
    Equal,
    Every,
    Exists,
    Key,
    Like,
    Negated,
    Ordered,
    Some,
    matches,
)

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("raw", "condition"),
    [
        ({}, None),
        ({"a": 1}, Equal(Key(("a",)), (1,))),
        ({"a.b": None}, Equal(Key(("a", "b")), (None,))),
        ({"title": "x"}, Equal(BuiltIn("title"), ("x",))),
        ({"metadata.title": "x"}, Equal(Key(("title",)), ("x",))),
        ({"a": "2026-01-31T13:00:00+01:00"}, Equal(Key(("a",)), (NOON,))),
        ({"path": "2026-01-31"}, Equal(BuiltIn("path"), ("2026-01-31",))),
        ({"a": {"$ne": True}}, Negated(Equal(Key(("a",)), (True,)))),
        ({"a": {"$nin": [1, "x"]}}, Negated(Equal(Key(("a",)), (1, "x")))),
        ({"a": {"$gte": 1, "$lt": 2}}, Every((Ordered(Key(("a",)), ">=", 1), Ordered(Key(("a",)), "<", 2)))),
        ({"created_at": {"$lte": "2026-01-31T12:00:00Z"}}, Ordered(BuiltIn("created_at"), "<=", NOON)),
        ({"a": {"$exists": False}}, Negated(Exists(Key(("a",))))),
        ({"a": {"$not": {"$like": "x%"}}}, Negated(Like(Key(("a",)), "x%"))),
        ({"a": 1, "b": 2}, Every((Equal(Key(("a",)), (1,)), Equal(Key(("b",)), (2,))))),
        ({"$or": [{"a": 1}, {"b": 2}]}, Some((Equal(Key(("a",)), (1,)), Equal(Key(("b",)), (2,))))),
        ({"$not": {"a": 1}}, Negated(Equal(Key(("a",)), (1,)))),
    ],
)
def test_a_filter_is_read_as_a_condition(raw: dict[str, Any], condition: object) -> None:
    assert parse(raw) == condition


def test_what_results_and_documents_show_is_filtered_by_or_told_where_it_is_asked_for() -> None:
    shown = {*c.Result.__struct_fields__, *c.DocumentItem.__struct_fields__}
    assert set(ELSEWHERE) - {"collections"} == shown - {*TEXTS, *DATES}
    for name in ELSEWHERE:
        for raw in ({name: 1}, {"$or": [{"a": 1}, {name: {"$exists": True}}]}):
            with pytest.raises(WrongFilterError, match=f"'{name}' is no field.*`metadata.{name}`"):
                parse(raw)
        assert parse({f"metadata.{name}": 1}) == Equal(Key((name,)), (1,))


def nested(levels: int) -> dict[str, Any]:
    return {"a": 1} if levels == 1 else {"$not": nested(levels - 1)}


@pytest.mark.parametrize(
    ("largest", "too_much"),
    [
        (nested(MAX_LEVELS), nested(MAX_LEVELS + 1)),
        (
            dict.fromkeys(map(str, range(MAX_CONDITIONS)), 1),
            dict.fromkeys(map(str, range(MAX_CONDITIONS + 1)), 1),
        ),
        ({"a": {"$in": list(range(MAX_VALUES))}}, {"a": {"$in": list(range(MAX_VALUES + 1))}}),
        ({"a": "x" * 4000}, {"a": "x" * 4001}),
    ],
    ids=["levels", "conditions", "values", "characters"],
)
def test_a_filter_is_bounded(largest: dict[str, Any], too_much: dict[str, Any]) -> None:
    assert parse(largest) is not None
    with pytest.raises(WrongFilterError):
        parse(too_much)


def test_keys_and_values_stand_in_parameters_only() -> None:
    evil = "'; drop table documents; --"
    condition = parse({evil: evil, "path": {"$like": evil}, "a": {"$in": [evil]}, "title": {"$gt": evil}})
    where, parameters = matches(condition, OF_DOCUMENT)
    assert "drop" not in where.as_string()
    assert sum("drop" in str(value) for value in parameters.values()) == 4


@pytest.mark.parametrize(
    ("matching", "scan_limit", "limit", "ef_search", "expected"),
    [
        (6, 64, 10, 64, True),  # 10% of the nearest match: a hundred have to be looked at
        (2, 64, 10, 64, False),
        (0, 64, 10, 64, False),
        (10, 100, 10, 64, True),  # of a hybrid search only the first few matter
        (3, 10, 10, 1, True),
        (2, 10, 10, 1, False),
    ],
)
def test_the_index_is_reliable_while_enough_of_the_nearest_match(
    matching: int, scan_limit: int, limit: int, ef_search: int, *, expected: bool
) -> None:
    assert is_index_reliable(matching, scan_limit, limit, ef_search) is expected
