"""Decides: how much of a file arrived in its text, by an independent, cheap reading of the file. Pure.

Words are compared, as often as they stand, and not their order: a table may be read by rows or by columns. A word
that was parted or joined on the way has arrived.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from typing import Final

MIN_SHARE: Final = 0.97
"""Of the letters: with less the document is marked incomplete."""

MAX_COMPARED: Final = 8_000_000
"""Characters of either text: of a longer one nothing is said, for it would take too long."""

MAX_SEARCHED: Final = 500
"""Different words that are searched for in others."""

_WORD = re.compile(r"\w+")


def shortfall(independent: str, text: str) -> str:
    """What of the independent reading is not in the text, in a sentence; empty where it is nearly nothing."""
    share = share_arrived(independent, text)
    if share is None or share >= MIN_SHARE:
        return ""
    return f"about {max(1, round((1 - share) * 100))}% of its letters could not be read"


def share_arrived(independent: str, text: str) -> float | None:
    """From 0 to 1, in letters and digits; None where there is nothing to compare, or too much."""
    if max(len(independent), len(text)) > MAX_COMPARED:
        return None
    expected, found = _words(independent), _words(text)
    letters = sum(len(word) * count for word, count in expected.items())
    missing = expected - found
    if not letters:
        return None
    if sum(len(word) * count for word, count in missing.items()) <= (1 - MIN_SHARE) * letters:
        return 1 - sum(len(word) * count for word, count in missing.items()) / letters
    joined = "".join(_WORD.findall(_folded(text)))
    lost = 0
    for number, (word, count) in enumerate(missing.most_common()):
        in_others = joined.count(word) - found[word] if number < MAX_SEARCHED else 0
        lost += len(word) * max(0, count - max(0, in_others))
    return 1 - lost / letters


def _words(text: str) -> Counter[str]:
    return Counter(_WORD.findall(_folded(text)))


def _folded(text: str) -> str:
    """Ligatures and letters of other widths as plain ones, without accents that stand for themselves."""
    return text.casefold() if text.isascii() else unicodedata.normalize("NFKC", text).casefold()
