"""Where the pages of a document begin in its text. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import re


def marked(text: str, mark: re.Pattern[str]) -> tuple[str, tuple[int, ...]]:
    """The text without the marks that each page begins with, and where the pages begin."""
    bodies = mark.split("\n\n" + text)[1:]
    return joined(bodies) if bodies else (text, ())


def joined(bodies: list[str]) -> tuple[str, tuple[int, ...]]:
    """The pages' texts as one, and where each begins."""
    text, pages = "", []
    for body in bodies:
        pages.append(len(text))
        text += body.strip() + "\n\n" if body.strip() else ""
    return text.rstrip() + "\n", tuple(pages)
