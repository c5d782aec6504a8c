"""Decides: which passages of a chunk are sentences that can be quoted. Pure; offsets are into the chunk.

Headings, code, tables, rules, lines of links or markup alone are no sentences, and neither is what the chunk's
edges cut off. The time is linear in the text's length, whatever it says: a passage with its neighbours may be one
line of a million characters.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pgfolio.schema.markdown import Span, code_blocks, tables

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MAX_SENTENCE_CHARACTERS = 600
"""Characters of a sentence that can be quoted as one."""

MIN_WORDS = 4
MIN_LETTERED_WORDS = 2
BROKEN_OFF = ".,;:!?)]}\u2026"

_ITEM = re.compile(r"[ \t]*(?:[-*+•]|\d{1,3}[.)])[ \t]+(?:\[[ xX]\][ \t]+)?")
_QUOTED = re.compile(r"[ \t]*>[ \t]?")
_NOT_PROSE = re.compile(
    r"[ \t]*(?:#{1,6}(?:\s|$)|\||<[^>]*>[ \t]*$|</?[A-Za-z!][^>]*$|(?:import|export)\s.*(?:from\s|=)|!\[|\{)"
)
_RULE = re.compile(r"[ \t]*(?:[-=_*]\s*){3,}$")
_LINK = re.compile(r"!?\[[^\]]{0,300}\]\([^)]{0,1000}\)|<?https?://\S+>?")
_WORD = re.compile(r"[^\W\d_]{2,}")
_NUMBER_OR_WORD = re.compile(r"[^\W\d_]{2,}|\d[\d.,]*")
_WIDE = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_STOP = re.compile(
    r"(?<![.!?\u0964\u061f])[.!?\u0964\u061f]++[\"'\u201d\u2019)\]*_`]*+(?=\s|$)|[\u3002\uff01\uff1f]+[\u201d\u300d\u300f]?"
)
_ABBREVIATION = re.compile(
    r"(?:^|[\s(])(?:e\.g|i\.e|etc|vs|cf|approx|Mr|Mrs|Ms|Dr|Prof|No|Fig|Eq|St|[A-Z])\.$"
)
_LONGEST_ABBREVIATION = len(" approx")
_NOT_SPACE = re.compile(r"\S")


Shape = Literal["sentence", "row", "line"]


@dataclass(frozen=True, slots=True)
class QuotablePassage:
    """`text` is the chunk's own at `start`; `is_complete`: a sentence, from its beginning to its stop, a row or a
    line. `context`: what stands before it and says what it is about, its heading, a table's head, the sentence
    before."""

    start: int
    text: str
    is_complete: bool = True
    context: tuple[str, ...] = ()
    shape: Shape = "sentence"

    @property
    def end(self) -> int:
        return self.start + len(self.text)


def passages(content: str, code: Sequence[Span] | None = None) -> list[QuotablePassage]:
    """In reading order. `code`: the content's code blocks; None: as it shows them itself, from its own beginning."""
    code = code_blocks(content) if code is None else code
    blocks = sorted([*code, *(Span(table.header.start, table.end) for table in tables(content, code))])
    lower = not any(c.isupper() for c in content)
    return [
        p for start, end in _paragraphs(content, blocks) for p in _sentences(content, start, end, lower=lower)
    ]


def excerpt(content: str, begin: int = 0) -> QuotablePassage:
    """The chunk's first lines from an offset on, where it has no sentence to quote."""
    start = len(content) - len(content[begin:].lstrip())
    text = content[start : start + MAX_SENTENCE_CHARACTERS // 2]
    line_end = text.rfind("\n") if len(content) - start > len(text) else -1
    return QuotablePassage(start, (text[:line_end] if line_end > 0 else text).rstrip(), is_complete=False)


def _paragraphs(content: str, no_prose: Sequence[Span]) -> Iterator[tuple[int, int]]:
    """Where prose begins and ends: lines of one paragraph or one list item together."""
    begin = end = -1
    offset = 0
    blocks = deque(no_prose)
    for line in content.splitlines(keepends=True):
        at, offset = offset, offset + len(line)
        body = line.rstrip()
        while blocks and blocks[0].end <= at:
            blocks.popleft()
        in_block = bool(blocks) and blocks[0].start < offset
        heading_before = end >= 0 and _RULE.match(body) is not None
        if in_block or not body.strip() or _no_prose(body):
            if begin >= 0 and not heading_before:
                yield begin, end
            begin = end = -1
            continue
        item = _ITEM.match(body) or _QUOTED.match(body)
        if item and begin >= 0:
            yield begin, end
            begin = -1
        if begin < 0:
            begin = at + (item.end() if item else len(body) - len(body.lstrip()))
        end = at + len(body)
    if begin >= 0:
        yield begin, end


def _no_prose(line: str) -> bool:
    if _NOT_PROSE.match(line) or _RULE.match(line):
        return True
    without_links = _LINK.sub("", line)
    return (
        without_links != line
        and len(_WORD.findall(without_links)) < MIN_WORDS
        and not _STOP.search(without_links)
    )


def _sentences(content: str, start: int, end: int, *, lower: bool) -> Iterator[QuotablePassage]:
    at = start
    while at < end:
        stop = _stop(content, at, end, lower=lower)
        text = content[at : stop or end]
        stripped = text.strip()
        if stripped and len(stripped) <= MAX_SENTENCE_CHARACTERS and _wordy(stripped):
            begun = lower or not stripped[0].islower()
            is_complete = stop is not None and begun and stripped[0] not in BROKEN_OFF
            yield QuotablePassage(at + text.index(stripped[0]), stripped, is_complete)
        at = stop or end


def _stop(content: str, at: int, end: int, *, lower: bool) -> int | None:
    """Where the sentence that begins at `at` ends, or None if it does not end before `end`."""
    for match in _STOP.finditer(content, at, end):
        following = _NOT_SPACE.search(content, match.end(), end)
        if following and following.group().islower() and not lower:
            continue
        before = max(at, match.start() - _LONGEST_ABBREVIATION)
        if (
            following
            and match.group().startswith(".")
            and _ABBREVIATION.search(content, before, match.start() + 1)
        ):
            continue
        return match.end()
    return None


def _wordy(text: str) -> bool:
    """Numbers are words too: "She carried 64 guns."."""
    letters = len(_WORD.findall(text))
    wordy = letters >= MIN_LETTERED_WORDS and len(_NUMBER_OR_WORD.findall(text)) >= MIN_WORDS
    return wordy or len(_WIDE.findall(text)) >= MIN_WORDS
