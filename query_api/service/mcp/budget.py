"""Decides: what of a result fits into so many tokens. Pure.

Which tokenizer a client's model has is not known: a token is taken for three bytes, which is more than any takes for
a usual text (four characters of English, one or two of Chinese).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgfolio.query_api.service.mcp.contracts import ToolPassage

BYTES_PER_TOKEN: Final = 3
ENVELOPE_TOKENS: Final = 200
"""Of the fields around the items."""


def estimated_tokens(value: Any) -> int:
    """Of a text, or of what else becomes JSON."""
    data = value.encode() if isinstance(value, str) else msgspec.json.encode(value)
    return -(-len(data) // BYTES_PER_TOKEN)


def shortened_text(text: str, tokens: int) -> str:
    """The beginning that fits, whole words where there are some."""
    data = msgspec.json.encode(text)[1:-1]
    max_bytes = tokens * BYTES_PER_TOKEN
    if len(data) <= max_bytes:
        return text
    # Each character is at least a byte of JSON, so a first guess is never too short to be shortened.
    end = min(len(text), max_bytes)
    while end > 1 and len(msgspec.json.encode(text[:end])) - 2 > max_bytes:
        end = max(1, int(end * min(0.95, max_bytes / (len(msgspec.json.encode(text[:end])) - 2))))
    part = text[:end]
    space = max(part.rfind(" "), part.rfind("\n"))
    return part[:space] if space > end // 2 else part


def fitting(passages: Sequence[ToolPassage], tokens: int) -> list[ToolPassage]:
    """The first of them that fit. The first of all is cut where it does not: one is always there."""
    fitted: list[ToolPassage] = []
    left = tokens - ENVELOPE_TOKENS
    for passage in passages:
        size = estimated_tokens(passage)
        if size > left:
            if fitted:
                break
            around = estimated_tokens(msgspec.structs.replace(passage, text=""))
            text = shortened_text(passage.text, max(left - around, 50))
            passage = msgspec.structs.replace(  # noqa: PLW2901
                passage, text=text, continue_at=_continued(passage, text)
            )
            size = left
        fitted.append(passage)
        left -= size
    return fitted


def _continued(passage: ToolPassage, text: str) -> int:
    """Where the cut text ends in the document: a chunk's text ends as the document's does there, and may have a
    table's header before it."""
    begins = passage.end - len(passage.text)
    return min(max(begins + len(text), passage.start), passage.end)
