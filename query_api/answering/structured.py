"""Decides: what of a chunk beside its sentences can hold a fact: rows of tables, lines of code, lines that are no
prose; each with what says what it is about: its table's head, the lines before it. Pure; offsets into the chunk."""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import TYPE_CHECKING, Final

from pgfolio.query_api.answering.sentences import MAX_SENTENCE_CHARACTERS, QuotablePassage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pgfolio.query_api.answering.sentences import Shape
    from pgfolio.schema.markdown import Span

_ROW: Final = re.compile(r"[ \t]*\|.*\|[ \t]*$")
_RULE: Final = re.compile(r"[ \t]*\|?[ \t]*:?-{2,}:?[ \t]*(?:\|[ \t]*:?-{2,}:?[ \t]*)*\|?[ \t]*$")
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
CONTEXT_LINES: Final = 2
"""Lines before a line of code that tell what it does."""


def is_code_file(path: str) -> bool:
    return _CODE_FILE.search(path) is not None


def rows(content: str, code: Sequence[Span]) -> Iterator[QuotablePassage]:
    """Rows of tables in Markdown's form, but for the head, which each has as its context, with the line above it."""
    head, above, previous = "", "", ""
    for start, line in _lines(content):
        if not _ROW.match(line) or _in_code(start, code):
            above = line or above
            head = previous = ""
            continue
        if _RULE.match(line):
            head = previous or head
            continue
        if head or previous:
            yield _quoted(start, line, (above, head or previous), "row")
        previous = line


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
    question_words = set(_WORDS.findall(question.casefold()))
    named = [
        i
        for i in range(1, len(heads))
        if (words := set(_WORDS.findall(heads[i].casefold()))) and words <= question_words
    ]
    columns = named or list(range(1, len(values)))
    of = [f"{heads[i]}: {values[i]}" if heads[i] else values[i] for i in columns if values[i]]
    return f"{values[0]}, {'; '.join(of)}" if values[0] else "; ".join(of)


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
