"""Where a document's headings and code blocks are, and what its parts cost in tokens. Pure."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pgfolio.flows.chunking.token_estimate import running_total

if TYPE_CHECKING:
    from collections.abc import Sequence

CONTEXT_COST = 35  # a character of title or heading, in hundredths of a token
TITLE_BYTES, HEADING_BYTES = 80, 120
"""A token is at least a byte long, so this bounds the context in any vocabulary."""

_LINE = re.compile(
    r"^(?: {0,3}(#{1,6})(?:[ \t]+(.*))?$|[ \t]*(`{3,}|~{3,})(.*)$| {0,3}(={3,}|-{3,})[ \t]*$)", re.MULTILINE
)
_TAG = re.compile(r"</?[A-Za-z][^<>]*>")
_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
_NOT_SETEXT = ("#", ">", "-", "*", "+", "|", "<", "`", "~", "=")


@dataclass(frozen=True, slots=True)
class Chunkable:
    """A document's text with what chunking needs to know; `pages`: the offset at which each page begins."""

    text: str
    title: str | None = None
    pages: Sequence[int] = ()
    markdown: bool = False


@dataclass(frozen=True, slots=True)
class Outline:
    """Where a document's headings and code blocks are, in order, and what its parts cost in tokens."""

    document: Chunkable
    totals: Sequence[int]
    starts: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    levels: list[int] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    fences: list[int] = field(default_factory=list)  # offsets where a code block begins, ends, begins, ...

    @classmethod
    def of(cls, document: Chunkable) -> Outline:
        outline = cls(document, running_total(document.text))
        if document.markdown:
            outline.read()
        return outline

    def read(self) -> None:
        fence = ""
        trail: list[tuple[int, str]] = []
        for match in _LINE.finditer(self.document.text):
            marks, words, ticks, info, line = match.groups()
            if ticks:
                if not fence:
                    fence = ticks
                elif ticks[0] != fence[0] or len(ticks) < len(fence) or info.strip():
                    continue
                else:
                    fence = ""
                self.fences.append(match.start())
            elif not fence and marks:
                self.heading(match.start(), match.end(), len(marks), words or "", trail)
            elif not fence and line and (above := self.above(match.start())) is not None:
                level = 1 if line[0] == "=" else 2
                self.heading(above, match.end(), level, self.document.text[above : match.start()], trail)

    def above(self, underline: int) -> int | None:
        """Where the text of a Setext heading begins: one line with nothing above it."""
        text = self.document.text
        start = text.rfind("\n", 0, max(underline - 1, 0)) + 1
        line = text[start:underline].strip()
        alone = start == 0 or text[text.rfind("\n", 0, start - 1) + 1 : start].isspace()
        return start if line and alone and not line.startswith(_NOT_SETEXT) else None

    def heading(self, start: int, end: int, level: int, words: str, trail: list[tuple[int, str]]) -> None:
        while trail and trail[-1][0] >= level:
            trail.pop()
        trail.append((level, plain(words)))
        self.starts.append(start)
        self.ends.append(end)
        self.levels.append(level)
        self.paths.append(" > ".join(part for _, part in trail if part))

    def cost(self, low: int, high: int) -> int:
        """The estimate for text[low:high], in hundredths of a token."""
        return self.totals[high] - self.totals[low]

    def context(self, heading: str) -> int:
        title = min(len(self.document.title or ""), TITLE_BYTES)
        return CONTEXT_COST * (title + min(len(heading), HEADING_BYTES))

    def path(self, offset: int) -> str:
        return self.paths[index - 1] if (index := bisect_right(self.starts, offset)) else ""

    def body(self, low: int, high: int) -> int:
        """What follows the headings at `low`; `low` itself if there is none."""
        offset = low
        for index in range(bisect_left(self.starts, low), bisect_left(self.starts, high)):
            if self.starts[index] != offset:
                break
            offset = self.ends[index]
            while offset < high and self.document.text[offset].isspace():
                offset += 1
        return min(offset, high)

    def section(self, offset: int) -> int:
        return self.starts[index - 1] if (index := bisect_right(self.starts, offset)) else 0


def plain(heading: str) -> str:
    """A heading's words, without links, tags and marks."""
    words = _LINK.sub(r"\1", heading) if "[" in heading else heading  # the search costs more than all else
    words = _TAG.sub("", words) if "<" in words else words
    return " ".join(words.replace("`", "").strip(" \t\n#*").split())[:200]
