"""Slides (PPTX): of each its title as a heading, its text, tables, charts, speaker notes and comments.

Pictures are never opened, so that none can cost a deck its text.
"""

from __future__ import annotations

from typing import Any, Final

from pgfolio.flows.extraction import charts
from pgfolio.flows.extraction.decode import clean
from pgfolio.flows.extraction.metadata import title_of
from pgfolio.flows.extraction.package import (
    Package,
    alternative,
    attribute,
    child,
    children,
    core_properties,
    descendants,
    local,
)
from pgfolio.flows.extraction.pages import joined
from pgfolio.flows.extraction.reading import Reading
from pgfolio.flows.extraction.writing import Writer, link

TITLES: Final = ("title", "ctrTitle")
MARGINS: Final = ("ftr", "hdr", "dt")


def read(data: bytes) -> Reading:
    package = Package(data)
    main = package.main_part("ppt/presentation.xml")
    relations = package.relations(main)
    root = package.tree(main)
    ids = [_relation_id(item) for item in descendants(root, "sldId")] if root is not None else []
    names = [name for kind, name in (relations.get(key, ("", "")) for key in ids) if kind == "slide"]
    deck = _Deck(package)
    texts = [clean(deck.slide(name)) for name in names or _by_number(package)]
    text, pages = joined(texts)
    properties = core_properties(package) | {"slide_count": len(texts)}
    if not title_of(properties.get("title")) and deck.titles:
        properties["title"] = deck.titles[0]
    properties.pop("page_count", None)
    return Reading(text, properties, pages)


def _relation_id(element: Any) -> str:
    """A slide has an id of its own beside that of its relation, under the same local name."""
    return next((value for key, value in element.attrib.items() if key.endswith("}id")), "")


def _by_number(package: Package) -> list[str]:
    """For a presentation whose own list is broken."""
    names = [
        name for name in package.names() if name.startswith("ppt/slides/slide") and name.endswith(".xml")
    ]
    return sorted(names, key=lambda name: (len(name), name))


class _Deck:
    def __init__(self, package: Package) -> None:
        self._package = package
        self._margins: set[str] = set()
        self.titles: list[str] = []

    def slide(self, name: str) -> str:
        root = self._package.tree(name)
        if root is None:
            return ""
        out = Writer()
        relations = self._package.relations(name)
        self._shapes(child(root, "cSld", "spTree"), out, relations)
        for kind, target in relations.values():
            if kind == "notesSlide":
                notes = self._package.tree(target)
                self._shapes(child(notes, "cSld", "spTree"), out, self._package.relations(target))
            elif kind == "comments" and (comments := self._package.tree(target)) is not None:
                for comment in comments:
                    texts = (text.text or "" for text in descendants(comment, "text", "t"))
                    if said := " ".join(texts).strip():
                        out.paragraph(f"Comment: {said}")
        return out.text()

    def _shapes(self, tree: Any, out: Writer, relations: dict[str, tuple[str, str]]) -> None:
        for shape in tree if tree is not None else ():
            name = local(shape.tag)
            if name == "AlternateContent":
                preferred = child(shape, "Choice")
                self._shapes(preferred if preferred is not None else child(shape, "Fallback"), out, relations)
            elif name in ("grpSp", "sp", "cxnSp"):
                body = child(shape, "txBody")
                if name == "grpSp":
                    self._shapes(shape, out, relations)
                elif body is not None:
                    self._text(body, _placeholder(shape), out, relations)
            elif name == "pic":
                out.paragraph("".join(alternative(item) for item in descendants(shape, "cNvPr")))
            elif name == "graphicFrame":
                self._graphic(shape, out, relations)

    def _text(self, body: Any, kind: str, out: Writer, relations: dict[str, tuple[str, str]]) -> None:
        lines = [(_level(item), _paragraph(item, relations)) for item in children(body, "p")]
        text = " ".join(line for _, line in lines if line.strip())
        if kind == "sldNum" or not text or (kind in MARGINS and text in self._margins):
            return
        if kind in MARGINS:
            self._margins.add(text)
        if kind in TITLES:
            self.titles.append(" ".join(text.split()))
            out.heading(2, text)
            return
        listed = kind in ("body", "obj", "") and any(level for level, _ in lines)
        for level, line in lines:
            if listed:
                out.item(line, level)
            else:
                out.paragraph(line)

    def _graphic(self, frame: Any, out: Writer, relations: dict[str, tuple[str, str]]) -> None:
        for item in descendants(frame, "tbl", "chart", "relIds"):
            if local(item.tag) == "tbl":
                out.table(
                    [
                        " ".join(_paragraph(p, relations) for p in descendants(cell, "p"))
                        for cell in children(row, "tc")
                    ]
                    for row in children(item, "tr")
                )
            else:
                target = attribute(item, "id" if local(item.tag) == "chart" else "dm") or ""
                charts.write(self._package.tree(relations.get(target, ("", ""))[1]), out)


def _placeholder(shape: Any) -> str:
    """Which of the layout's places it fills; "text" for none."""
    found = next(iter(descendants(shape, "ph")), None) if child(shape, "nvSpPr") is not None else None
    return (found.get("type") or "obj") if found is not None else "text"


def _level(paragraph: Any) -> int:
    properties = child(paragraph, "pPr")
    level = properties.get("lvl", "") if properties is not None else ""
    return int(level) if level.isdigit() else 0


def _paragraph(element: Any, relations: dict[str, tuple[str, str]]) -> str:
    parts = []
    for run in element:
        name = local(run.tag)
        if name == "br":
            parts.append("\n")
        elif name == "tab":
            parts.append("\t")
        elif name in ("r", "fld"):
            text = "".join(item.text or "" for item in children(run, "t")).replace("\v", "\n")
            click = child(run, "rPr", "hlinkClick")
            target = relations.get(_relation_id(click), ("", ""))[1] if click is not None else ""
            parts.append(link(text, target))
        elif name in ("m", "AlternateContent"):
            parts += [item.text or "" for item in descendants(run, "t")]
    return "".join(parts)
