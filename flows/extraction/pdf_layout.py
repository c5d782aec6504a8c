"""Decides: what the lines of a PDF's pages are (headings, paragraphs, lists, tables, code), as Markdown. Pure.

No word is left out, but for what repeats at the edges of pages (pdf_running.py). Each page's Markdown stands by
itself, so that a page begins where its text begins.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

from pgfolio.flows.extraction import pdf_tables
from pgfolio.flows.extraction.pdf_running import without_running

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pgfolio.flows.extraction.pdf_line import Line, Page

LARGER = 1.13
"""Times the body's size: a heading's."""
MAX_HEADING_LINES, MAX_HEADING_LETTERS = 3, 160
MAX_LEVEL = 6
MAX_STYLED_LEVEL = 4
MAX_BOLD_SHARE = 0.15
"""Of a document's letters: bold type that is more of it announces nothing."""
PARAGRAPH_GAP = 1.35
"""Times the usual distance of lines: more parts paragraphs."""
FULL = 0.8
"""Of its paragraph's width: a shorter line was ended on purpose, and so was one of fewer letters than these."""
FULL_LETTERS = 25

Outline = tuple[int, int, str]
"""Page (from 0), level (from 1) and title of a bookmark."""
Style = tuple[float, bool]

_ITEM = re.compile(
    r"(?:[\u2022\u25aa\u25e6\u25cf\u2023\u25a0\u00b7\uf0b7]|[-\u2013\u2014*](?=\s)|\(?\w{1,3}[.)](?=\s))"
)
_BULLET = re.compile(r"^[\u2022\u25aa\u25e6\u25cf\u2023\u25a0\u00b7\uf0b7]\s*")
_MARK = re.compile(r"^(?=#{1,6}(?:\s|$)|={3,}\s*$|-{3,}\s*$|`{3}|~{3})")
_LEADER = re.compile(r"(?:\s?[._\u2026]){6,}\s?")
_LETTER = re.compile(r"[^\W\d_]")
_WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")
_WIDE = re.compile(r"[\u2e80-\u9fff\uf900-\ufaff\uff00-\uff60]")
"""Of a script that has no spaces between words."""
_WORD_END = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*$")
MAX_PART = 60
"""Letters of a parted word."""
_SENTENCE_END = (".", "!", "?", ":", ";", "\u3002")


@dataclass(frozen=True, slots=True)
class Styles:
    """Of a document: the size of its body, the levels of its headings, and its words, to join parted ones by."""

    body: float
    levels: Mapping[Style, int]
    titles: Mapping[tuple[int, str], int]
    words: Mapping[str, int] = field(default_factory=dict)


def markdown_pages(pages: Sequence[Page], outline: Sequence[Outline]) -> list[str]:
    remaining = without_running(pages)
    letters = Counter(line.mono for lines in remaining for line in lines for _ in line.text)
    if letters[True] > letters[False]:  # typewritten: it is no code
        remaining = [[line._replace(mono=False) for line in lines] for lines in remaining]
    styles = _styles(remaining, outline)
    return ["\n\n".join(_blocks(lines, number, styles)) for number, lines in enumerate(remaining)]


def _styles(pages: Sequence[Sequence[Line]], outline: Sequence[Outline]) -> Styles:
    letters: Counter[Style] = Counter()
    words: Counter[str] = Counter()
    for lines in pages:
        for line in lines:
            letters[_style(line)] += len(line.text)
            words.update(word.lower() for word in _WORD.findall(line.text))
    sizes: Counter[float] = Counter()
    for (size, _), count in letters.items():
        sizes[size] += count
    body = sizes.most_common(1)[0][0] if sizes else 0.0
    rare = {style for style, count in letters.items() if count <= MAX_BOLD_SHARE * letters.total()}
    headings = {
        (size, bold) for size, bold in rare if size >= body * LARGER or (bold and size >= body * 0.97)
    }
    titles = {(page, _plain(title)): min(level, MAX_LEVEL) for page, level, title in reversed(outline)}
    return Styles(body, _levels(headings, pages, titles), titles, words)


def _levels(
    headings: set[Style], pages: Sequence[Sequence[Line]], titles: Mapping[tuple[int, str], int]
) -> dict[Style, int]:
    """The level that the outline has for titles of a style; for any other style the one below the next larger's."""
    seen: defaultdict[Style, Counter[int]] = defaultdict(Counter)
    for number, lines in enumerate(pages) if titles else ():
        for line in lines:
            if level := titles.get((number, _plain(line.text))):
                seen[_style(line)][level] += 1
    levels: dict[Style, int] = {}
    level, deepest = 0, MAX_LEVEL if seen else MAX_STYLED_LEVEL
    for style in sorted(headings, reverse=True):
        level = seen[style].most_common(1)[0][0] if style in seen else min(level + 1, deepest)
        levels[style] = level
    return levels


def _style(line: Line) -> Style:
    return round(line.size * 2) / 2, line.bold


def _plain(text: str) -> str:
    """Its letters and digits alone, and no number of a section."""
    return "".join(filter(str.isalnum, re.sub(r"^[\d.]+\s+", "", text.lower())))


def _blocks(lines: Sequence[Line], number: int, styles: Styles) -> Iterator[str]:
    pitch, tables = _pitch(lines), pdf_tables.tables(lines)
    start = 0
    while start < len(lines):
        if start in tables:
            start, rows = tables[start]
            yield pdf_tables.markdown([[_LEADER.sub(" ... ", cell) for cell in row] for row in rows])
            continue
        end = start + 1
        while end < len(lines) and end not in tables and _goes_on(lines[end - 1], lines[end], pitch):
            end += 1
        yield from _block(lines[start:end], number, styles)
        start = end


def _pitch(lines: Sequence[Line]) -> float:
    """The usual distance of one baseline from the next, in sizes of the font."""
    gaps = [
        (upper.baseline - lower.baseline) / lower.size
        for upper, lower in pairwise(lines)
        if lower.size
        and upper.turn == lower.turn
        and 0.8 < (upper.baseline - lower.baseline) / lower.size < 3
    ]
    return sorted(gaps)[len(gaps) // 3] if gaps else 1.2


def _goes_on(before: Line, line: Line, pitch: float) -> bool:
    """Whether `line` belongs to the paragraph, heading or code of the line before it."""
    if before.hyphen:
        return True
    if before.turn != line.turn or before.mono != line.mono:
        return False
    if not line.size:
        return True
    gap = (before.baseline - line.baseline) / max(line.size, before.size)
    if line.mono:
        return 0 < gap <= 3
    if bool(before.cells) != bool(line.cells):
        return False
    if _style(before) != _style(line) and (
        before.bold != line.bold or abs(before.size - line.size) > 0.08 * line.size
    ):
        return False
    if not 0 < gap <= PARAGRAPH_GAP * pitch or _ITEM.match(line.text):
        return False
    indented = line.left - before.left > 0.8 * line.size
    return not (indented and before.text.endswith(_SENTENCE_END) and not _ITEM.match(before.text))


def _block(lines: Sequence[Line], number: int, styles: Styles) -> Iterator[str]:
    text = _joined(lines, styles)
    level = _level(lines, text, number, styles)
    if level:
        yield f"{'#' * level} {' '.join(text.split())}"
    elif len(lines) > 1 and lines[0].mono:
        yield _fenced(lines)
    else:
        yield _escaped(_BULLET.sub("- ", text))


def _level(lines: Sequence[Line], text: str, number: int, styles: Styles) -> int:
    if len(lines) > MAX_HEADING_LINES or len(text) > MAX_HEADING_LETTERS or not _LETTER.search(text):
        return 0
    if level := styles.titles.get((number, _plain(text)), 0):
        return level
    first = lines[0]
    if first.mono or first.cells or first.turn or text.rstrip().endswith((",", ";")):
        return 0
    larger = first.size >= styles.body * LARGER
    if not larger and (text.rstrip().endswith(".") or len(lines) > 2 or _BULLET.match(text)):
        return 0
    return styles.levels.get(_style(first), 0)


def _joined(lines: Sequence[Line], styles: Styles) -> str:
    """As one paragraph; a line that ends well before the right edge of its column keeps its end."""
    parts = [lines[0].text]
    for (before, line), (left, right) in zip(pairwise(lines), _edges(lines), strict=False):
        if before.hyphen:
            parts.append(_hyphen(before.text, line.text, styles))
        else:
            full = before.right - left >= FULL * (right - left) and len(before.text) >= FULL_LETTERS
            wide = _WIDE.match(before.text[-1:]) and _WIDE.match(line.text)
            parts.append(("" if wide else " ") if full and before.size and not before.cells else "\n")
        parts.append(line.text)
    return _LEADER.sub(" ... ", "".join(parts)).strip()


def _edges(lines: Sequence[Line]) -> Iterator[tuple[float, float]]:
    """For each line the left and the right edge of the lines that stand below each other with it."""
    tops = [at for at in range(1, len(lines)) if lines[at].baseline > lines[at - 1].baseline]
    for begin, end in pairwise([0, *tops, len(lines)]):
        run = lines[begin:end]
        yield from [(min(line.left for line in run), max(line.right for line in run))] * len(run)


def _hyphen(text: str, following: str, styles: Styles) -> str:
    """Between the parts of a word that a line's end parts: none, unless the document writes the word with its hyphen
    and never without."""
    parted = _WORD_END.search(text[-MAX_PART:]), _WORD.match(following[:MAX_PART])
    if not (parted[0] and parted[1]):
        return "-"
    first, second = parted[0][0].lower(), parted[1][0].lower()
    return "-" if not styles.words.get(first + second) and styles.words.get(f"{first}-{second}") else ""


def _fenced(lines: Sequence[Line]) -> str:
    """Code, verbatim, with its indentation by the width of its letters."""
    left = min(line.left for line in lines)
    widths = sorted((line.right - line.left) / len(line.text) for line in lines)
    width = widths[len(widths) // 2] or 1.0
    fence = "`" * max(
        3, 1 + max((len(run) for line in lines for run in re.findall("`+", line.text)), default=0)
    )
    body = (" " * min(round((line.left - left) / width), 80) + line.text for line in lines)
    return "\n".join([fence, *body, fence])


def _escaped(text: str) -> str:
    return "\n".join(_MARK.sub(r"\\", line) for line in text.split("\n"))
