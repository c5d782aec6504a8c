"""Sheets (XLSX): each as a table with the values as they are shown, its comments, text boxes and charts.

Row by row: a sheet of a million rows is never held as a tree.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any, Final
from xml.parsers import expat

from pgfolio.flows.extraction import charts
from pgfolio.flows.extraction import number_formats as formats
from pgfolio.flows.extraction.package import (
    Package,
    attribute,
    child,
    children,
    core_properties,
    descendants,
    forget,
    local,
)
from pgfolio.flows.extraction.reading import Reading
from pgfolio.flows.extraction.writing import Writer

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_COLUMNS: Final = 16384
MAX_GAP: Final = 64
"""Empty cells between two of a row that are kept apart; a file can name the last column in each of a million rows."""

DIGITS: Final = "0123456789"
CELL_END: Final = "\x1f"
VALUES: Final = frozenset({"f", "t", "v"})
BOOLEANS: Final = {"1": "TRUE", "0": "FALSE"}
_ESCAPED: Final = re.compile(r"_x([0-9A-Fa-f]{4})_")


def read(data: bytes) -> Reading:
    package = Package(data)
    main = package.main_part("xl/workbook.xml")
    relations = package.relations(main)
    root = package.tree(main)
    book = _Book(package, main, root)
    out, names = Writer(), []
    for sheet in descendants(root, "sheet") if root is not None else ():
        name = sheet.get("name", "")
        key = next((value for key, value in sheet.attrib.items() if key.endswith("}id")), "")
        kind, part = relations.get(key, ("", ""))
        if part not in package:
            continue
        names.append(name)
        inner = Writer()
        if kind == "worksheet":
            inner.sheet(_rows(book, part))
        book.beside(part, inner)
        if len(inner):
            out.heading(2, name)
            out.extend(inner)
    properties = core_properties(package) | ({"sheet_names": names} if names else {})
    return Reading(out.text(), properties)


class _Book:
    """What the sheets of a workbook share: strings and number formats."""

    def __init__(self, package: Package, main: str, root: Any) -> None:
        self.package = package
        properties = child(root, "workbookPr") if root is not None else None
        self.from_1904 = properties is not None and properties.get("date1904") in ("1", "true")
        self.strings: list[str] = []
        for part in package.related(main, "sharedStrings")[:1]:
            for item in package.elements(part, "si"):
                self.strings.append(_string(item))
                forget(item)
        styles = next((package.tree(part) for part in package.related(main, "styles")), None)
        self.displays = _displays(styles)

    def text(self, kind: str, value: str, style: str) -> str:
        if kind == "s":
            return self.strings[int(value)] if value.isdigit() and int(value) < len(self.strings) else ""
        if kind == "b":
            return BOOLEANS.get(value, value)
        if kind in ("str", "e", "inlineStr"):
            return _unescaped(value)
        if kind == "d":
            return value.removesuffix("T00:00:00").replace("T", " ")
        what = self.displays[int(style)] if style.isdigit() and int(style) < len(self.displays) else None
        try:
            moment = formats.moment(float(value), what, from_1904=self.from_1904) if what else None
        except ValueError:
            return value
        return moment if moment is not None else formats.plain(value)

    def beside(self, part: str, out: Writer) -> None:
        """Comments, those of threads instead of their copies for older programs; text boxes and charts."""
        relations = self.package.relations(part)
        kinds = {kind for kind, _ in relations.values()}
        for kind, target in relations.values():
            root = (
                self.package.tree(target)
                if kind in ("comments", "threadedComment", "drawing", "chart")
                else None
            )
            if root is None:
                continue
            if kind == "drawing":
                self._drawing(root, target, out)
            elif kind == "threadedComment" or "threadedComment" not in kinds:
                for comment in descendants(root, "comment", "threadedComment"):
                    said = " ".join(
                        "".join(
                            text.text or ""
                            for text in descendants(comment, "t", "text")
                            if local(text.tag) == "t" or len(text) == 0
                        ).split()
                    )
                    if said:
                        out.paragraph(f"Comment on {comment.get('ref', '')}: {said}")

    def _drawing(self, root: Any, part: str, out: Writer) -> None:
        relations = self.package.relations(part)
        for item in descendants(root, "txBody", "chart"):
            if local(item.tag) == "chart":
                charts.write(self.package.tree(relations.get(attribute(item, "id") or "", ("", ""))[1]), out)
            else:
                for paragraph in children(item, "p"):
                    out.paragraph("".join(text.text or "" for text in descendants(paragraph, "t")))


def _rows(book: _Book, part: str) -> Iterator[list[str]]:
    """Without the columns that are empty in all rows: what is before the first one that is used, and between."""
    rows = _SheetRows(book)
    with book.package.stream(part) as file:
        rows.read(file)
    columns = sorted(rows.used)
    for line in rows.lines:
        cells = line.split(CELL_END)
        yield [cells[column] if column < len(cells) else "" for column in columns]


class _SheetRows:
    """By expat, event for event: three million cells take a tenth of the time that their elements would."""

    def __init__(self, book: _Book) -> None:
        self.lines: list[str] = []
        self.used: set[int] = set()
        self._book = book
        self._cells: list[str] = []
        self._cell: dict[str, str] = {}
        self._texts: dict[str, str] = {}
        self._into = ""
        self._phonetic = False

    def read(self, file: Any) -> None:
        """Raises xml.parsers.expat.ExpatError."""
        parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._data
        parser.EntityDeclHandler = _no_entities
        parser.ParseFile(file)

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        name = tag.rpartition(":")[2] if ":" in tag else tag
        if name == "c":
            self._cell, self._texts = attributes, {}
        elif name in VALUES:
            self._into = "" if self._phonetic else name
        elif name == "row":
            self._cells = []
        elif name == "rPh":
            self._phonetic = True

    def _data(self, text: str) -> None:
        if self._into:
            self._texts[self._into] = self._texts.get(self._into, "") + text

    def _end(self, tag: str) -> None:
        name = tag.rpartition(":")[2] if ":" in tag else tag
        if name in VALUES:
            self._into = ""
        elif name == "c":
            if self._texts and (text := " ".join(self._text().split())):
                self._put(text)
        elif name == "rPh":
            self._phonetic = False
        elif name == "row" and self._cells:
            self.lines.append(CELL_END.join(self._cells))

    def _text(self) -> str:
        """Of a formula the value that was stored, without one the formula."""
        texts = self._texts
        if "t" in texts:
            return _unescaped(texts["t"])
        if "v" in texts:
            return self._book.text(self._cell.get("t", "n"), texts["v"], self._cell.get("s", "0"))
        return f"={texts['f']}" if texts.get("f") else ""

    def _put(self, text: str) -> None:
        place = _column(self._cell["r"].rstrip(DIGITS)) if "r" in self._cell else len(self._cells)
        if place > len(self._cells):
            gap = place - len(self._cells)
            self._cells += [""] * (min(gap, MAX_GAP) if self._cells else gap)
        self.used.add(len(self._cells))
        self._cells.append(text.replace(CELL_END, " "))


def _no_entities(*_: object) -> None:
    raise ValueError("it declares entities")


def _string(element: Any) -> str:
    """Its runs; how East Asian words are read aloud stands beside and is not shown."""
    parts = []
    for item in element:
        name = local(item.tag)
        if name == "t":
            parts.append(item.text or "")
        elif name == "r":
            parts += [text.text or "" for text in children(item, "t")]
    return _unescaped("".join(parts))


def _unescaped(text: str) -> str:
    return _ESCAPED.sub(lambda match: chr(int(match[1], 16)), text) if "_x" in text else text


@cache
def _column(letters: str) -> int:
    """From 0, by the letters of a reference."""
    number = 0
    for letter in letters[:3].upper():
        number = number * 26 + max(ord(letter) - 64, 0)
    return min(max(number, 1), MAX_COLUMNS) - 1


def _displays(styles: Any) -> list[formats.MomentFormat | None]:
    """By the number of a cell's style."""
    if styles is None:
        return []
    codes = {item.get("numFmtId", ""): item.get("formatCode", "") for item in descendants(styles, "numFmt")}
    found = []
    for item in child(styles, "cellXfs") if child(styles, "cellXfs") is not None else ():
        key = item.get("numFmtId", "0")
        found.append(formats.display(int(key), codes.get(key)) if key.isdigit() else None)
    return found
