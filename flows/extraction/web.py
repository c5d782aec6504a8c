"""Web pages (HTML): what a browser shows of them, as they are parsed, without a tree.

Scripts, styles and pictures are no text; of a picture its alternative text is. Time and memory are linear in the
page, however deep it is nested.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from lxml import etree

from pgfolio.flows.extraction import charset
from pgfolio.flows.extraction.reading import Reading
from pgfolio.flows.extraction.writing import Writer, link

if TYPE_CHECKING:
    from collections.abc import Mapping

SKIPPED: Final = frozenset(
    "script style template noscript noframes iframe object audio video canvas".split()  # noqa: SIM905
)
BLOCKS: Final = frozenset(
    """
    address article aside blockquote body caption center dd details dialog dir div dl dt fieldset figcaption figure
    footer form head header hgroup hr html legend li main menu nav ol optgroup option p search section summary ul
    """.split()  # noqa: SIM905 - a line for each else
)
HEADINGS: Final = {f"h{level}": level for level in range(1, 7)}
LISTS: Final = ("ul", "ol", "menu", "dir")
CELLS: Final = ("td", "th")
MAX_TABLES: Final = 40
"""Within each other; deeper ones are paragraphs."""

_SPACES: Final = re.compile(r"[ \t\n\r\f\xa0]+")
_EMPTY_IN_XML: Final = re.compile(
    r"<(title|script|style|textarea|iframe|noscript|a|div|span|p|td|th|li)\b([^<>]*)/>", re.IGNORECASE
)
_LINE: Final = "\v"


def read(data: bytes) -> Reading:
    return read_text(charset.page(data))


def read_text(text: str) -> Reading:
    """Of HTML that is text already, whatever charset it declares."""
    if text.lstrip()[:5] == "<?xml" or "/xhtml" in text[:1000]:
        text = _EMPTY_IN_XML.sub(r"<\1\2></\1>", text)
    page = _WebPage()
    parser = etree.HTMLParser(target=page, huge_tree=True, encoding="utf-8")
    data = text.encode("utf-8", "replace")
    for start in range(0, len(data), 1 << 16):
        parser.feed(data[start : start + (1 << 16)])
    if data:
        parser.close()
    page.finish()
    return Reading(page.writer.text(), page.properties)


@dataclass(slots=True)
class _WebTable:
    """`outer`: the writer that its own place is in; `lists`: those that are open there."""

    outer: Writer
    lists: int
    rows: list[list[Writer]] = field(default_factory=list)

    def cell(self) -> Writer:
        if not self.rows:
            self.rows.append([])
        self.rows[-1].append(Writer())
        return self.rows[-1][-1]

    def is_frame(self) -> bool:
        """Whether it only sets out what is in it, as pages and mails were once made."""
        if max(map(len, self.rows), default=0) <= 1:
            return True
        return any({"table", "heading", "code"} & cell.kinds() for row in self.rows for cell in row)


class _WebPage:
    """A target of lxml's parser."""

    def __init__(self) -> None:
        self.writer = Writer()
        self.properties: dict[str, Any] = {}
        self._inline: list[str] = []
        self._skipping = 0
        self._svg = 0
        self._pre = 0
        self._title: list[str] | None = None
        self._tables: list[_WebTable] = []
        self._too_deep = 0
        self._lists: list[int | None] = []
        self._label: str | None = None
        self._links: list[tuple[str, int, int]] = []
        self._line = 0

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        if self._skipping or tag in SKIPPED:
            self._skipping += 1
        elif tag == "title":
            self._title = []
        elif tag == "svg":
            self._svg += 1
        elif tag == "br":
            self._inline.append("\n" if self._pre else _LINE)
        elif tag in BLOCKS or tag in HEADINGS:
            self._flush()
            self._open_block(tag, attributes)
        elif tag == "pre":
            self._flush()
            self._pre += 1
        elif tag == "table":
            self._open_table()
        elif tag == "tr" and self._in_table():
            self._close_cell()
            self._tables[-1].rows.append([])
        elif tag in CELLS and self._in_table():
            self._close_cell()
            self.writer = self._tables[-1].cell()
            self._pad(attributes.get("colspan", ""))
        else:
            self._open_inline(tag, attributes)

    def end(self, tag: str) -> None:
        if self._skipping:
            self._skipping -= 1
        elif tag == "title":
            self._close_title()
        elif tag == "svg":
            self._flush()
            self._svg -= 1
        elif tag in HEADINGS:
            self._flush(HEADINGS[tag])
        elif tag in BLOCKS:
            self._flush()
            if tag == "li":
                self._label = None
            if tag in LISTS and self._lists:
                self._lists.pop()
        elif tag == "pre":
            self._close_pre()
        elif tag == "table":
            self._close_table()
        elif tag in ("tr", *CELLS, "tbody", "thead", "tfoot") and self._in_table():
            self._close_cell()
        elif tag == "a" and self._links:
            address, line, begin = self._links.pop()
            if line == self._line and not self._pre:
                self._inline[begin:] = [link("".join(self._inline[begin:]), address)]
        elif tag in ("button", "select", "text", "label"):
            self._inline.append(" ")

    def data(self, text: str) -> None:
        if self._title is not None:
            self._title.append(text)
        elif not self._skipping:
            self._inline.append(text)

    def close(self) -> None:
        """The parser wants it; the page ends by finish()."""

    def finish(self) -> None:
        self._close_title()
        self._close_pre()
        while self._tables:
            self._too_deep = 0
            self._close_table()
        self._flush()

    def _open_block(self, tag: str, attributes: Mapping[str, str]) -> None:
        if tag in LISTS:
            start = attributes.get("start", "1")
            first = int(start) if re.fullmatch(r"-?\d{1,6}", start) else 1
            self._lists.append(first if tag == "ol" else None)
        elif tag == "li":
            number = self._lists[-1] if self._lists else None
            self._label = "-" if number is None else f"{number}."
            if number is not None:
                self._lists[-1] = number + 1
        elif tag == "html" and attributes.get("lang"):
            self.properties.setdefault("language", attributes["lang"])

    def _open_inline(self, tag: str, attributes: Mapping[str, str]) -> None:
        if tag == "a":
            self._links.append((attributes.get("href", ""), self._line, len(self._inline)))
        elif tag == "img":
            if (words := attributes.get("alt", "").strip()) and not words.startswith("data:"):
                self._inline.append(f" {words} " if not self._pre else words)
        elif tag == "input":
            if attributes.get("type", "text").lower() in (
                "text",
                "submit",
                "button",
                "reset",
                "search",
                "email",
            ):
                self._inline.append(f" {attributes.get('value', '')} ")
        elif tag == "meta":
            self._meta(attributes)
        elif tag in ("button", "select", "textarea", "text", "tspan", "label"):
            self._inline.append(" ")

    def _meta(self, attributes: Mapping[str, str]) -> None:
        name = (attributes.get("name") or attributes.get("property") or "").lower()
        content = attributes.get("content", "").strip()
        if content and name in ("description", "keywords"):
            self.properties.setdefault(name, content)
        elif content and name == "author":
            self.properties.setdefault("authors", []).append(content)
        elif content and name in ("article:published_time", "date", "dc.date", "dcterms.created"):
            self.properties.setdefault("created_at", content)

    def _flush(self, level: int | None = None) -> None:
        """What stands in the line becomes a block."""
        text, self._inline = "".join(self._inline), []
        self._line += 1
        if self._pre:
            self._inline = [text, "\n"] if text else []
            return
        text = _SPACES.sub(" ", text).replace(_LINE, "\n")
        if not text.strip():
            return
        if level:
            self.writer.heading(level, text)
        elif self._label is not None:
            self.writer.item(text, max(len(self._lists) - 1, 0), self._label)
            self._label = None
        else:
            self.writer.paragraph(text)

    def _close_title(self) -> None:
        title = " ".join("".join(self._title or ()).split())
        if title and not self._svg:
            self.properties.setdefault("title", title)
        self._title = None

    def _close_pre(self) -> None:
        if self._pre == 1:
            self.writer.code("".join(self._inline).expandtabs(8))
            self._inline, self._label = [], None
        self._pre = max(self._pre - 1, 0)

    def _in_table(self) -> bool:
        return bool(self._tables) and not self._too_deep

    def _open_table(self) -> None:
        if self._pre or len(self._tables) >= MAX_TABLES:
            self._too_deep += 1
            return
        self._flush()
        self._tables.append(_WebTable(self.writer, len(self._lists)))

    def _pad(self, span: str) -> None:
        """A cell over several columns is followed by empty ones."""
        if span.isdigit() and 1 < int(span[:4]) <= 50:
            rows = self._tables[-1].rows
            rows[-1] += [Writer() for _ in range(int(span) - 1)]

    def _close_cell(self) -> None:
        self._flush()
        self._label = None
        del self._lists[self._tables[-1].lists :]
        self.writer = self._tables[-1].outer

    def _close_table(self) -> None:
        if self._too_deep or not self._tables:
            self._too_deep = max(self._too_deep - 1, 0)
            self._flush()
            return
        self._close_cell()
        table = self._tables.pop()
        if table.is_frame():
            for row in table.rows:
                for cell in row:
                    self.writer.extend(cell)
        else:
            self.writer.table([cell.line() for cell in row] for row in table.rows)
