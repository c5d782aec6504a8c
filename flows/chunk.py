"""Decides: how a document's text is cut into chunks. Pure but for the caller's `count`, which counts tokens.

Blocks are joined until no two neighbours fit together, in an order that depends on what stands around each
boundary and not on how much text came before. So an edit moves the cuts in its neighbourhood only, and the
chunks behind it keep their hashes. Sizes are estimated (see flows/estimate.py); tokens are counted once for all
chunks of a batch, and only what is over is cut again.
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

from flows.estimate import ONE, running_total
from schema.records import Chunk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

RECIPE = f"chunk-1/semantic-text-splitter-{version('semantic-text-splitter')}"
MIN_TOKENS = 96  # the context line takes up to 80 bytes of title; content must still fit
FILL = 0.96  # of the limit, by estimate: 3% of the pieces are over it and cut again
CONTEXT = 35  # a character of title or heading, in hundredths of a token
PARAGRAPH, BEHIND_COLON, IN_CODE, IN_BLOCK = 7, 8, 9, 10  # ranks of boundaries below the six heading levels
TITLE_BYTES, HEADING_BYTES = (
    80,
    120,
)  # a token is at least a byte long, so this bounds the context in any vocabulary

_LINE = re.compile(
    r"^(?: {0,3}(#{1,6})(?:[ \t]+(.*))?$|[ \t]*(`{3,}|~{3,})(.*)$| {0,3}(={3,}|-{3,})[ \t]*$)", re.MULTILINE
)
_BLANK = re.compile(r"\n(?:[ \t]*\n)+")
_GAP = re.compile(r"\s+")
_SPACE = re.compile(r"\s*")
_NEWLINE = re.compile(r"\n+")
_TAG = re.compile(r"</?[A-Za-z][^<>]*>")
_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
_PAUSE = re.compile(r"\n|(?<=[.!?]) |(?<=[\u3002\uff01\uff1f])")
_NOT_SETEXT = ("#", ">", "-", "*", "+", "|", "<", "`", "~", "=")


@dataclass(frozen=True, slots=True)
class Chunkable:
    """A document's text with what chunking needs to know; `pages`: the offset at which each page begins."""

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

    `count` is given texts as they are embedded (see embedded_text), all of the batch in its first call, those
    cut again in the next ones. No chunk has more than `tokens` of them. Up to `overlap` tokens, by estimate, are
    repeated from the chunk before where there is room, never from another section. Every character but
    whitespace is in a chunk.
    """
    if tokens < MIN_TOKENS:
        raise ValueError(f"chunking.tokens is {tokens}: it must be at least {MIN_TOKENS}")
    room, lead = int(tokens * FILL * ONE), overlap * ONE
    outlines = [_Outline.of(document) for document in documents]
    pending = [
        _piece(outline, number, start, end, room, lead)
        for number, outline in enumerate(outlines)
        for start, end in _cut(outline, 0, len(outline.document.text), room - outline.context(""))
    ]
    finished: list[tuple[_Piece, str, int]] = []
    while pending:
        texts = [piece.embedded(outlines) for piece in pending]
        again: list[_Piece] = []
        for piece, text, counted in zip(pending, texts, count(texts), strict=True):
            smaller = _smaller(piece, outlines[piece.document], counted, tokens, lead)
            if smaller:
                again += smaller
            else:
                finished.append((piece, text, counted))
        pending = again
    chunks: list[list[Chunk]] = [[] for _ in documents]
    for piece, text, counted in sorted(finished, key=lambda item: item[0][:2]):
        chunks[piece.document].append(_chunk(piece, text, counted, documents[piece.document]))
    return chunks


def embedded_text(title: str | None, heading: str, content: str) -> str:
    """What is embedded of a chunk: its title and headings as a line of context, then its content.

    A heading that begins the content is not said twice. The context is at most 200 bytes and separators long.
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
    words = _LINK.sub(r"\1", heading) if "[" in heading else heading  # the search costs more than all else
    words = _TAG.sub("", words) if "<" in words else words
    return " ".join(words.replace("`", "").strip(" \t\n#*").split())[:200]


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


def _piece(outline: _Outline, number: int, start: int, end: int, room: int, overlap: int) -> _Piece:
    """A piece with as much of the text before it as there is room for."""
    heading = outline.path(start)
    left = room - outline.context(heading) - outline.cost(start, end)
    return _Piece(number, start, end, _lead(outline, start, min(overlap, left)), heading)


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
    """Where a document's headings and code blocks are, in order, and what its parts cost in tokens."""

    document: Chunkable
    totals: Sequence[int]
    starts: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    levels: list[int] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    fences: list[int] = field(default_factory=list)  # offsets where a code block begins, ends, begins, ...

    @classmethod
    def of(cls, document: Chunkable) -> _Outline:
        outline = cls(document, running_total(document.text))
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
                self.heading(match.start(), match.end(), len(marks), words or "", trail)
            elif not fence and line and (above := self.above(match.start())) is not None:
                level = 1 if line[0] == "=" else 2
                self.heading(above, match.end(), level, self.document.text[above : match.start()], trail)

    def above(self, underline: int) -> int | None:
        """Where the text of a Setext heading begins: one line with nothing above it."""
        text = self.document.text
        start = text.rfind("\n", 0, max(underline - 1, 0)) + 1
        line = text[start:underline].strip()
        alone = start == 0 or text[text.rfind("\n", 0, start - 1) + 1 : start].isspace()
        return start if line and alone and not line.startswith(_NOT_SETEXT) else None

    def heading(self, start: int, end: int, level: int, words: str, trail: list[tuple[int, str]]) -> None:
        while trail and trail[-1][0] >= level:
            trail.pop()
        trail.append((level, _plain(words)))
        self.starts.append(start)
        self.ends.append(end)
        self.levels.append(level)
        self.paths.append(" > ".join(part for _, part in trail if part))

    def cost(self, low: int, high: int) -> int:
        """The estimate for text[low:high], in hundredths of a token."""
        return self.totals[high] - self.totals[low]

    def context(self, heading: str) -> int:
        title = min(len(self.document.title or ""), TITLE_BYTES)
        return CONTEXT * (title + min(len(heading), HEADING_BYTES))

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


def _cut(outline: _Outline, low: int, high: int, size: int) -> Iterator[tuple[int, int]]:
    """Parts that cost at most `size`, cut between blocks, and inside a block only if it costs more."""
    cuts = [low, high] if outline.cost(low, high) <= size else _pack(outline, low, high, size)
    for start, end in pairwise(cuts):
        yield from _split(outline, start, end, size)


def _pack(outline: _Outline, low: int, high: int, size: int) -> list[int]:
    """Join neighbours until none fit together, by taking boundaries away, the worst (the highest key) first.

    Among boundaries of one rank the order is a hash of the text around them. What becomes of a boundary thus
    depends on its neighbourhood, and an edit far above does not move it.
    """
    ordered = sorted(_boundaries(outline, low, high, size))
    offsets = [low, *(offset for offset, _ in ordered), high]
    totals = [outline.totals[offset] for offset in offsets]
    before, after = list(range(-1, len(offsets) - 1)), list(range(1, len(offsets) + 1))
    for index in sorted(range(len(ordered)), key=lambda index: -ordered[index][1]):
        left, right = before[index + 1], after[index + 1]
        if totals[right] - totals[left] <= size:
            after[left], before[right] = right, left
    kept, index = [low], after[0]
    while index < len(offsets):
        kept.append(offsets[index])
        index = after[index]
    return kept


def _boundaries(outline: _Outline, low: int, high: int, size: int) -> Iterator[tuple[int, int]]:
    """Where blocks meet, each place with its key; in blocks that cost more than `size` their line ends as well."""
    text, previous = outline.document.text, low
    for offset, rank in _blocks(outline, low, high):
        if outline.cost(previous, offset) > size:
            yield from _lines(text, outline.body(previous, offset), offset)
        yield offset, _key(text, offset, rank)
        previous = offset
    if outline.cost(previous, high) > size:
        yield from _lines(text, outline.body(previous, high), high)


def _blocks(outline: _Outline, low: int, high: int) -> Iterator[tuple[int, int]]:
    """Headings by their level, then blank lines; the worst are behind a colon and inside code.

    None comes directly after a heading, which is thus never parted from what it announces.
    """
    text, starts, fences = outline.document.text, outline.starts, outline.fences
    places = {match.end(): match.start() for match in _BLANK.finditer(text, low, high) if match.end() < high}
    first, last = bisect_right(starts, low), bisect_left(starts, high)
    levels = dict(zip(starts[first:last], outline.levels[first:last], strict=True))
    for offset in sorted(places.keys() | levels.keys()):
        above = bisect_left(starts, offset) - 1
        if above >= first - 1 and above >= 0 and _SPACE.fullmatch(text, outline.ends[above], offset):
            continue
        if offset in levels:
            rank = levels[offset]
        elif bisect_right(fences, offset - 1) % 2:
            rank = IN_CODE
        else:
            end = places[offset]
            rank = BEHIND_COLON if text[end - 1 : end] == ":" else PARAGRAPH
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


def _split(outline: _Outline, low: int, high: int, size: int) -> Iterator[tuple[int, int]]:
    """Evenly sized parts that cost at most `size`, without the whitespace around them; none is empty."""
    text, cuts = outline.document.text, [low, high]
    if outline.cost(low, high) > size:
        body = outline.body(low, high)
        if outline.cost(low, body) > size // 4:
            body = low  # too long a heading to be kept whole at any price
        room = size - outline.cost(low, body)
        windows = _windows(outline, body, high, room)
        inner = [cut for window in windows for cut in _even(outline, window, room)]
        cuts = [low, *inner[1:], high]
    for start, end in pairwise(cuts):
        piece = text[start:end]
        if stripped := piece.strip():
            begin = start + len(piece) - len(piece.lstrip())
            yield begin, begin + len(stripped)


def _letters(outline: _Outline, low: int, high: int, size: int) -> int:
    """How many of these characters cost `size`, if each costs as much as the others."""
    return max(1, (high - low) * size // max(outline.cost(low, high), 1))


def _windows(outline: _Outline, low: int, high: int, size: int) -> Iterator[tuple[int, int]]:
    """Slices of at most 16 parts: the splitter's time grows with the square of a line (5 MB took 100 s)."""
    letters = _letters(outline, low, high, size)
    while high - low > 16 * letters:
        end = outline.document.text.rfind(" ", low + 8 * letters, low + 16 * letters)
        end = end if end > low else low + 16 * letters
        yield low, end
        low = end
    yield low, high


def _even(outline: _Outline, window: tuple[int, int], size: int) -> list[int]:
    """Where the parts of a window begin, if cut into as few parts as can be and these of about one size."""
    low, high = window
    letters = _letters(outline, low, high, size)
    part = ceil((high - low) / ceil((high - low) / letters))
    roomy = min(letters, ceil(part * 1.15 / 16) * 16)
    text = outline.document.text[low:high]
    parts = _splitter(outline.document.markdown, roomy).chunk_indices(text)
    return [low, *(low + offset for offset, _ in parts[1:])]


def _lead(outline: _Outline, start: int, overlap: int) -> int:
    """Where the repeated text before `start` begins: after a line, a sentence or a word, in the same section.
    It costs at most `overlap`."""
    text, totals, section = outline.document.text, outline.totals, outline.section(start)
    low = bisect_left(totals, totals[start] - overlap, section, start) if overlap > 0 else start
    if low >= start:
        return start
    if low == section:
        begin = low
    else:
        pause = _PAUSE.search(text, low, start - 1) or _GAP.search(text, low, start - 1)
        begin = pause.end() if pause else start
    lead = text[begin:start]
    return start if not lead.strip() else begin + len(lead) - len(lead.lstrip())


def _smaller(piece: _Piece, outline: _Outline, counted: int, tokens: int, lead: int) -> list[_Piece]:
    """What to try instead of a piece that is over the limit; nothing if it is not, or is a single character."""
    length = piece.end - piece.start
    if counted <= tokens:
        return []
    if piece.lead < piece.start:
        return [piece._replace(lead=piece.start)]
    if piece.heading and length <= tokens // 2:
        return [piece._replace(heading="")]
    if length == 1:
        return []
    own = outline.cost(piece.start, piece.end)
    size = min(own - 1, max(1, int(own * tokens / counted * 0.95)))
    return [
        _Piece(
            piece.document,
            start,
            end,
            start if start == piece.start else _lead(outline, start, min(lead, size // 4)),
            outline.path(start) if piece.heading else "",
        )
        for start, end in _cut(outline, piece.start, piece.end, size)
    ]
