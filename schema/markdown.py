r"""The one reader of Markdown: where headings, code blocks and code spans are. Pure; the time is linear in the text.

CommonMark, apart from where documents as they are written differ from it: a fence counts at any indentation, since
MDX, MkDocs and docstrings put fences into indented parts; indented text is prose for the same reason; the text of a
Setext heading is one line, since converters draw a rule under paragraphs. tests/schema/test_markdown.py compares it
with a CommonMark parser where the two should agree; config/README.md says why it is not that parser.
"""

from __future__ import annotations

import html
import re
from bisect import bisect_left, bisect_right
from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MAX_HEADING_CHARACTERS = 200
MAX_MARKED_CHARACTERS = 2000
"""Characters of a heading with its links, tags and marks: what is behind them is not read."""

_CONTAINERS = r"(?:[ \t]*+(?:>|[-*+](?=[ \t])|\d{1,9}[.)](?=[ \t])))*+[ \t]*+"
_OPENING = re.compile(
    rf"^(?P<containers>{_CONTAINERS})(?P<fence>`{{3,}}+(?=[^`\n]*$)|~{{3,}}+).*$", re.MULTILINE
)
_CLOSING = re.compile(r"^(?P<containers>(?:[ \t]*+>)*+[ \t]*+)(?P<fence>`{3,}+|~{3,}+)[ \t]*$", re.MULTILINE)
_NOT_QUOTED = re.compile(r"\n(?![ \t]*>)")
_HEADING = re.compile(
    r"^ {0,3}(?:(?P<marks>#{1,6})(?:[ \t]+(?P<words>.*))?|(?P<underline>={3,}+|-{3,}+)[ \t]*)$", re.MULTILINE
)
_TABLE_DASHES = re.compile(
    r"^[ \t]*+\|?[ \t]*+:?-++:?[ \t]*+(?:\|[ \t]*+:?-++:?[ \t]*+)*+\|?[ \t]*+$", re.MULTILINE
)
_NO_ROW = re.compile(r"\n(?=[^|\n]*(?:\n|\Z))")
_NOT_SETEXT = ("#", ">", "-", "*", "+", "|", "<", "`", "~", "=")
_TICKS = re.compile(r"`+")
_ESCAPED_OR_TICKS = re.compile(r"\\.|(?P<ticks>`+)", re.DOTALL)
_BLANK_LINE = re.compile(r"\n[ \t]*\n")
_TAG = re.compile(r"</?[A-Za-z][^<>]*>")
_LINK = re.compile(r"!?\[([^\[\]]*)\]\([^()]*\)")
_CLOSING_MARKS = re.compile(r"(?:^|[ \t]+)#+[ \t]*$")
_ATTRIBUTES = re.compile(r"[ \t]*\{[#.:][^{}]*\}[ \t]*$")
_EMPHASIS = re.compile(r"^\*+|(?<!\\)\*+$")
_ESCAPE = re.compile(r"\\([!-/:-@\[-`{-~])")


class Span(NamedTuple):
    """text[start:end], in characters."""

    start: int
    end: int


class Table(NamedTuple):
    """Its header is two lines; the rows go on up to `end`."""

    header: Span
    end: int


class Heading(NamedTuple):
    """`level` from 1 to 6; `text` is plain words, without links, tags and marks."""

    start: int
    end: int
    level: int
    text: str


def code_blocks(text: str) -> list[Span]:
    """Fenced code blocks in their order: from the beginning of the line that opens one to the end of the line that
    closes it. One that nothing closes ends with its block quote, or with the text."""
    blocks: list[Span] = []
    if "```" not in text and "~~~" not in text:
        return blocks
    end = quote_end = 0
    while opening := _OPENING.search(text, end):
        limit = len(text)
        if ">" in opening["containers"]:
            if opening.end() >= quote_end:
                quote_end = _end_of_quote(text, opening.end())
            limit = quote_end
        end = _end_of_block(text, opening, limit)
        blocks.append(Span(opening.start(), end))
    return blocks


def tables(text: str, code: Sequence[Span] = ()) -> list[Table]:
    """Tables that are in none of the code blocks, in their order: a row of headings, the line of dashes below it, and
    the rows up to the first line without a bar."""
    every: list[Table] = []
    if "|" not in text:
        return every
    starts = [block.start for block in code]
    for dashes in _TABLE_DASHES.finditer(text):
        start = text.rfind("\n", 0, max(dashes.start() - 1, 0)) + 1
        block = bisect_right(starts, start) - 1
        in_code = block >= 0 and start < code[block].end
        if in_code or dashes.start() == 0 or "|" not in text[start : dashes.start()] or "|" not in dashes[0]:
            continue
        if every and start < every[-1].end:
            continue
        start += len(text[start : dashes.start()]) - len(text[start : dashes.start()].lstrip())
        after = _NO_ROW.search(text, dashes.end())
        every.append(Table(Span(start, dashes.end()), after.start() if after else len(text)))
    return every


def table_at(every: Sequence[Table], offset: int) -> Table | None:
    """The one that this is a place in."""
    index = bisect_right(every, offset, key=_header_start) - 1
    return every[index] if index >= 0 and offset < every[index].end else None


def header_above(every: Sequence[Table], text: str, offset: int) -> Span | None:
    """The header of the table one of whose rows begins here."""
    table = table_at(every, offset)
    if table is None or offset <= table.header.end:
        return None
    return table.header if not text[text.rfind("\n", 0, offset) + 1 : offset].strip() else None


def _header_start(table: Table) -> int:
    return table.header.start


def headings(text: str, code: Sequence[Span]) -> Iterator[Heading]:
    """The headings that are in none of the code blocks, in their order."""
    starts = [block.start for block in code]
    for match in _HEADING.finditer(text):
        start = match.start() if match["marks"] else _setext_start(text, match.start())
        block = bisect_right(starts, match.start()) - 1
        if start is None or (block >= 0 and match.start() < code[block].end):
            continue
        if match["marks"]:
            yield Heading(start, match.end(), len(match["marks"]), plain(match["words"] or ""))
        else:
            level = 1 if match["underline"][0] == "=" else 2
            yield Heading(start, match.end(), level, plain(text[start : match.start()]))


def code_spans(text: str, blocks: Sequence[Span] | None = None) -> list[Span]:
    """All that is code, in its order: the blocks, and what stands between equal runs of backticks in a paragraph.
    `blocks`: those of the text, where they are known."""
    spans: list[Span] = []
    position = 0
    for block in [*(code_blocks(text) if blocks is None else blocks), Span(len(text), len(text))]:
        while (tick := text.find("`", position, block.start)) >= 0:
            blank = _BLANK_LINE.search(text, tick, block.start)
            end = blank.end() - 1 if blank else block.start
            line = text.rfind("\n", position, tick) + 1  # a backslash before the tick counts
            spans.extend(_between_ticks(text, max(line, position), end))
            position = end
        if block.start < block.end:
            spans.append(block)
        position = block.end
    return spans


def without_code(text: str, blocks: Sequence[Span] | None = None) -> str:
    """Its prose, with a space for each piece of code; `blocks` as for code_spans."""
    spans = code_spans(text, blocks)
    starts, ends = [0, *(span.end for span in spans)], [*(span.start for span in spans), len(text)]
    return " ".join(text[start:end] for start, end in zip(starts, ends, strict=True))


def plain(heading: str) -> str:
    """A heading's words, without links, tags, attributes and marks."""
    words = heading.strip()[:MAX_MARKED_CHARACTERS]
    words = _CLOSING_MARKS.sub("", words) if "#" in words else words
    words = _ATTRIBUTES.sub("", words) if "{" in words else words
    for _ in range(words.count("](", 0, MAX_MARKED_CHARACTERS) and 2):  # a link may hold an image
        words = _LINK.sub(r"\1", words)
    words = _TAG.sub("", words) if "<" in words else words
    words = _EMPHASIS.sub("", words.strip()) if "*" in words else words
    words = _ESCAPE.sub(r"\1", words) if "\\" in words else words
    words = html.unescape(words) if "&" in words else words
    return " ".join(words.replace("`", "").split())[:MAX_HEADING_CHARACTERS]


def _end_of_quote(text: str, offset: int) -> int:
    """Where the lines end that `>` begins."""
    unquoted = _NOT_QUOTED.search(text, offset)
    return unquoted.start() if unquoted else len(text)


def _end_of_block(text: str, opening: re.Match[str], limit: int) -> int:
    """The same mark closes it, as long or longer, in the same quote, not indented like a line of the code."""
    fence, depth = opening["fence"], opening["containers"].count(">")
    column = len(opening["containers"].expandtabs(4))
    for closing in _CLOSING.finditer(text, opening.end(), limit):
        if (
            closing["fence"].startswith(fence)
            and closing["containers"].count(">") == depth
            and len(closing["containers"].expandtabs(4)) < column + 4
        ):
            return closing.end()
    return limit


def _setext_start(text: str, underline: int) -> int | None:
    """Where the text of a Setext heading begins: one line with nothing above it."""
    start = text.rfind("\n", 0, max(underline - 1, 0)) + 1
    line = text[start:underline].strip()
    alone = start == 0 or text[text.rfind("\n", 0, start - 1) + 1 : start].isspace()
    return start if line and alone and not line.startswith(_NOT_SETEXT) else None


def _between_ticks(text: str, start: int, end: int) -> Iterator[Span]:
    """Code spans of one paragraph. A backslash keeps a backtick from opening one, not from closing it."""
    runs: dict[int, list[int]] = defaultdict(list)
    for run in _TICKS.finditer(text, start, end):
        runs[len(run[0])].append(run.start())
    position = start
    while opening := _ESCAPED_OR_TICKS.search(text, position, end):
        position = opening.end()
        if not opening["ticks"]:
            continue
        starts = runs.get(len(opening["ticks"]), [])
        closing = bisect_left(starts, position)
        if closing < len(starts):
            position = starts[closing] + len(opening["ticks"])
            yield Span(opening.start(), position)
