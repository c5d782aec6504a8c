"""Word documents (DOCX): the text as it stands in the program, with headers, footers, notes, comments, text boxes.

Inserted text is in, deleted text is out; of a field its result.
"""

from __future__ import annotations

from typing import Any, Final

from pgfolio.flows.extraction import charts
from pgfolio.flows.extraction.numbering import BULLET, Numbering
from pgfolio.flows.extraction.package import (
    Package,
    alternative,
    attribute,
    child,
    children,
    core_properties,
    descendants,
    forget,
    local,
)
from pgfolio.flows.extraction.reading import Reading
from pgfolio.flows.extraction.word_styles import BODY_LEVEL, level_by_name, styles_of, value_of
from pgfolio.flows.extraction.writing import Writer, link

SKIPPED: Final = frozenset(
    {"del", "moveFrom", "rPr", "pPr", "instrText", "delText", "tblPr", "tcPr", "sdtPr"}
)
SIGNS: Final = {"tab": "\t", "ptab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-"}
BLOCKS: Final = ("p", "tbl", "sdt", "customXml", "ins", "moveTo", "AlternateContent", "sectPr")
NOTES: Final = {"footnoteReference": "footnote", "endnoteReference": "endnote", "commentReference": "comment"}


def read(data: bytes) -> Reading:
    package = Package(data)
    main = package.main_part("word/document.xml")
    document = _WordDocument(package, main)
    for element in package.elements(main, *BLOCKS):
        parent = element.getparent()
        if parent is not None and local(parent.tag) == "body":
            document.block(element, document.writer)
            forget(element)
    document.finish()
    return Reading(document.writer.text(), core_properties(package))


class _WordDocument:
    """What a paragraph needs to know of the rest: styles, lists, relations, notes, comments."""

    def __init__(self, package: Package, main: str) -> None:
        self.writer = Writer()
        self._package = package
        self._relations = package.relations(main)
        parts = {kind: name for kind, name in self._relations.values() if name in package}
        self._levels, self._style_lists = styles_of(package.tree(parts.get("styles", "")))
        self._numbering = Numbering(package.tree(parts.get("numbering", "")))
        self._notes: dict[tuple[str, str], Any] = {}
        for kind in ("footnote", "endnote", "comment"):
            root = package.tree(parts.get(f"{kind}s", ""))
            for note in children(root, kind) if root is not None else ():
                if attribute(note, "type") is None:  # separators have one
                    self._notes[kind, attribute(note, "id") or ""] = note
        self._margins: dict[str, list[str]] = {"headerReference": [], "footerReference": []}
        self._pending: list[Any] = []

    def finish(self) -> None:
        """Comments that nothing points to; the headers before, the footers behind."""
        for kind, note in list(self._notes):
            if kind == "comment":
                self._note(kind, note, self.writer)
        heads, feet = (self._margin(names) for names in self._margins.values())
        self.writer.insert(heads)
        self.writer.extend(feet)

    def block(self, element: Any, out: Writer) -> None:
        match local(element.tag):
            case "p":
                self._paragraph(element, out)
            case "tbl":
                self._table(element, out)
            case "sdt":
                for content in children(element, "sdtContent"):
                    self.blocks(content, out)
            case "AlternateContent":
                if (preferred := _preferred(element)) is not None:
                    self.blocks(preferred, out)
            case "sectPr":
                self._section(element)
            case "customXml" | "ins" | "moveTo":
                self.blocks(element, out)

    def blocks(self, container: Any, out: Writer) -> None:
        for element in container:
            self.block(element, out)

    def _paragraph(self, element: Any, out: Writer) -> None:
        properties = child(element, "pPr")
        parts: list[str] = []
        before, self._pending = self._pending, []
        self._inline(element, parts)
        text, pending = "".join(parts), self._pending
        self._pending = before
        if properties is not None and (section := child(properties, "sectPr")) is not None:
            self._section(section)
        self._put(text, properties, out)
        for item in pending:
            if isinstance(item, tuple):
                self._note(item[0], item[1], out)
            else:
                self._drawn(item, out)

    def _put(self, text: str, properties: Any, out: Writer) -> None:
        style = value_of(properties, "pStyle")
        own = value_of(properties, "outlineLvl")
        level = int(own) if own.isdigit() else self._levels.get(style, level_by_name(style))
        if not text.strip():
            return
        label, depth = self._label(properties, style)
        if level < BODY_LEVEL:
            out.heading(level + 1, f"{label or ''} {text}" if label != BULLET else text)
        elif label:
            out.item(text, depth, label)
        else:
            out.paragraph(text)

    def _label(self, properties: Any, style: str) -> tuple[str | None, int]:
        number = child(properties, "numPr") if properties is not None else None
        list_id, level = self._style_lists.get(style, ("", "0"))
        if number is not None:
            list_id, level = value_of(number, "numId") or list_id, value_of(number, "ilvl") or level
        depth = int(level) if level.isdigit() else 0
        return self._numbering.label(list_id, depth), depth

    def _inline(self, element: Any, out: list[str]) -> None:
        for item in element:
            name = local(item.tag)
            if name == "t":
                out.append(item.text or "")
            elif name in SIGNS:
                out.append(SIGNS[name])
            elif name == "sym":
                out.append(_symbol(item))
            elif name in NOTES:
                self._pending.append((NOTES[name], attribute(item, "id") or ""))
            elif name == "hyperlink":
                parts: list[str] = []
                self._inline(item, parts)
                target = self._relations.get(attribute(item, "id") or "", ("", ""))[1]
                out.append(link("".join(parts), target))
            elif name == "AlternateContent":
                if (preferred := _preferred(item)) is not None:
                    self._inline(preferred, out)
            elif name in ("drawing", "pict", "object"):
                self._pending.append(item)
            elif name == "rt":
                out.append(" ")
                self._inline(item, out)
            elif name not in SKIPPED:
                self._inline(item, out)

    def _drawn(self, element: Any, out: Writer) -> None:
        """Text boxes, each once, charts and diagrams."""
        for item in element:
            name = local(item.tag)
            if name == "txbxContent":
                self.blocks(item, out)
            elif name == "AlternateContent":
                if (preferred := _preferred(item)) is not None:
                    self._drawn(preferred, out)
            elif name in ("chart", "relIds"):
                target = attribute(item, "id" if name == "chart" else "dm") or ""
                charts.write(self._package.tree(self._relations.get(target, ("", ""))[1]), out)
            elif name == "t" and item.text:
                out.paragraph(item.text)
            elif name == "docPr" and next(descendants(element, "blip"), None) is not None:
                out.paragraph(alternative(item))
            elif name == "textpath" and item.get("string"):
                out.paragraph(item.get("string"))
            else:
                self._drawn(item, out)

    def _note(self, kind: str, note_id: str, out: Writer) -> None:
        note = self._notes.pop((kind, note_id), None)
        if note is None:
            return
        inner = Writer()
        self.blocks(note, inner)
        author = attribute(note, "author") or ""
        said = f"Comment by {author}: " if author else "Comment: "
        out.paragraph(said + inner.line() if kind == "comment" and inner.line() else inner.text())

    def _table(self, element: Any, out: Writer) -> None:
        """One of a single column is a frame around what stands in it."""
        rows = [list(_cells(row)) for row in _rows(element)]
        if max(map(len, rows), default=0) <= 1:
            for cell, _ in (cell for row in rows for cell in row):
                self.blocks(cell, out)
            return
        table = []
        for row in rows:
            texts: list[str] = []
            for cell, width in row:
                inner = Writer()
                self.blocks(cell, inner)
                texts += [inner.line(), *[""] * (width - 1)]
            table.append(texts)
        out.table(table)

    def _section(self, element: Any) -> None:
        for kind, names in self._margins.items():
            for reference in children(element, kind):
                name = self._relations.get(attribute(reference, "id") or "", ("", ""))[1]
                if name not in names:
                    names.append(name)

    def _margin(self, names: list[str]) -> Writer:
        """Headers, or footers, each text once."""
        out, texts = Writer(), set()
        for name in names:
            root = self._package.tree(name)
            if root is None:
                continue
            inner, relations = Writer(), self._relations
            self._relations = self._package.relations(name)
            self.blocks(root, inner)
            self._relations = relations
            if (line := inner.line()) and line not in texts:
                texts.add(line)
                out.extend(inner)
        return out


def _rows(table: Any) -> list[Any]:
    found = []
    for item in table:
        name = local(item.tag)
        if name == "tr":
            if child(item, "trPr", "del") is None:
                found.append(item)
        elif name in ("sdt", "sdtContent", "customXml", "ins", "moveTo"):
            found += _rows(item)
    return found


def _cells(row: Any) -> list[tuple[Any, int]]:
    """Each with the columns that it takes."""
    found: list[tuple[Any, int]] = []
    for item in row:
        name = local(item.tag)
        if name == "tc":
            span = value_of(child(item, "tcPr"), "gridSpan")
            found.append((item, min(int(span), 64) if span.isdigit() else 1))
        elif name in ("sdt", "sdtContent", "customXml", "ins", "moveTo"):
            found += _cells(item)
    return found


def _preferred(alternatives: Any) -> Any:
    """Of a text said twice, for newer and for older programs, the first."""
    preferred = child(alternatives, "Choice")
    return preferred if preferred is not None else child(alternatives, "Fallback")


def _symbol(element: Any) -> str:
    try:
        code = int(attribute(element, "char") or "", 16)
    except ValueError:
        return ""
    return "" if 0xE000 <= code < 0xF900 or not 32 <= code < 0xD800 else chr(code)
