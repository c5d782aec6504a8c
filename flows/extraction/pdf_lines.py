"""The lines of a PDF's page as pdfium sees them: their words, where they stand and how they are set. What is made of
them is decided in pdf_layout.py."""

from __future__ import annotations

import ctypes
import re
from math import hypot
from typing import TYPE_CHECKING

import pypdfium2.raw as pdfium

from pgfolio.flows.extraction.pdf_columns import in_columns
from pgfolio.flows.extraction.pdf_line import Line, Word

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgfolio.flows.extraction.pdf_line import Placed

MAX_PLACED_CHARACTERS = 100_000
"""Of a page: the words of one that has more (a page of a book has 3,000) are not placed."""
CELL_GAP = 1.2
"""Of the font's size, between two words: from here on they stand in different cells of a row."""
HYPHEN = "\x02"
"""pdfium's character for a hyphen that parts a word at the end of a line."""

_LINE = re.compile(rf"[^\r\n{HYPHEN}]+{HYPHEN}?")
_WORD = re.compile(r"\S+")
_ENUMERATION = re.compile(
    r"[\u2022\u25aa\u25e6\u25cf\u2023\u25a0\u00b7\uf0b7\u2013\u2014*-]|\(?\w{1,3}[.)]|[\dA-Z](?:\.\d+)*\.?"
)
_INVISIBLE = dict.fromkeys([*range(9), *range(0xB, 0xD), *range(0xE, 0x20), 0x7F, 0xAD, 0xFFFF], "\0")
_INVISIBLE |= {ord(HYPHEN): HYPHEN, 0xFFFE: HYPHEN, 0xA0: " "}
_TEX_LIGATURES = {0x0B: "\ufb00", 0x0C: "\ufb01", 0x0E: "\ufb03", 0x0F: "\ufb04"}
_INVISIBLE |= _TEX_LIGATURES
"""As fonts of TeX have them that do not tell their letters."""
_LIGATURES = {0: "", 0xFB00: "ff", 0xFB01: "fi", 0xFB02: "fl", 0xFB03: "ffi", 0xFB04: "ffl"}
_BOLD = re.compile(r"bold|black|heavy|semibold|demi|medi(?!u)|(?:cm|sf|ec|lm)\w*bx|-bd\b", re.IGNORECASE)
_MONO = re.compile(r"courier|mono|consol|typewriter|menlo|lettergothic|(?:cm|sf|ec|lm)\w*tt", re.IGNORECASE)


def lines_of(textpage: pdfium.FPDF_TEXTPAGE) -> list[Line]:
    """In reading order: as they were written, or column by column where they were written across columns."""
    text = _text(textpage)
    if len(text) > MAX_PLACED_CHARACTERS:
        lines = (_visible(match[0]).replace(HYPHEN, "-").strip() for match in _LINE.finditer(text))
        return [Line(line) for line in lines if line]
    reader = _Reader(textpage)
    placed = _rejoined([line for match in _LINE.finditer(text) for line in reader.lines(match)])
    return [_with_words(line, words) for line, words in in_columns(placed)]


def _text(textpage: pdfium.FPDF_TEXTPAGE) -> str:
    """A letter for each of pdfium's characters, so that their indices are the text's: NUL for what cannot be seen,
    two surrogates for what UTF-16 has two for."""
    count = max(pdfium.FPDFText_CountChars(textpage), 0)
    buffer = (ctypes.c_ushort * (count + 1))()
    written = pdfium.FPDFText_GetText(textpage, 0, count, buffer) - 1
    if written != count:  # it leaves out what has no letter
        for index in range(count):
            buffer[index] = min(pdfium.FPDFText_GetUnicode(textpage, index), 0xFFFF)
    return "".join(map(chr, buffer[:count])).translate(_INVISIBLE)


def _visible(text: str) -> str:
    if text.isascii() and "\0" not in text:
        return text
    return text.translate(_LIGATURES).encode("utf-16", "surrogatepass").decode("utf-16", "ignore")


def _with_words(line: Line, words: list[Word]) -> Line:
    """The line with its text, its edges and its cells."""
    cells = [[words[0]]]
    for word in words[1:]:
        if word.left - cells[-1][-1].right <= CELL_GAP * line.size:
            cells[-1].append(word)
        else:
            cells.append([word])
    if len(cells) == 2 and len(cells[0]) == 1 and _ENUMERATION.fullmatch(cells[0][0].text):
        cells = [words]
    parts = [Word(cell[0].left, cell[-1].right, " ".join([word.text for word in cell])) for cell in cells]
    return line._replace(
        text=" ".join([part.text for part in parts]),
        left=parts[0].left,
        right=parts[-1].right,
        cells=tuple(parts) if len(parts) > 1 else (),
    )


class _Reader:
    """Asks pdfium for places and fonts of characters, by their index in the page."""

    def __init__(self, textpage: pdfium.FPDF_TEXTPAGE) -> None:
        self._page = textpage
        self._box = [ctypes.c_double() for _ in range(4)]
        self._origin = ctypes.c_double(), ctypes.c_double()
        self._matrix = pdfium.FS_MATRIX()
        self._name, self._flags = ctypes.create_string_buffer(128), ctypes.c_int()

    def lines(self, match: re.Match[str]) -> Iterator[Placed]:
        """What pdfium takes for a line, parted where it goes back to the left, or up or down, as it does where
        columns are written row by row."""
        words = [(word, match.start() + word.start()) for word in _WORD.finditer(match[0].rstrip(HYPHEN))]
        part: list[Word] = []
        begin, before = 0, (0.0, 0.0)
        if words:
            size, _, _, turn = self._style(words[0][1])
            for at, (word, index) in enumerate(words):
                left, right, baseline = self._place(word[0], index, turn)
                back = part and (left < before[0] - 0.5 * size or abs(baseline - before[1]) > 0.7 * size)
                if back and word[0] == ".":
                    continue  # of a leader, written from right to left
                if back:
                    yield from self._line(words[begin:at], part, baseline=before[1], turn=turn)
                    begin, part = at, []
                if text := _visible(word[0]):
                    part.append(Word(left, right, text))
                before = (right, baseline) if not part[1:] else (right, before[1])
            hyphen = match[0].endswith(HYPHEN)
            yield from self._line(words[begin:], part, baseline=before[1], turn=turn, hyphen=hyphen)

    def _line(
        self,
        words: list[tuple[re.Match[str], int]],
        placed: list[Word],
        *,
        baseline: float,
        turn: int,
        hyphen: bool = False,
    ) -> Iterator[Placed]:
        """At most one: what has no visible letter is none."""
        if not placed:
            return
        places = {words[0][1], words[len(words) // 2][1], words[-1][1] + len(words[-1][0][0]) - 1}
        sizes, bolds, monos, _ = zip(*(self._style(place) for place in sorted(places)), strict=True)
        size = sorted(sizes)[len(sizes) // 2]
        style = Line("", 0, 0, baseline, size, bold=all(bolds), mono=all(monos), turn=turn, hyphen=hyphen)
        yield style, placed

    def _place(self, word: str, index: int, turn: int) -> tuple[float, float, float]:
        """Left, right and baseline."""
        pdfium.FPDFText_GetCharOrigin(self._page, index, *self._origin)
        pdfium.FPDFText_GetCharBox(self._page, index + len(word) - 1, *self._box)
        x, y = self._origin[0].value, self._origin[1].value
        left, right, bottom, top = [value.value for value in self._box]
        if not turn:
            return x, max(x, right), y
        start, end, baseline = ((y, top, -x), (-x, -left, -y), (-y, -bottom, x))[turn - 1]
        return start, max(start, end), baseline

    def _style(self, index: int) -> tuple[float, bool, bool, int]:
        """Size in points, bold, of fixed width, turn."""
        pdfium.FPDFText_GetMatrix(self._page, index, self._matrix)
        a, b, c, d = self._matrix.a, self._matrix.b, self._matrix.c, self._matrix.d
        size = pdfium.FPDFText_GetFontSize(self._page, index) * (hypot(c, d) or 1.0)
        turn = (0 if a >= 0 else 2) if abs(a) >= abs(b) else (1 if b > 0 else 3)
        length = pdfium.FPDFText_GetFontInfo(self._page, index, self._name, 128, self._flags)
        name = self._name.value.decode("utf-8", "replace") if 0 < length <= 128 else ""
        flags = self._flags.value if length else 0
        return size, bool(_BOLD.search(name)) or bool(flags & 1 << 18), bool(_MONO.search(name)), turn


def _rejoined(placed: list[Placed]) -> list[Placed]:
    """With what goes on to the right on nearly the same baseline, as indices and cells do, in one line."""
    joined: list[Placed] = []
    for line, words in placed:
        if joined:
            before, earlier = joined[-1]
            adjacent = abs(before.baseline - line.baseline) < 0.5 * max(before.size, line.size)
            if (
                adjacent
                and before.turn == line.turn
                and not before.hyphen
                and words[0].left >= earlier[-1].right - 1
            ):
                larger = before if before.size >= line.size else line
                style = larger._replace(bold=before.bold and line.bold, mono=before.mono and line.mono)
                joined[-1] = style._replace(hyphen=line.hyphen), [*earlier, *words]
                continue
        joined.append((line, words))
    return joined
