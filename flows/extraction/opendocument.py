"""OpenDocument: texts (ODT), slides (ODP), sheets (ODS) and drawings (ODG)."""

from __future__ import annotations

import re
from typing import Any, Final

from pgfolio.flows.extraction.decode import clean
from pgfolio.flows.extraction.metadata import title_of
from pgfolio.flows.extraction.opendocument_tables import CELLS, narrowed, repeated, rows_of, unshown
from pgfolio.flows.extraction.package import (
    Package,
    attribute,
    child,
    children,
    descendants,
    forget,
    local,
    texts_of,
)
from pgfolio.flows.extraction.pages import joined
from pgfolio.flows.extraction.reading import Reading
from pgfolio.flows.extraction.writing import Writer, link

SKIPPED: Final = frozenset(
    """
    desc forms image sequence-decls settings shapes-decl title tracked-changes user-field-decls variable-decls
    """.split()  # noqa: SIM905 - a line for each else
)
DRAWN: Final = frozenset({"control", "custom-shape", "ellipse", "frame", "g", "line", "object", "rect"})
_SPACES: Final = re.compile(r"[ \t\r\n]+")
NAMES: Final = {
    "title": "title",
    "subject": "subject",
    "description": "description",
    "initial-creator": "created_by",
    "creator": "modified_by",
    "creation-date": "created_at",
    "date": "modified_at",
    "language": "language",
}


def read(data: bytes) -> Reading:
    package = Package(data)
    meta = package.tree("meta.xml")
    properties = texts_of(child(meta, "meta"), NAMES) if meta is not None else {}
    if author := properties.get("created_by") or properties.get("modified_by"):
        properties["authors"] = [author]
    kind = package.data("mimetype")[:200].decode("ascii", "replace")
    if "spreadsheet" in kind:
        return Reading(_sheets(package), properties)
    root = package.tree("content.xml")
    if root is None:
        package.stream("content.xml")
        raise ValueError("its content.xml is broken")
    document = _OpenDocument(package)
    body = next(iter(child(root, "body")), None)
    slides = list(children(body, "page")) if body is not None else []
    if slides:
        text, pages = joined([clean(document.slide(page)) for page in slides])
        if not title_of(properties.get("title")) and document.titles:
            properties["title"] = document.titles[0]
        return Reading(text, properties | {"slide_count": len(slides)}, pages)
    out = Writer()
    document.blocks(body if body is not None else (), out)
    heads, feet = document.margins()
    out.insert(heads)
    out.extend(feet)
    return Reading(out.text(), properties)


def _sheets(package: Package) -> str:
    """Row by row, so that a large one need not be held as a tree."""
    document, out = _OpenDocument(package), Writer()
    rows: list[list[str]] = []
    beside = Writer()
    for element in package.elements("content.xml", "table-row", "table", "shapes"):
        name = local(element.tag)
        if any(local(parent.tag) in ("table-row", "shapes") for parent in element.iterancestors()):
            continue
        if name == "table-row":
            cells = document.cells(element, beside)
            rows += [cells] * repeated(element, "number-rows-repeated", cells)
            forget(element)
        elif name == "shapes":
            document.blocks(element, beside)
        else:
            sheet = Writer()
            sheet.sheet(narrowed(rows))
            sheet.extend(beside)
            if len(sheet):
                out.heading(2, attribute(element, "name") or "")
                out.extend(sheet)
            rows, beside = [], Writer()
            forget(element)
    return out.text()


class _OpenDocument:
    def __init__(self, package: Package) -> None:
        self._package = package
        self._pending: list[Any] = []
        self._level = 0
        self.titles: list[str] = []

    def slide(self, page: Any) -> str:
        out = Writer()
        for shape in page:
            kind = attribute(shape, "class")
            if kind == "title":
                inner = Writer()
                self._block(shape, inner)
                if inner.line():
                    self.titles.append(inner.line())
                    out.heading(2, inner.line())
            elif kind != "page-number":
                self._block(shape, out)
        return out.text()

    def blocks(self, container: Any, out: Writer) -> None:
        for element in container:
            self._block(element, out)

    def _block(self, element: Any, out: Writer) -> None:
        name = local(element.tag)
        if name in ("p", "h"):
            self._paragraph(element, out)
        elif name == "list":
            self._list(element, out, 0)
        elif name == "table":
            self._table(element, out)
        elif name == "annotation":
            self._comment(element, out)
        elif name == "object":
            self._object(element, out)
        elif name not in SKIPPED:
            self.blocks(element, out)

    def _paragraph(self, element: Any, out: Writer, label: str = "", depth: int = 0) -> None:
        before, self._pending = self._pending, []
        text = self.text(element)
        pending, self._pending = self._pending, before
        if local(element.tag) == "h":
            level = attribute(element, "outline-level") or "1"
            out.heading(int(level) if level.isdigit() else 1, text)
        elif label:
            out.item(text, depth, label)
        else:
            out.paragraph(text)
        for item in pending:
            self._block(item, out)

    def text(self, element: Any) -> str:
        """In one line but for its line breaks; frames, notes and comments wait until the paragraph ends."""
        parts: list[str] = []
        self._inline(element, parts)
        return _SPACES.sub(" ", "".join(parts)).replace("\x01", "\t").replace("\x02", "\n")

    def _inline(self, element: Any, out: list[str]) -> None:
        out.append(element.text or "")
        for item in element:
            name = local(item.tag)
            if name == "s":
                out.append(" ")
            elif name == "tab":
                out.append("\x01")
            elif name == "line-break":
                out.append("\x02")
            elif name == "note":
                self._pending += children(item, "note-body")
            elif name == "annotation":
                self._pending.append(item)
            elif name == "a":
                parts: list[str] = []
                self._inline(item, parts)
                out.append(link("".join(parts), attribute(item, "href")))
            elif name == "ruby-text":
                out.append(" ")
                self._inline(item, out)
            elif name in DRAWN or (name == "p" and local(element.tag) != "p"):
                self._pending.append(item)
            elif name not in SKIPPED:
                self._inline(item, out)
            out.append(item.tail or "")

    def _list(self, element: Any, out: Writer, depth: int) -> None:
        for item in children(element, "list-item", "list-header"):
            label = "-" if local(item.tag) == "list-item" else ""
            for part in item:
                if local(part.tag) == "list":
                    self._list(part, out, depth + 1)
                elif local(part.tag) == "p":
                    self._paragraph(part, out, label, depth)
                    label = ""
                else:
                    self._block(part, out)

    def _table(self, element: Any, out: Writer) -> None:
        rows = [(self.cells(row, out), row) for row in rows_of(element)]
        out.table(
            narrowed(
                [cells for cells, row in rows for _ in range(repeated(row, "number-rows-repeated", cells))]
            )
        )

    def cells(self, row: Any, beside: Writer) -> list[str]:
        """Their texts; comments and drawings of theirs go beside the table."""
        found: list[str] = []
        for cell in children(row, *CELLS):
            inner, said = Writer(), Writer()
            for item in cell:
                if local(item.tag) in ("annotation", "frame"):
                    self._block(item, said)
                else:
                    self._block(item, inner)
            beside.extend(said)
            text = inner.line() or unshown(cell)
            count = repeated(cell, "number-columns-repeated", [text])
            found += [text] * count
        return found

    def _comment(self, element: Any, out: Writer) -> None:
        inner = Writer()
        self.blocks(children(element, "p", "list"), inner)
        author = child(element, "creator")
        name = author.text if author is not None else None
        if inner.line():
            out.paragraph(f"Comment by {name}: {inner.line()}" if name else f"Comment: {inner.line()}")

    def _object(self, element: Any, out: Writer) -> None:
        """A chart: an OpenDocument within the document."""
        folder = (attribute(element, "href") or "").removeprefix("./")
        root = self._package.tree(f"{folder}/content.xml") if folder and self._level < 3 else None
        if root is not None and child(root, "body") is not None:
            self._level += 1
            self.blocks(child(root, "body"), out)
            self._level -= 1

    def margins(self) -> tuple[Writer, Writer]:
        """Headers and footers of all page styles, each text once."""
        root = self._package.tree("styles.xml")
        both = (Writer(), Writer())
        texts: set[str] = set()
        for page in descendants(root, "master-page") if root is not None else ():
            for item in page:
                name = local(item.tag)
                inner = Writer()
                if name.startswith(("header", "footer")):
                    self.blocks(item, inner)
                if (line := inner.line()) and line not in texts:
                    texts.add(line)
                    both[name.startswith("footer")].extend(inner)
        return both
