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


def aligned(text: str, pages: list[str]) -> tuple[int, ...]:
    """Where each page begins in the Markdown of all: by its first letters that are found there, in order.

    The library tells page breaks for plain text only. A page without a match begins where the next one does.
    """
    places = [index for index, letter in enumerate(text) if letter.isalnum()]
    letters = "".join(text[index] for index in places)
    starts: list[int] = []
    position = 0
    for number, page in enumerate(pages):
        plain = "".join(letter for letter in page if letter.isalnum())
        probes = (plain[skip : skip + 24] for skip in range(0, min(len(plain), 480), 24))
        match = (
            next((hit for probe in probes if (hit := letters.find(probe, position)) >= 0), -1)
            if number
            else 0
        )
        if match >= 0 and plain:
            position = match
        starts.append(position if number else 0)
        position = min(position + max(len(plain) // 2, 1), len(letters)) if plain else position
    return tuple(
        _line_start(text, places[position]) if number and position < len(places) else 0
        for number, position in enumerate(starts)
    )


def _line_start(text: str, offset: int) -> int:
    """Before the marks of a heading or of bold type that the letter at `offset` begins."""
    start = text.rfind("\n", 0, offset) + 1
    return offset if any(map(str.isalnum, text[start:offset])) else start
