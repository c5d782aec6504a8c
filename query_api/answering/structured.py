"""Decides: what of a chunk beside its sentences can hold a fact: rows of tables, lines of code, lines that are no
prose; each with what says what it is about: its table's head, the lines before it. Pure; offsets into the chunk."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import deque
from typing import TYPE_CHECKING, Final

from pgfolio.query_api.answering.sentences import MAX_SENTENCE_CHARACTERS, QuotablePassage
from pgfolio.schema.markdown import tables

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pgfolio.query_api.answering.sentences import Shape
    from pgfolio.schema.markdown import Span

_ROW: Final = re.compile(r"[ \t]*\|.*\|[ \t]*$")
_BAR: Final = re.compile(r"(?<!\\)\|")
_FENCE: Final = re.compile(r"[ \t>]*(?:`{3,}|~{3,})")
_HEADING: Final = re.compile(r" {0,3}#{1,6}\s+(.*\S)")
_WORD: Final = re.compile(r"\w")
_WORDS: Final = re.compile(r"\w+")
_CODE_FILE: Final = re.compile(
    r"\.(?:py|pyi|js|ts|tsx|jsx|go|rs|c|h|cc|cpp|hpp|java|kt|rb|php|sh|bash|sql|toml|cfg|ini|ya?ml|json|lua|pl|swift)$"
    r"|\.(?:scala|cs|r|conf|env)$",
    re.IGNORECASE,
)
STEM_LETTERS: Final = 4
"""Letters by which words are taken for forms of one, before PostgreSQL tells their stems."""

CONTEXT_LINES: Final = 2
"""Lines before a line of code that tell what it does."""


def is_code_file(path: str) -> bool:
    return _CODE_FILE.search(path) is not None


def rows(content: str, code: Sequence[Span]) -> Iterator[QuotablePassage]:
    """Rows of tables in Markdown's form, each with the line above the table and its head as context; where the head
    is in an earlier chunk, the row before."""
    remaining = deque(tables(content, code))
    above, head = "", ""
    for start, line in _lines(content):
        while remaining and remaining[0].end <= start:
            remaining.popleft()
        if remaining and start + len(line) > remaining[0].header.start:
            if start > remaining[0].header.end:
                yield _quoted(start, line, (above, head), "row")
            elif start <= remaining[0].header.start:
                head = line
        elif not _ROW.match(line) or _in_code(start, code):
            above, head = line or above, ""
        else:
            if head:
                yield _quoted(start, line, (above, head), "row")
            head = line


def cells(row: str) -> list[str]:
    """Of a row or a head in Markdown's form."""
    return [
        cell.replace("\\|", "|").strip()
        for cell in _BAR.split(row.strip().removeprefix("|").removesuffix("|"))
    ]


def cells_in_words(question: str, row: QuotablePassage) -> str:
    """The cells of a row that a question asks for, each under its head: those of the columns that it names, else all
    of them. "Revenue, 2022: 3,776"."""
    heads, values = cells(row.context[-1]), cells(row.text)
    if len(heads) != len(values) or len(values) < 2:
        return row.text
    columns = named_columns(question, heads) or list(range(1, len(values)))
    of = [f"{heads[i]}: {values[i]}" if heads[i] else values[i] for i in columns if values[i]]
    return f"{values[0]}, {'; '.join(of)}" if values[0] else "; ".join(of)


def named_columns(question: str, heads: Sequence[str]) -> list[int]:
    """Columns, but for the first, that a question names: those whose heads have most of their words in it, in any
    form."""
    stems = _stems(question)
    shares = [len(stems & own) / len(own) if (own := _stems(head)) else 0.0 for head in heads]
    best = max(shares[1:], default=0.0)
    return [i for i in range(1, len(heads)) if shares[i] == best > 0]


def names_cell(question: str, row: QuotablePassage) -> bool:
    """Whether a question names both what a row is about, its first cell, and one of its table's columns."""
    heads, values = cells(row.context[-1]), cells(row.text)
    if len(heads) != len(values) or not named_columns(question, heads):
        return False
    subject = set(_WORDS.findall(values[0].casefold()))
    return bool(subject) and subject <= set(_WORDS.findall(question.casefold()))


def _stems(text: str) -> set[str]:
    return {word[:STEM_LETTERS] for word in _WORDS.findall(text.casefold()) if len(word) >= STEM_LETTERS}


def code_lines(content: str, code: Sequence[Span], *, all_code: bool = False) -> Iterator[QuotablePassage]:
    """Lines of code blocks, or all of a file of code."""
    before: list[str] = []
    for start, line in _lines(content):
        in_code = all_code or _in_code(start, code)
        if in_code and _WORD.search(line) and not _FENCE.match(line):
            context = (*_enclosing(before, line), *before[-CONTEXT_LINES:])
            yield _quoted(start, line, context, "line")
        if _WORD.search(line) and not _FENCE.match(line):
            before.append(line)


def headings(content: str) -> list[tuple[int, str]]:
    """Where each heading of the chunk begins, and its words."""
    return [(start, match[1]) for start, line in _lines(content) if (match := _HEADING.match(line))]


def _enclosing(before: Sequence[str], line: str) -> list[str]:
    """The line that begins the block in which this one is indented."""
    indent = len(line) - len(line.lstrip())
    if not indent:
        return []
    for earlier in reversed(before[-60:]):
        if len(earlier) - len(earlier.lstrip()) < indent:
            return [earlier] if earlier not in before[-CONTEXT_LINES:] else []
    return []


def _quoted(start: int, line: str, context: tuple[str, ...], shape: Shape) -> QuotablePassage:
    text = line.strip()[:MAX_SENTENCE_CHARACTERS].rstrip()
    return QuotablePassage(start + line.index(text[0]), text, context=context, shape=shape)


def _in_code(start: int, code: Sequence[Span]) -> bool:
    before = bisect_right(code, start, key=lambda span: span.start)
    return before > 0 and start < code[before - 1].end


def _lines(content: str) -> Iterator[tuple[int, str]]:
    offset = 0
    for line in content.splitlines(keepends=True):
        yield offset, line.rstrip()
        offset += len(line)
