"""Jupyter notebooks: the cells in their order, code and what it printed as code. Formats 3 and 4."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from pgfolio.flows.extraction import charset, markup, web
from pgfolio.flows.extraction.metadata import title_of
from pgfolio.flows.extraction.reading import Reading
from pgfolio.flows.extraction.writing import Writer

_COLOURS: Final = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


def read(data: bytes) -> Reading:
    """Raises ValueError for what is no notebook."""
    book = json.loads(charset.text_of(data, "utf-8"))
    if not isinstance(book, dict):
        raise ValueError("no notebook: it has no cells")  # noqa: TRY004 - see the docstring
    sheets = _dicts(book.get("worksheets")) or [book]
    cells = [cell for sheet in sheets for cell in _dicts(sheet.get("cells"))]
    metadata: dict[str, Any] = book["metadata"] if isinstance(book.get("metadata"), dict) else {}
    info = metadata.get("language_info") or metadata.get("kernelspec") or {}
    language = (
        str(info.get("name") or info.get("language") or "python") if isinstance(info, dict) else "python"
    )
    out = Writer()
    for cell in cells:
        _cell(cell, language if language.isidentifier() else "", out)
    properties = {"title": metadata["title"]} if title_of(metadata.get("title")) else {}
    if authors := [str(item["name"]) for item in _dicts(metadata.get("authors")) if item.get("name")]:
        properties["authors"] = authors
    return Reading(out.text(), properties)


def _cell(cell: dict[str, Any], language: str, out: Writer) -> None:
    kind = cell.get("cell_type")
    source = _text(cell.get("source", cell.get("input", "")))
    if kind == "heading":
        level = cell.get("level", 1)
        out.heading(level if isinstance(level, int) else 1, source)
    elif kind == "code":
        out.code(source, language)
        for output in _dicts(cell.get("outputs")):
            _output(output, out)
    else:
        out.verbatim(markup.without_data_images(source))


def _output(output: dict[str, Any], out: Writer) -> None:
    data: dict[str, Any] = output["data"] if isinstance(output.get("data"), dict) else output
    page = _text(data.get("text/html", data.get("html", "")))
    plain = _text(data.get("text/plain", data.get("text", "")))
    if "traceback" in output:
        out.code(
            _COLOURS.sub(
                "", "\n".join(map(str, output["traceback"])) if isinstance(output["traceback"], list) else ""
            )
        )
    elif "<table" in page:
        out.verbatim(web.read_text(page).text)
    elif markdown := _text(data.get("text/markdown", "")):
        out.verbatim(markup.without_data_images(markdown))
    elif plain:
        out.code(_COLOURS.sub("", plain))
    elif page:
        out.verbatim(web.read_text(page).text)


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _text(value: Any) -> str:
    return "".join(map(str, value)) if isinstance(value, list) else value if isinstance(value, str) else ""
