"""Decides: how a document's text is cut into chunks. Pure but for the caller's `count`, which counts tokens.

Sizes are estimated (see token_estimate.py); tokens are counted once for all chunks of a batch, and only what
is over is cut again.
"""

from __future__ import annotations

import hashlib
import re
from bisect import bisect_left, bisect_right
from importlib.metadata import version
from typing import TYPE_CHECKING, NamedTuple

from pgfolio.flows.chunking.boundaries import chunk_boundaries
from pgfolio.flows.chunking.embedded_text import embedded_text, with_header
from pgfolio.flows.chunking.outline import Chunkable, Outline
from pgfolio.flows.chunking.token_estimate import TOKEN
from pgfolio.schema.records import Chunk

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pgfolio.schema.markdown import Span

FINGERPRINT = f"chunk-4/semantic-text-splitter-{version('semantic-text-splitter')}"
MIN_TOKENS = 96  # the context line takes up to 80 bytes of title; content must still fit
MAX_HEADER_SHARE = 0.25
"""Of a chunk that a table's header may take which is repeated in it."""

TARGET_FRACTION = 0.96  # of the limit, by estimate: 3% of the pieces are over it and cut again

_GAP = re.compile(r"\s+")
_PAUSE = re.compile(r"\n|(?<=[.!?]) |(?<=[\u3002\uff01\uff1f])")


def chunk(
    document_text: str,
    *,
    title: str | None,
    pages: Sequence[int],
    markdown: bool,
    count: Callable[[Sequence[str]], list[int]],
    tokens: int = 512,
    overlap: int = 64,
) -> list[Chunk]:
    """One document's chunks; see chunk_many."""
    document = Chunkable(document_text, title, pages, markdown)
    return chunk_many([document], count=count, tokens=tokens, overlap=overlap)[0]


def chunk_many(
    documents: Sequence[Chunkable],
    *,
    count: Callable[[Sequence[str]], list[int]],
    tokens: int = 512,
    overlap: int = 64,
) -> list[list[Chunk]]:
    """The chunks of each document, in reading order.

    `count` is given texts as they are embedded (see embedded_text), all of the batch in its first call, those
    cut again in the next ones. No chunk has more than `tokens` of them. Up to `overlap` tokens, by estimate, are
    repeated from the chunk before where there is room, never from another section. Every character but
    whitespace is in a chunk.
    """
    if tokens < MIN_TOKENS:
        raise ValueError(f"chunking.tokens is {tokens}: it must be at least {MIN_TOKENS}")
    room, lead = int(tokens * TARGET_FRACTION * TOKEN), overlap * TOKEN
    outlines = [Outline.of(document, room * MAX_HEADER_SHARE) for document in documents]
    pending = [
        _piece(outline, number, start, end, room=room, overlap=lead)
        for number, outline in enumerate(outlines)
        for start, end in chunk_boundaries(outline, 0, len(outline.document.text), room - outline.context(""))
    ]
    finished = _within_limit(pending, outlines, count, tokens, lead)
    chunks: list[list[Chunk]] = [[] for _ in documents]
    for piece, text, counted in sorted(finished, key=lambda item: item[0][:2]):
        chunks[piece.document].append(_chunk(piece, text, counted, documents[piece.document]))
    return chunks


def _within_limit(
    pending: Sequence[_Piece],
    outlines: Sequence[Outline],
    count: Callable[[Sequence[str]], list[int]],
    tokens: int,
    lead: int,
) -> list[tuple[_Piece, str, int]]:
    """Pieces of at most so many tokens, with their text as it is embedded and its tokens, in no order."""
    finished: list[tuple[_Piece, str, int]] = []
    while pending:
        texts = [piece.text_to_embed(outlines) for piece in pending]
        again: list[_Piece] = []
        for piece, text, counted in zip(pending, texts, count(texts), strict=True):
            smaller = _split_further(piece, outlines[piece.document], counted, tokens, lead)
            if smaller:
                again += smaller
            else:
                finished.append((piece, text, counted))
        pending = again
    return finished


class _Piece(NamedTuple):
    """A slice of a document: text[start:end] is its own, text[lead:start] repeated from the piece before. `header`:
    of the table whose rows it begins with, repeated above them."""

    document: int
    start: int
    end: int
    lead: int
    heading: str
    header: Span | None = None

    def content(self, text: str) -> str:
        return with_header(text, self.header, text[self.lead : self.end])

    def text_to_embed(self, outlines: Sequence[Outline]) -> str:
        document = outlines[self.document].document
        return embedded_text(document.title, self.heading, self.content(document.text))


def _piece(outline: Outline, number: int, start: int, end: int, *, room: int, overlap: int) -> _Piece:
    """A piece with as much of the text before it as there is room for."""
    heading = outline.path(start)
    if (header := outline.table_header(start)) is not None:
        return _Piece(number, start, end, start, heading, header)
    remaining = room - outline.context(heading) - outline.cost(start, end)
    return _Piece(number, start, end, _lead(outline, start, min(overlap, remaining)), heading)


def _chunk(piece: _Piece, text: str, tokens: int, document: Chunkable) -> Chunk:
    middle = (piece.start + piece.end) // 2
    page = max(1, bisect_right(document.pages, middle)) if document.pages else None
    return Chunk(
        content=piece.content(document.text),
        heading=piece.heading,
        page=page,
        start=piece.lead,
        end=piece.end,
        tokens=tokens,
        hash=hashlib.sha256(text.encode("utf-8", "replace")).digest(),
    )


def _lead(outline: Outline, start: int, overlap: int) -> int:
    """Where the repeated text before `start` begins: after a line, a sentence or a word, in the same section.
    It costs at most `overlap`."""
    text, totals, section = outline.document.text, outline.totals, outline.section(start)
    low = bisect_left(totals, totals[start] - overlap, section, start) if overlap > 0 else start
    if low >= start:
        return start
    if (following := outline.after_rows(low)) > low:
        begin = min(following, start)
    elif low == section:
        begin = low
    else:
        pause = _PAUSE.search(text, low, start - 1) or _GAP.search(text, low, start - 1)
        begin = pause.end() if pause else start
    lead = text[begin:start]
    return start if not lead.strip() else begin + len(lead) - len(lead.lstrip())


def _split_further(piece: _Piece, outline: Outline, counted: int, tokens: int, lead: int) -> list[_Piece]:
    """What to try instead of a piece that is over the limit; nothing if it is not, or is a single character."""
    length = piece.end - piece.start
    if counted <= tokens:
        return []
    if piece.lead < piece.start:
        return [piece._replace(lead=piece.start)]
    if piece.header is not None and "\n" not in outline.document.text[piece.start : piece.end]:
        return [piece._replace(header=None)]
    if piece.heading and length <= tokens // 2:
        return [piece._replace(heading="")]
    if length == 1:
        return []
    header_cost = outline.cost(*piece.header) if piece.header else 0
    cost = outline.cost(piece.start, piece.end) + header_cost
    size = min(cost - 1, max(1, int(cost * tokens / counted * 0.95)))
    return [
        _smaller(piece, outline, start, end, lead=min(lead, size // 4))
        for start, end in chunk_boundaries(outline, piece.start, piece.end, size)
    ]


def _smaller(piece: _Piece, outline: Outline, start: int, end: int, *, lead: int) -> _Piece:
    heading = outline.path(start) if piece.heading else ""
    header = piece.header if start == piece.start else outline.table_header(start)
    begins = start == piece.start or header is not None
    return _Piece(
        piece.document, start, end, start if begins else _lead(outline, start, lead), heading, header
    )
