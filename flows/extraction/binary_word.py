"""Old binary Word documents (DOC, Word 2 to 2003): text, tables, headers, footers, notes, comments, text boxes."""

from __future__ import annotations

import re
from bisect import bisect_left
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from pgfolio.flows.extraction.binary_text import OldDocument, Part
from pgfolio.flows.extraction.compound import ENCRYPTED, Compound
from pgfolio.flows.extraction.extracted import Unextractable
from pgfolio.flows.extraction.reading import Reading
from pgfolio.flows.extraction.signatures import COMPOUND
from pgfolio.flows.extraction.writing import Writer, link

if TYPE_CHECKING:
    from collections.abc import Iterator

PARAGRAPH, CELL, PAGE = "\r", "\x07", "\x0c"
FIELD, RESULT, FIELD_END = "\x13", "\x14", "\x15"
SIGNS: Final = {"\x0b": "\n", "\x0e": "\n", "\x1e": "-", "\x1f": "", "\xad": "", "\xa0": " "}
_SIGN: Final = re.compile("[\x00-\x08\x0b\x0e-\x12\x16-\x1f\xad]")
_MARK: Final = re.compile("[\r\x07\x0c\x13\x14\x15]")
_ADDRESS: Final = re.compile(r'^\s*HYPERLINK\s+"([^"]+)"')
MAX_FIELDS: Final = 64
"""Of fields within fields."""

SEPARATORS: Final = 6
"""Stories before the headers: what stands between text and notes."""


def read(data: bytes) -> Reading:
    """Raises Unextractable for a document with a password, and OSError or ValueError for what is none."""
    properties: dict[str, Any] = {}
    if data.startswith(COMPOUND):
        compound = Compound(data)
        properties = compound.properties()
        main = compound.stream("WordDocument")
        document = OldDocument(main, {name: compound.stream(name) for name in ("0Table", "1Table")})
    else:
        document = OldDocument(data, {})
    if document.encrypted:
        raise Unextractable(ENCRYPTED)
    return Reading(_text(document), properties)


def _text(document: OldDocument) -> str:
    out = Writer()
    _write(document, document.part(Part.TEXT), out)
    for part in (Part.FOOTNOTES, Part.ENDNOTES):
        _write(document, document.part(part), out)
    for begin, end in document.comments():
        inner = Writer()
        _write(document, (begin, end), inner)
        if len(inner):
            out.paragraph(f"Comment: {inner.line()}")
    _write(document, document.part(Part.TEXT_BOXES), out)
    _write_margins(document, out)
    return out.text()


def _write_margins(document: OldDocument, out: Writer) -> None:
    """Headers before all else and footers behind, each once."""
    heads, feet = Writer(), Writer()
    seen: set[str] = set()
    for number, story in enumerate(document.headers()):
        inner = Writer()
        _write(document, story, inner)
        if (text := inner.text()) and text not in seen and number >= SEPARATORS:
            seen.add(text)
            (feet if number % 6 in (2, 3, 5) else heads).extend(inner)
    boxes = Writer()
    _write(document, document.part(Part.HEADER_BOXES), boxes)
    if boxes.text() not in seen:
        heads.extend(boxes)
    out.insert(heads)
    out.extend(feet)


def _write(document: OldDocument, place: tuple[int, int], out: Writer) -> None:
    cells: list[str] = []
    rows: list[list[str]] = []
    lines: list[str] = []
    for text, mark, at in _paragraphs(document, *place):
        layout = document.layout(at)
        if (
            mark == CELL
            and layout.row_end is not False
            and (layout.row_end or (not text and cells and not lines))
        ):
            rows.append(cells)
            cells = []
        elif mark == CELL:
            cells.append("\n".join([*lines, text]))
            lines = []
        elif layout.in_table or cells:
            lines.append(text)
        else:
            out.table(rows)
            rows = []
            if 0 < layout.heading <= 6:
                out.heading(layout.heading, text)
            elif layout.listed:
                out.item(text, layout.list_level)
            else:
                out.paragraph(text)
    if cells or lines:
        rows.append([*cells, "\n".join(lines)])
    out.table(rows)


def _paragraphs(document: OldDocument, begin: int, end: int) -> Iterator[tuple[str, str, int]]:
    """Text, the mark that ends it, and the place of that. Of a field its result."""
    text, hidden = document.text, document.hidden
    parts: list[str] = []
    fields: list[tuple[int, str, bool]] = []
    last = begin
    for match in _MARK.finditer(text, begin, end):
        mark, at = match[0], match.start()
        parts.append(_seen(text, last, at, hidden))
        last = match.end()
        if mark == FIELD:
            if len(fields) < MAX_FIELDS:
                fields.append((len(parts), "", False))
        elif mark == RESULT and fields:
            start, _, _ = fields.pop()
            fields.append((start, "".join(parts[start:]), True))
            del parts[start:]
        elif mark == FIELD_END and fields:
            start, code, has_result = fields.pop()
            result = "".join(parts[start:]) if has_result else ""
            found = _ADDRESS.match(code)
            parts[start:] = [link(result, found[1]) if found else result]
        elif mark in (PARAGRAPH, CELL, PAGE) and not (fields and not fields[-1][2]):
            yield "".join(parts), mark, at
            parts = []
            fields = [(0, code, has_result) for _, code, has_result in fields]
    parts.append(_seen(text, last, end, hidden))
    if any(parts):
        yield "".join(parts), PARAGRAPH, end


def _seen(text: str, begin: int, end: int, hidden: list[tuple[int, int]]) -> str:
    """Without what is deleted or hidden, and without marks of pictures, notes and comments."""
    if hidden:
        inside = [(max(a, begin), min(b, end)) for a, b in _overlapping(hidden, begin, end)]
        edges = [begin, *(edge for pair in inside for edge in pair), end]
        text = "".join(text[a:b] for a, b in list(pairwise(edges))[::2])
    else:
        text = text[begin:end]
    return _SIGN.sub(lambda match: SIGNS.get(match[0], ""), text)


def _overlapping(spans: list[tuple[int, int]], begin: int, end: int) -> list[tuple[int, int]]:
    first = max(bisect_left(spans, (begin, begin)) - 1, 0)
    found = []
    for span in spans[first:]:
        if span[0] >= end:
            break
        if span[1] > begin:
            found.append(span)
    return found
