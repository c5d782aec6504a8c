"""The text that is embedded of a chunk. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgfolio.flows.chunking.outline import HEADING_BYTES, TITLE_BYTES
from pgfolio.schema.markdown import plain

if TYPE_CHECKING:
    from pgfolio.schema.markdown import Span


def with_header(text: str, header: Span | None, rows: str) -> str:
    """Rows of a table that was cut below its header, which is text[header.start:header.end]."""
    return rows if header is None else f"{text[header.start : header.end]}\n{rows}"


def embedded_text(title: str | None, heading: str, content: str) -> str:
    """What is embedded of a chunk: its title and headings as a line of context, then its content.

    A heading that begins the content is not said twice. The context is at most 200 bytes and separators long.
    """
    parts = [_clip(title, TITLE_BYTES)] if title else []
    own = plain(content.partition("\n")[0].lstrip("# \t"))
    headings = [part for part in heading.split(" > ") if part and part not in (title, own)]
    if headings:
        parts.append(_clip(" > ".join(headings), HEADING_BYTES, end=True))
    if title == own:
        parts = parts[1:]
    return "\n\n".join([" > ".join(parts), content]) if parts else content


def _clip(text: str, size: int, *, end: bool = False) -> str:
    raw = text.encode("utf-8", "replace")
    if len(raw) <= size:
        return text
    return (raw[-size:] if end else raw[:size]).decode("utf-8", "ignore").strip()
