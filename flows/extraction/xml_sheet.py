"""Sheets in the XML of Excel 2003, which programs export as `.xls`."""

from __future__ import annotations

import io
from typing import Any

from lxml import etree

from pgfolio.flows.extraction.package import SAFE, attribute, children, forget, local
from pgfolio.flows.extraction.reading import Reading
from pgfolio.flows.extraction.writing import Writer

MAX_GAP = 64


def read(data: bytes) -> Reading:
    """Row by row. Raises lxml.etree.XMLSyntaxError."""
    out, rows, comments = Writer(), [], Writer()
    for _, element in etree.iterparse(io.BytesIO(data), ("end",), tag=("{*}Row", "{*}Worksheet"), **SAFE):
        if local(element.tag) == "Row":
            rows.append(_cells(element, comments))
            forget(element)
        elif any(map(any, rows)):
            out.heading(2, attribute(element, "Name") or "")
            out.sheet(rows)
            out.extend(comments)
            rows, comments = [], Writer()
    return Reading(out.text())


def _cells(row: Any, comments: Writer) -> list[str]:
    found: list[str] = []
    for cell in children(row, "Cell"):
        index = attribute(cell, "Index") or ""
        if index.isdigit():
            found += [""] * min(max(int(index[:6]) - 1 - len(found), 0), MAX_GAP)
        found.append(" ".join(_text(data) for data in children(cell, "Data")))
        for comment in children(cell, "Comment"):
            comments.paragraph(
                "Comment: " + " ".join(" ".join(map(_text, children(comment, "Data"))).split())
            )
    return found


def _text(data: Any) -> str:
    text = "".join(data.itertext()).strip()
    return (
        text.removesuffix(".000").replace("T00:00:00", "").replace("T", " ")
        if attribute(data, "Type") == "DateTime"
        else text
    )
