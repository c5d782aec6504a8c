"""Leaves out what a model thinks aloud: what stands between `<think>` tags is neither answer nor source."""

from __future__ import annotations

import re
from typing import Final

_NAMES: Final = "think|thinking|thought|reasoning"
_OPEN = re.compile(rf"(?<!`)<(?:{_NAMES})>", re.IGNORECASE)
_CLOSE = re.compile(rf"(?<!`)</(?:{_NAMES})>", re.IGNORECASE)
_EITHER = re.compile(rf"(?<!`)</?(?:{_NAMES})>", re.IGNORECASE)
_BEGUN = re.compile(r"`?(?:</?[a-z]{0,9})?\Z", re.IGNORECASE)
"""What may become a tag, or the backtick that makes it one that is written about."""
_LONGEST: Final = len("`</reasoning>")


class ThoughtFilter:
    """Fed pieces of an answer, gives those of its text. `closes_first`: the model's first tag is a closing one, since
    its prompt's template opened the thought; then what comes before it is held back."""

    def __init__(self, *, closes_first: bool = False) -> None:
        self.closes_first = closes_first
        """Found out as well, from an answer of which that is true: what was given before it was thought."""
        self._thinking = closes_first
        self._opened = ""
        self._buffer = ""
        self._searched = 0
        self._gave = False
        self._seen_tag = closes_first

    def more(self, piece: str) -> str:
        """The text that is certain now."""
        self._buffer += piece
        given = ""
        while match := self._next_tag():
            before, self._buffer = self._buffer[: match.start()], self._buffer[match.end() :]
            self._searched = 0
            closes = match[0].startswith("</")
            if not closes:
                given += before
            elif not self._thinking:  # nothing opened it
                self.closes_first, self._gave, given = True, False, ""
            self._gave = self._gave or bool(given.strip())
            self._seen_tag, self._thinking, self._opened = True, not closes, match[0]
        if self._thinking:
            self._searched = max(0, len(self._buffer) - _LONGEST)
            return given
        begun = _BEGUN.search(self._buffer)
        end = begun.start() if begun else len(self._buffer)
        given, self._buffer = given + self._buffer[:end], self._buffer[end:]
        self._gave = self._gave or bool(given.strip())
        return given

    @property
    def thought(self) -> bool:
        """Whether anything was left out."""
        return self._seen_tag

    def end(self, *, complete: bool) -> str:
        """What is left. A tag that nothing closes in the middle of a whole answer is a word of it."""
        rest, self._buffer = self._buffer, ""
        if not self._thinking:
            return rest
        if not complete or (self._opened and not self._gave):
            return ""
        return self._opened + rest

    def _next_tag(self) -> re.Match[str] | None:
        pattern = _CLOSE if self._thinking else _OPEN if self._seen_tag else _EITHER
        return pattern.search(self._buffer, self._searched)
