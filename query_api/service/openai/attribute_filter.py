"""Decides: a filter of a vector store as one of ours: `{"type": "eq", "key": "category", "value": "guide"}` is
`{"category": {"$eq": "guide"}}`. Pure."""

from __future__ import annotations

from typing import Any, Final

from pgfolio.query_api.retrieval.filter_parser import WrongFilterError

COMPARISONS: Final = {"eq", "ne", "gt", "gte", "lt", "lte", "in", "nin"}
COMPOUNDS: Final = {"and", "or"}


def metadata_filter(filters: Any) -> dict[str, Any]:
    """Raises WrongFilterError, which names what is not understood. Values are checked by whoever reads the filter."""
    if not isinstance(filters, dict):
        raise WrongFilterError("filters: each is an object with a `type`")
    kind = filters.get("type")
    if kind in COMPOUNDS:
        parts = filters.get("filters")
        if not isinstance(parts, list) or not parts:
            raise WrongFilterError(f"filters: {kind!r} takes a list of `filters` with one in it at least")
        return {f"${kind}": [metadata_filter(part) for part in parts]}
    if kind in COMPARISONS:
        key = filters.get("key")
        if not isinstance(key, str) or not key or "value" not in filters:
            raise WrongFilterError(f"filters: {kind!r} takes a `key` and a `value`")
        if key.startswith("$"):
            raise WrongFilterError(f"filters: the key {key[:60]!r} is no name of a field")
        return {key: {f"${kind}": filters["value"]}}
    known = ", ".join(sorted(COMPARISONS | COMPOUNDS))
    raise WrongFilterError(f"filters: there is no type {str(kind)[:60]!r}: there are {known}")
