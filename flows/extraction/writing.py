"""Writes the Markdown that documents become: headings, paragraphs, list items, tables, code. Pure.

Words stand as a reader of the document sees them: nothing is escaped, and bold type has no marks, so that a phrase is
found whatever is emphasized in it.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_SPACES = re.compile(r"[ \xa0\u2000-\u200a\u202f\u3000]*\n\s*")
_WORDS = re.compile(r"[a-zA-Z ]+")
_TICKS = re.compile(r"`{3,}")


PART_TOKENS = 400
"""Of a sheet, with its header: fewer than chunking.tokens as it is shipped, less a chunk's context."""


class Writer:
    """Blocks in their order."""

    def __init__(self) -> None:
        self._blocks: list[tuple[str, str]] = []

    def __len__(self) -> int:
        return len(self._blocks)

    def extend(self, other: Writer) -> None:
        self._blocks += other._blocks

    def insert(self, other: Writer) -> None:
        """Before all else."""
        self._blocks[:0] = other._blocks

    def kinds(self) -> set[str]:
        return {kind for kind, _ in self._blocks}

    def paragraph(self, text: str) -> None:
        if text := _SPACES.sub("\n", text).strip():
            self._blocks.append(("paragraph", text))

    def heading(self, level: int, text: str) -> None:
        if text := " ".join(text.split()):
            self._blocks.append(("heading", f"{'#' * min(max(level, 1), 6)} {text}"))

    def item(self, text: str, depth: int = 0, label: str = "-") -> None:
        """Of a list; `depth` counts from 0."""
        indent = "  " * min(depth, 8)
        if text := _SPACES.sub("\n", text).strip():
            self._blocks.append(("item", f"{indent}{label} " + text.replace("\n", f"\n{indent}  ")))

    def code(self, text: str, language: str = "") -> None:
        if text.strip("\n"):
            fence = "`" * max([3, *(len(ticks) + 1 for ticks in _TICKS.findall(text))])
            body = text.strip("\n")
            self._blocks.append(("code", f"{fence}{language}\n{body}\n{fence}"))

    def table(self, rows: Iterable[Sequence[str]]) -> None:
        """The first row is the header. Rows that hold nothing are left out."""
        lines = [(_row(row), len(row)) for row in rows if any(row)]
        if lines:
            (header, width), *others = lines
            self._blocks.append(("table", "\n".join([header, _rule(width), *(line for line, _ in others)])))

    def sheet(self, rows: Iterable[Sequence[str]]) -> None:
        """A table that may be long: parted so that each chunk of it begins with the header, unless that is more than
        half of a part."""
        filled = (row for row in rows if any(row))
        if (first := next(filled, None)) is None:
            return
        head = [_row(first), _rule(len(first))]
        header_cost = sum(map(_cost, head))
        room = PART_TOKENS - header_cost if header_cost <= PART_TOKENS / 2 else math.inf
        part, cost = [*head], 0.0
        for row in filled:
            line = _row(row)
            line_cost = _cost(line)
            if cost + line_cost > room and len(part) > len(head):
                self._blocks.append(("table", "\n".join(part)))
                part, cost = [*head], 0.0
            part.append(line)
            cost += line_cost
        self._blocks.append(("table", "\n".join(part)))

    def verbatim(self, text: str) -> None:
        if text.strip():
            self._blocks.append(("verbatim", text.strip("\n")))

    def line(self) -> str:
        """All of it in one line, as it stands in a cell of a table."""
        return " ".join(word for _, text in self._blocks for word in text.split())

    def text(self) -> str:
        parts: list[str] = []
        before = ""
        for kind, text in self._blocks:
            if parts:
                parts.append("\n" if kind == before == "item" else "\n\n")
            parts.append(text)
            before = kind
        return "".join(parts)


def _rule(width: int) -> str:
    return "|" + " --- |" * width


def _cost(line: str) -> float:
    """About the tokens of a line: a word of letters is one or two, every other sign is one."""
    signs = len(_WORDS.sub("", line))
    return 0.25 * (len(line) - signs) + 1.3 * signs


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(" ".join(cell.split()) for cell in cells) + " |"


def link(text: str, address: Any) -> str:
    """The text with the address, if that is one of the web's or a mail's and says more than the text."""
    bare = str(address or "").strip()
    words = text.strip()
    if not words or not bare.lower().startswith(("http://", "https://", "mailto:")) or len(bare) > 2000:
        return text
    if words.rstrip("/") in (bare.rstrip("/"), bare.partition(":")[2].strip("/")) or re.search(
        r"[\s<>]", bare
    ):
        return text
    start = text[: len(text) - len(text.lstrip())]
    end = text[len(text.rstrip()) :]
    return f"{start}[{words}]({bare.replace('(', '%28').replace(')', '%29')}){end}"
