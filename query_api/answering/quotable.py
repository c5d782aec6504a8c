"""Decides: everything in a chunk that an answer may quote, each with its context. Pure."""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from pgfolio.query_api.answering import structured
from pgfolio.query_api.answering.sentences import passages
from pgfolio.schema.markdown import Span, code_blocks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgfolio.query_api.answering.sentences import QuotablePassage

MAX_PASSAGES: Final = 400
"""Of one chunk."""

MAX_GAP: Final = 300
"""Characters between a sentence and the one before, beyond which that says nothing of it."""

_ITEM: Final = re.compile(r"(?:[-*+\u2022]|\d{1,3}[.)])[ \t]+\Z")


def quotable(path: str, content: str, code: Sequence[Span] | None) -> list[QuotablePassage]:
    """In reading order. `code`: the chunk's code blocks; None: as it shows them itself."""
    blocks = code_blocks(content) if code is None else list(code)
    all_code = structured.is_code_file(path)
    sentences = [p for p in passages(content, blocks) if p.is_complete or not all_code]
    found = [
        *_in_context(content, sentences),
        *structured.rows(content, blocks),
        *structured.code_lines(content, blocks, all_code=all_code),
    ]
    return sorted(found, key=lambda p: p.start)[:MAX_PASSAGES]


def _in_context(content: str, sentences: Sequence[QuotablePassage]) -> list[QuotablePassage]:
    """Sentences with their heading and the sentence before, items of a list with what introduces it."""
    headings = structured.headings(content)
    starts = [start for start, _ in headings]
    contextual = []
    introduction: QuotablePassage | None = None
    previous: QuotablePassage | None = None
    for sentence in sentences:
        at = bisect_right(starts, sentence.start) - 1
        begin = starts[at] if at >= 0 else 0
        if _is_item(content, sentence.start):
            before = introduction
        else:
            introduction = sentence
            before = previous
        neighbor = before if before and before.start >= begin else None
        if neighbor is previous and neighbor is not None and sentence.start - neighbor.end > MAX_GAP:
            neighbor = None
        parts = headings[at][1] if at >= 0 else "", neighbor.text if neighbor else ""
        contextual.append(replace(sentence, context=tuple(filter(None, parts))))
        previous = sentence
    return contextual


def _is_item(content: str, start: int) -> bool:
    line_start = content.rfind("\n", 0, start) + 1
    return _ITEM.search(content[line_start:start]) is not None
