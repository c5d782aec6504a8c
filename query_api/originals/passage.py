"""Finds a stored passage among the characters of a page. Pure.

Stored text is Markdown, and a PDF's is not: letters and digits alone are compared, so that line breaks, hyphens,
spaces, table rules and emphasis make no difference.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

MIN_CHARACTERS: Final = 3
"""Letters and digits of a passage that is looked for."""

PIECE_CHARACTERS: Final = 24
"""Of a passage that does not stand there as it is: so long a piece stands nowhere by chance."""

MIN_SHARE: Final = 0.3
"""Of such a passage's pieces that must stand on the page: the others may be on the next one."""


@dataclass(frozen=True, slots=True)
class PageText:
    """Letters and digits of a page, folded, each with the number of the character that it comes from."""

    letters: str
    indexes: list[int]

    @classmethod
    def of(cls, characters: Iterable[str]) -> PageText:
        letters: list[str] = []
        indexes: list[int] = []
        for index, character in enumerate(characters):
            folded = fold(character)
            letters.append(folded)
            indexes += [index] * len(folded)
        return cls("".join(letters), indexes)


def fold(text: str) -> str:
    """Letters and digits, without case and ligatures."""
    if text.isascii():
        return "".join(c for c in text.lower() if c.isalnum())
    plain = unicodedata.normalize("NFKC", text).casefold()
    return "".join(c for c in plain if c.isalnum())


def occurrences(text: str, passage: str) -> int:
    """How often a passage stands in a text."""
    letters = fold(passage)
    return fold(text).count(letters) if letters else 0


def locate(page: PageText, passage: str, occurrence: int = 0) -> list[int]:
    """The numbers of its characters on the page, in their order; none where it does not stand there."""
    letters = fold(passage)
    if len(letters) < MIN_CHARACTERS:
        return []
    start = -1
    for _ in range(occurrence + 1):
        following = page.letters.find(letters, start + 1)
        if following < 0:
            break
        start = following
    if start >= 0:
        return _characters(page, [(start, start + len(letters))])
    return _characters(page, _pieces(page, letters))


def _pieces(page: PageText, letters: str) -> list[tuple[int, int]]:
    pieces = [letters[i : i + PIECE_CHARACTERS] for i in range(0, len(letters), PIECE_CHARACTERS)]
    full = [piece for piece in pieces if len(piece) == PIECE_CHARACTERS]
    places = [(place, place + len(piece)) for piece in full if (place := page.letters.find(piece)) >= 0]
    return places if full and len(places) >= MIN_SHARE * len(full) else []


def _characters(page: PageText, places: list[tuple[int, int]]) -> list[int]:
    return sorted({page.indexes[i] for start, end in places for i in range(start, end)})
