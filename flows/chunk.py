"""Decides: how a document's text is cut into chunks. Pure but for the caller's `count`, which counts tokens.

Cuts are chosen by what stands there and near it (a heading's level, a hash of the line that follows), not by how much
text came before. So an edit moves the cuts in its neighbourhood only, and the chunks behind it keep their hashes.
Sizes are kept in characters, tokens are counted once for all chunks of a batch, and only what is over is cut again.
"""

from __future__ import annotations

import hashlib
import re
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import version
from itertools import pairwise
from math import ceil
from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

from semantic_text_splitter import MarkdownSplitter, TextSplitter

from schema.records import Chunk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

RECIPE = f"chunk-1/semantic-text-splitter-{version('semantic-text-splitter')}"
MIN_TOKENS = 96  # the context line takes up to 80 bytes of title; content must still fit
CHARS_PER_TOKEN = 3.2  # English prose has 4, Markdown with code 3.3 (wordllama's vocabulary)
PARAGRAPH, BEHIND_COLON, IN_CODE, IN_BLOCK = 7, 8, 9, 10  # ranks of boundaries below the six heading levels
TITLE_BYTES, HEADING_BYTES = (
    80,
    120,
)  # a token is at least a byte long, so this bounds the context in any vocabulary

_LINE = re.compile(
    r"^(?: {0,3}(#{1,6})(?:[ \t]+(.*))?$|[ \t]*(`{3,}|~{3,})(.*)$| {0,3}(={3,}|-{3,})[ \t]*$)", re.MULTILINE
)
_BLANK = re.compile(r"\n(?:[ \t]*\n)+")
_NEWLINE = re.compile(r"\n+")
_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
_PAUSE = re.compile(r"\n|(?<=[.!?。！？]) |(?<=[。！？])")
_NOT_SETEXT = ("#", ">", "-", "*", "+", "|", "<", "`", "~", "=")


@dataclass(frozen=True, slots=True)
class Chunkable:
    """A document's text with what chunking needs to know of it. `pages`: the offset at which each page begins."""

    text: str
    title: str | None = None
    pages: Sequence[int] = ()
    markdown: bool = False


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

    `count` is given texts as they are embedded (see embedded_text), all of the batch in its first call, those cut
    again in the next ones. No chunk has more than `tokens` of them. Up to `overlap` tokens' worth of characters are
    repeated from the chunk before, never from another section. Every character but whitespace is in a chunk.
    """
    if tokens < MIN_TOKENS:
        raise ValueError(f"chunking.tokens is {tokens}: it must be at least {MIN_TOKENS}")
    outlines = [_Outline.of(document) for document in documents]
    pending = [
        piece
        for number, outline in enumerate(outlines)
        for piece in _first_cut(
            number, outline, int(tokens * CHARS_PER_TOKEN), int(overlap * CHARS_PER_TOKEN)
        )
    ]
    finished: list[tuple[_Piece, str, int]] = []
    while pending:
        texts = [piece.embedded(outlines) for piece in pending]
        again: list[_Piece] = []
        for piece, text, counted in zip(pending, texts, count(texts), strict=True):
            smaller = _smaller(piece, outlines[piece.document], counted, tokens) if counted > tokens else None
            if smaller is None:
                finished.append((piece, text, counted))
            else:
                again += smaller
        pending = again
    chunks: list[list[Chunk]] = [[] for _ in documents]
    for piece, text, counted in sorted(finished, key=lambda item: item[0][:2]):
        chunks[piece.document].append(_chunk(piece, text, counted, documents[piece.document]))
    return chunks


def embedded_text(title: str | None, heading: str, content: str) -> str:
    """What is embedded of a chunk: its title and headings as a line of context, then its content.

    A heading that begins the content is not said twice. The context is at most 200 bytes and a separator long.
    """
    parts = [_clip(title, TITLE_BYTES)] if title else []
    own = _plain(content.partition("\n")[0].lstrip("# \t"))
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


def _plain(heading: str) -> str:
    return _LINK.sub(r"\1", heading).strip(" \t#*`")[:200]


class _Piece(NamedTuple):
    """A slice of a document: text[start:end] is its own, text[lead:start] repeated from the piece before."""

    document: int
    start: int
    end: int
    lead: int
    heading: str

    def content(self, text: str) -> str:
        return text[self.lead : self.end]

    def embedded(self, outlines: Sequence[_Outline]) -> str:
        document = outlines[self.document].document
        return embedded_text(document.title, self.heading, self.content(document.text))


def _chunk(piece: _Piece, text: str, tokens: int, document: Chunkable) -> Chunk:
    page = max(1, bisect_right(document.pages, piece.lead)) if document.pages else None
    return Chunk(
        content=piece.content(document.text),
        heading=piece.heading,
        page=page,
        start=piece.lead,
        end=piece.end,
        tokens=tokens,
        hash=hashlib.sha256(text.encode("utf-8", "replace")).digest(),
    )


@dataclass(frozen=True, slots=True)
class _Outline:
    """Where a document's headings and code blocks are, in order."""

    document: Chunkable
    starts: list[int] = field(default_factory=list)
    levels: list[int] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    fences: list[int] = field(default_factory=list)  # offsets where a code block begins, ends, begins, ...

    @classmethod
    def of(cls, document: Chunkable) -> _Outline:
        outline = cls(document)
        if document.markdown:
            outline.read()
        return outline

    def read(self) -> None:
        fence = ""
        trail: list[tuple[int, str]] = []
        for match in _LINE.finditer(self.document.text):
            marks, words, ticks, info, line = match.groups()
            if ticks:
                if not fence:
                    fence = ticks
                elif ticks[0] != fence[0] or len(ticks) < len(fence) or info.strip():
                    continue
                else:
                    fence = ""
                self.fences.append(match.start())
            elif not fence and marks:
                self.heading(match.start(), len(marks), words or "", trail)
            elif not fence and line and (above := self.above(match.start())) is not None:
                self.heading(
                    above, 1 if line[0] == "=" else 2, self.document.text[above : match.start()], trail
                )

    def above(self, underline: int) -> int | None:
        """Where the text of a Setext heading begins: one line with nothing above it."""
        text = self.document.text
        start = text.rfind("\n", 0, max(underline - 1, 0)) + 1
        line = text[start:underline].strip()
        alone = start == 0 or text[text.rfind("\n", 0, start - 1) + 1 : start].isspace()
        return start if line and alone and not line.startswith(_NOT_SETEXT) else None

    def heading(self, start: int, level: int, words: str, trail: list[tuple[int, str]]) -> None:
        while trail and trail[-1][0] >= level:
            trail.pop()
        trail.append((level, _plain(words)))
        self.starts.append(start)
        self.levels.append(level)
        self.paths.append(" > ".join(part for _, part in trail if part))

    def path(self, offset: int) -> str:
        return self.paths[index - 1] if (index := bisect_right(self.starts, offset)) else ""

    def section(self, offset: int) -> int:
        return self.starts[index - 1] if (index := bisect_right(self.starts, offset)) else 0


def _first_cut(number: int, outline: _Outline, size: int, overlap: int) -> Iterator[_Piece]:
    for start, end in _cut(outline, 0, len(outline.document.text), size):
        yield _Piece(number, start, end, _lead(outline, start, overlap), outline.path(start))


def _cut(outline: _Outline, low: int, high: int, size: int) -> Iterator[tuple[int, int]]:
    """Parts of at most `size` characters, cut between blocks and inside a block only if it is larger than that."""
    cuts = (
        [low, high] if high - low <= size else _pack(_boundaries(outline, low, high, size), low, high, size)
    )
    for start, end in pairwise(cuts):
        yield from _split(outline.document, start, end, size)


def _pack(boundaries: Iterable[tuple[int, int]], low: int, high: int, size: int) -> list[int]:
    """Join neighbours until none fit together, by taking boundaries away, the worst (the highest key) first.

    Among boundaries of one rank the order is a hash of the text around them. What becomes of a boundary thus
    depends on its neighbourhood, and an edit far above does not move it.
    """
    ordered = sorted(boundaries)
    offsets = [low, *(offset for offset, _ in ordered), high]
    before, after = list(range(-1, len(offsets) - 1)), list(range(1, len(offsets) + 1))
    for index in sorted(range(len(ordered)), key=lambda index: -ordered[index][1]):
        left, right = before[index + 1], after[index + 1]
        if offsets[right] - offsets[left] <= size:
            after[left], before[right] = right, left
    kept, index = [low], after[0]
    while index < len(offsets):
        kept.append(offsets[index])
        index = after[index]
    return kept


def _boundaries(outline: _Outline, low: int, high: int, size: int) -> Iterator[tuple[int, int]]:
    """Where blocks meet, each place with its key; in blocks larger than `size` their line ends as well."""
    text, previous = outline.document.text, low
    for offset, rank in _blocks(outline, low, high):
        if offset - previous > size:
            yield from _lines(text, previous, offset)
        yield offset, _key(text, offset, rank)
        previous = offset
    if high - previous > size:
        yield from _lines(text, previous, high)


def _blocks(outline: _Outline, low: int, high: int) -> Iterator[tuple[int, int]]:
    """Headings by their level, then blank lines; the worst are behind a colon and inside code.

    None comes directly after a heading, which is thus never parted from what it announces.
    """
    text, starts, fences = outline.document.text, outline.starts, outline.fences
    places = {match.end(): match.start() for match in _BLANK.finditer(text, low, high) if match.end() < high}
    first, last = bisect_right(starts, low), bisect_left(starts, high)
    levels = dict(zip(starts[first:last], outline.levels[first:last], strict=True))
    previous = low
    headed = bisect_left(starts, low) < bisect_right(starts, low)
    for offset in sorted(places.keys() | levels.keys()):
        if headed and "\n" not in text[previous:offset].strip():
            continue
        if offset in levels:
            rank = levels[offset]
        elif bisect_right(fences, offset - 1) % 2:
            rank = IN_CODE
        else:
            end = places[offset]
            rank = BEHIND_COLON if text[end - 1 : end] == ":" else PARAGRAPH
        previous, headed = offset, offset in levels
        yield offset, rank


def _lines(text: str, low: int, high: int) -> Iterator[tuple[int, int]]:
    return (
        (match.end(), _key(text, match.end(), IN_BLOCK))
        for match in _NEWLINE.finditer(text, low, high)
        if low < match.end() < high
    )


def _key(text: str, offset: int, rank: int) -> int:
    around = text[max(offset - 40, 0) : offset + 60]
    return rank << 32 | crc32(around.encode("utf-8", "replace"))


@lru_cache(maxsize=1024)
def _splitter(markdown: bool, size: int) -> MarkdownSplitter | TextSplitter:
    return MarkdownSplitter(size, trim=False) if markdown else TextSplitter(size, trim=False)


def _split(document: Chunkable, low: int, high: int, size: int) -> Iterator[tuple[int, int]]:
    """Evenly sized parts of at most `size` characters, without the whitespace around them; none is empty."""
    cuts = [low, high]
    if high - low > size:
        part = ceil((high - low) / ceil((high - low) / size))
        roomy = min(size, max(1, ceil(part * 1.15 / 16) * 16))
        parts = _splitter(document.markdown, roomy).chunk_indices(document.text[low:high])
        cuts = [low, *(low + offset for offset, _ in parts[1:]), high]
    for start, end in pairwise(cuts):
        piece = document.text[start:end]
        if stripped := piece.strip():
            start += len(piece) - len(piece.lstrip())
            yield start, start + len(stripped)


def _lead(outline: _Outline, start: int, overlap: int) -> int:
    """Where the repeated text before `start` begins: after a sentence or a line, in the same section."""
    text = outline.document.text
    low = max(outline.section(start), start - overlap)
    if low >= start:
        return start
    if low == 0 or low == outline.section(start):
        begin = low
    else:
        pause = _PAUSE.search(text, low, start)
        begin = pause.end() if pause else start
    lead = text[begin:start]
    return start if not lead.strip() else begin + len(lead) - len(lead.lstrip())


def _smaller(piece: _Piece, outline: _Outline, counted: int, tokens: int) -> list[_Piece] | None:
    """What to try instead of a piece that is over the limit; None: it cannot be made smaller."""
    if piece.lead < piece.start:
        return [piece._replace(lead=piece.start)]
    length = piece.end - piece.start
    if piece.heading and length <= tokens // 2:
        return [piece._replace(heading="")]
    if length == 1:
        return None
    size = min(length - 1, max(1, int(length * tokens / counted * 0.95)))
    parts = _cut(outline, piece.start, piece.end, size)
    return [
        piece._replace(start=start, end=end, lead=start, heading=outline.path(start) if piece.heading else "")
        for start, end in parts
    ]
