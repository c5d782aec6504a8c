"""Where a document's headings and code blocks are, and what its parts cost in tokens. Pure."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from operator import itemgetter
from typing import TYPE_CHECKING

from pgfolio.flows.chunking.token_estimate import running_total
from pgfolio.schema import markdown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgfolio.schema.markdown import Span, Table

CONTEXT_COST = 35  # a character of title or heading, in hundredths of a token
START = itemgetter(0)
TITLE_BYTES, HEADING_BYTES = 80, 120
"""A token is at least a byte long, so this bounds the context in any vocabulary."""


@dataclass(frozen=True, slots=True)
class Chunkable:
    """A document's text with what chunking needs to know; `pages`: the offset at which each page begins."""

    text: str
    title: str | None = None
    pages: Sequence[int] = ()
    markdown: bool = False
    code_blocks: Sequence[Span] | None = None
    """Those of `text`; None: they have not been looked for."""


@dataclass(frozen=True, slots=True)
class Outline:
    """Where a document's headings and code blocks are, in order, and what its parts cost in tokens."""

    document: Chunkable
    totals: Sequence[int]
    starts: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    levels: list[int] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    code: list[Span] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)

    @classmethod
    def of(cls, document: Chunkable, max_header_cost: float) -> Outline:
        """`max_header_cost`: of a table's header that is repeated."""
        outline = cls(document, running_total(document.text))
        if document.markdown:
            outline.read(max_header_cost)
        return outline

    def read(self, max_header_cost: float) -> None:
        text = self.document.text
        code = self.document.code_blocks
        self.code.extend(markdown.code_blocks(text) if code is None else code)
        tables = markdown.tables(text, self.code)
        self.tables.extend(table for table in tables if self.cost(*table.header) <= max_header_cost)
        trail: list[tuple[int, str]] = []
        for start, end, level, words in markdown.headings(text, self.code):
            while trail and trail[-1][0] >= level:
                trail.pop()
            trail.append((level, words))
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

    def in_code(self, offset: int) -> bool:
        block = bisect_right(self.code, offset, key=START) - 1
        return block >= 0 and offset < self.code[block].end

    def table_header(self, offset: int) -> Span | None:
        """That of the table one of whose rows begins here."""
        return markdown.header_above(self.tables, self.document.text, offset)

    def header_cost(self, offset: int) -> int:
        """What the header costs that is repeated above the row that begins here."""
        header = self.table_header(offset) if self.tables else None
        return self.cost(*header) if header else 0

    def cost_with_header(self, low: int, high: int) -> int:
        return self.cost(low, high) + self.header_cost(low)

    def after_rows(self, offset: int) -> int:
        """The end of the table among whose rows this is; else the offset itself."""
        table = markdown.table_at(self.tables, offset)
        return table.end if table else offset

    def parts_header(self, offset: int) -> bool:
        """Whether a cut here would part a table's header, or leave it without a row."""
        table = markdown.table_at(self.tables, offset)
        return table is not None and table.header.start < offset <= table.header.end + 1

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
