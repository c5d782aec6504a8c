"""Rows and cells of OpenDocument tables: what is repeated, and what a cell says that stores no text. Pure."""

from __future__ import annotations

import re
from typing import Any, Final

from pgfolio.flows.extraction.package import attribute, local

CELLS: Final = ("table-cell", "covered-table-cell")
WRAPPERS: Final = frozenset({"table-header-rows", "table-row-group", "table-rows"})
MAX_REPEATED: Final = 100
"""Of a row or of a cell that says something: a file says in a word that it stands there a million times."""


def narrowed(rows: list[list[str]]) -> list[list[str]]:
    """Without the columns that are empty in all rows."""
    used = sorted({column for row in rows for column, text in enumerate(row) if text})
    return [[row[column] if column < len(row) else "" for column in used] for row in rows]


def rows_of(table: Any) -> list[Any]:
    found = []
    for item in table:
        if local(item.tag) == "table-row":
            found.append(item)
        elif local(item.tag) in WRAPPERS:
            found += rows_of(item)
    return found


def repeated(element: Any, name: str, texts: list[str]) -> int:
    """What says nothing counts once, or as often as columns can be."""
    count = attribute(element, name) or "1"
    number = int(count) if count.isdigit() and len(count) < 9 else 1
    if any(texts):
        return min(number, MAX_REPEATED)
    return 1 if name == "number-rows-repeated" else min(number, 1024)


def unshown(cell: Any) -> str:
    """Of a cell whose program has stored no text: its value, or its formula."""
    value = next(
        (
            found
            for name in ("string-value", "date-value", "time-value", "value")
            if (found := attribute(cell, name))
        ),
        "",
    )
    formula = attribute(cell, "formula") or ""
    return value or re.sub(r"^[a-z]+:(?==)", "", formula)
