"""What the styles of a Word document say of a paragraph: which heading it is, and which list it belongs to."""

from __future__ import annotations

import re
from typing import Any, Final

from pgfolio.flows.extraction.package import attribute, child, children

BODY_LEVEL: Final = 9
"""The outline level, from 0, of what is no heading."""

_HEADING_STYLE: Final = re.compile(r"heading ?([1-9])", re.IGNORECASE)


def styles_of(root: Any) -> tuple[dict[str, int], dict[str, tuple[str, str]]]:
    """By style: its outline level from 0, where it has one, and its list with the level in it."""
    levels: dict[str, int] = {}
    lists: dict[str, tuple[str, str]] = {}
    styles = {
        attribute(style, "styleId") or "": style
        for style in (children(root, "style") if root is not None else ())
    }
    for name in styles:
        chain: list[str] = []
        current = name
        while current in styles and current not in chain and len(chain) < 20:
            chain.append(current)
            current = value_of(styles[current], "basedOn")
        for item in chain:
            properties = child(styles[item], "pPr")
            own = value_of(properties, "outlineLvl")
            level = int(own) if own.isdigit() else level_by_name(value_of(styles[item], "name"))
            if own or level < BODY_LEVEL:
                levels.setdefault(name, level)
            number = child(properties, "numPr") if properties is not None else None
            if number is not None:
                lists.setdefault(name, (value_of(number, "numId"), value_of(number, "ilvl") or "0"))
    return levels, lists


def level_by_name(style: str) -> int:
    if style.lower() == "title":
        return 0
    match = _HEADING_STYLE.fullmatch(style)
    return int(match[1]) - 1 if match else BODY_LEVEL


def value_of(element: Any, name: str) -> str:
    found = child(element, name) if element is not None else None
    return (attribute(found, "val") or "") if found is not None else ""
