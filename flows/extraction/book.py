"""Books (EPUB): the chapters in the order of their spine."""

from __future__ import annotations

import posixpath
from typing import Any
from urllib.parse import unquote

from pgfolio.flows.extraction import web
from pgfolio.flows.extraction.extracted import Unextractable
from pgfolio.flows.extraction.package import Package, descendants, local
from pgfolio.flows.extraction.reading import Reading
from pgfolio.flows.extraction.writing import Writer

PAGES = (".xhtml", ".html", ".htm", ".xml")


def read(data: bytes) -> Reading:
    package = Package(data)
    container = package.tree("META-INF/container.xml")
    roots = descendants(container, "rootfile") if container is not None else iter(())
    main = next((root.get("full-path", "") for root in roots), "")
    root = package.tree(main)
    out = Writer()
    for name in _chapters(package, main, root):
        try:
            out.verbatim(web.read(package.data(name)).text)
        except Unextractable:
            continue
    return Reading(out.text(), _properties(root))


def _chapters(package: Package, main: str, root: Any) -> list[str]:
    """In the order of the spine, each once; of a book without one all its pages."""
    folder = posixpath.dirname(main)
    items = {
        item.get("id", ""): posixpath.normpath(posixpath.join(folder, unquote(item.get("href", ""))))
        for item in (descendants(root, "item") if root is not None else ())
    }
    order = [
        items.get(item.get("idref", ""), "")
        for item in (descendants(root, "itemref") if root is not None else ())
    ]
    named = [name for name in dict.fromkeys(order) if name in package]
    return named or [
        name for name in package.names() if name.lower().endswith(PAGES) and not name.startswith("META-INF")
    ]


def _properties(root: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    names = {"title": "title", "language": "language", "description": "description", "publisher": "publisher",
             "subject": "subject", "date": "created_at"}  # fmt: skip
    for item in root.iter() if root is not None else ():
        name, text = local(item.tag), " ".join((item.text or "").split())
        if not text or "dc/elements" not in str(item.tag):
            continue
        if name == "creator":
            found.setdefault("authors", []).append(text)
        elif name in names:
            found.setdefault(names[name], text)
    return found
