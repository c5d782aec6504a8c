"""The words of a file, read by other code than the readers: what they made of it is counted against these.

Cheap and rough: no order, no layout. Empty where a format has no second reading.
"""

from __future__ import annotations

import email
import io
import json
import re
import zipfile
from email import policy
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any, Final
from xml.parsers import expat

from pgfolio.flows.extraction import charset, mime

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

MAX_PART_BYTES: Final = 256 * 1024 * 1024
MAX_PAGE_BYTES: Final = 512 * 1024
"""Of HTML: html.parser takes time that grows with the square of what is opened and never closed."""

WORD_PARTS: Final = re.compile(
    r"word/(document|header|footer|footnotes|endnotes|comments)\d*\.xml", re.IGNORECASE
)
SLIDE_PARTS: Final = re.compile(r"ppt/(slides/slide|notesSlides/notesSlide)\d+\.xml", re.IGNORECASE)
SHEET_PARTS: Final = re.compile(r"xl/(sharedStrings|comments\d*|worksheets/sheet\d+)\.xml", re.IGNORECASE)
OPEN_PARTS: Final = re.compile(r"content\.xml")
LEAVES: Final = frozenset({"t", "v"})
BREAKS: Final = frozenset("br c comment cr h is line-break p ptab s si tab table-cell tc".split())  # noqa: SIM905
LEFT_OUT: Final = frozenset(
    """
    Fallback del delText desc f image index-title-template instrText moveFrom note-citation rPh title tracked-changes
    """.split()  # noqa: SIM905 - a line for each else
)
CHUNK: Final = 1 << 20
STRING_END: Final = "\x1f"


def independent_text(kind: str, data: bytes) -> str:
    """The words of a file of that type, in no order; empty for a type without a second reading, and for a file that
    is too broken for one."""
    reader = READERS.get(kind)
    if reader is None or (kind in PAGES and len(data) > MAX_PAGE_BYTES):
        return ""
    try:
        return " ".join(reader(data))
    except (zipfile.BadZipFile, expat.ExpatError, KeyError, ValueError, RuntimeError, EOFError, OSError):
        return ""


class _Words:
    """The text nodes of a part; `leaves`: only those within elements of these names."""

    def __init__(self, leaves: frozenset[str]) -> None:
        self.parts: list[str] = []
        self._leaves = leaves
        self._out = 0
        self._in = 0
        self._place = False
        self.places: set[str] = set()

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        name = tag.rpartition(":")[2]
        if self._out or name in LEFT_OUT or _is_no_text(name, attributes):
            self._out += 1
            return
        if name == "c":
            self._place = attributes.get("t") == "s"
        if name in BREAKS:
            self.parts.append(" ")
        elif name == "noBreakHyphen":
            self.parts.append("-")
        if name in self._leaves:
            self._in += 1

    def end(self, tag: str) -> None:
        name = tag.rpartition(":")[2]
        if self._out:
            self._out -= 1
            return
        if name in BREAKS:
            self.parts.append(STRING_END if name == "si" else " ")
        if name in self._leaves:
            self._in -= 1

    def text(self, data: str) -> None:
        if not self._out and self._place:
            self.places.add(data)
        elif not self._out and (self._in or not self._leaves):
            self.parts.append(data)


def _is_no_text(name: str, attributes: dict[str, str]) -> bool:
    """A slide's number; a cell that holds a truth value, or a number with a format, by which it may be a date."""
    if name == "fld":
        return attributes.get("type") == "slidenum"
    kind = attributes.get("t", "n") if name == "c" else ""
    return kind == "b" or (kind == "n" and attributes.get("s", "0") != "0")


def _part(file: Any, leaves: frozenset[str]) -> _Words:
    """Entities are refused: a few bytes of them unfold into more than any memory holds."""
    words = _Words(leaves)
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = words.start
    parser.EndElementHandler = words.end
    parser.CharacterDataHandler = words.text
    parser.EntityDeclHandler = _refuse
    while chunk := file.read(CHUNK):
        parser.Parse(chunk, False)
    parser.Parse(b"", True)
    return words


def _refuse(*_: object) -> None:
    raise ValueError("entities")


def _zipped(parts: re.Pattern[str], leaves: frozenset[str] = frozenset()) -> Callable[[bytes], Iterator[str]]:
    def read(data: bytes) -> Iterator[str]:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for info in archive.infolist():
                if parts.fullmatch(info.filename) and info.file_size <= MAX_PART_BYTES:
                    with archive.open(info) as file:
                        yield "".join(_part(file, leaves).parts)

    return read


def _sheets(data: bytes) -> Iterator[str]:
    """Of the strings that the sheets share those that a cell holds."""
    strings: list[str] = []
    places: set[str] = set()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for info in archive.infolist():
            if SHEET_PARTS.fullmatch(info.filename) and info.file_size <= MAX_PART_BYTES:
                with archive.open(info) as file:
                    words = _part(file, LEAVES)
                places |= words.places
                if "shared" in info.filename.lower():
                    strings = "".join(words.parts).split(STRING_END)
                else:
                    yield "".join(words.parts)
    for place in places:
        if place.isdigit() and int(place) < len(strings):
            yield strings[int(place)]


def _mail(data: bytes) -> Iterator[str]:
    """Of each alternative the first that says something, and the attached texts."""
    message = email.message_from_bytes(data, policy=policy.compat32)
    yield from _mail_parts(message)


def _mail_parts(message: Any, level: int = 0) -> Iterator[str]:
    parts = message.get_payload() if message.is_multipart() and level < 10 else []
    if not parts and message.get_content_maintype() == "text":
        payload = message.get_payload(decode=True) or b""
        text = charset.text_of(payload, message.get_content_charset())
        yield _page_words(text) if message.get_content_subtype() == "html" else text
    found = (list(_mail_parts(part, level + 1)) for part in parts)
    if message.get_content_subtype() == "alternative":
        yield from next((texts for texts in found if any(map(str.strip, texts))), [])
    else:
        for texts in found:
            yield from texts


class _PageWords(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self._out = 0

    def handle_starttag(self, tag: str, attrs: object) -> None:  # noqa: ARG002
        if tag in NO_TEXT:
            self._out += 1
        elif tag not in INLINE:
            self.parts.append(" ")

    def handle_endtag(self, tag: str) -> None:
        if tag in NO_TEXT:
            self._out = max(self._out - 1, 0)
        elif tag not in INLINE:
            self.parts.append(" ")

    def handle_data(self, data: str) -> None:
        if not self._out:
            self.parts.append(data)


NO_TEXT: Final = frozenset(
    "audio canvas iframe noframes noscript object script style template title video".split()  # noqa: SIM905
)
INLINE: Final = frozenset(
    """
    a abbr acronym b bdi bdo big cite code del dfn em font i ins kbd mark mi mn mo ms mtext q s samp small
    span strike strong sub sup tt u var wbr
    """.split()  # noqa: SIM905 - a line for each else
)


def _page(data: bytes) -> Iterator[str]:
    yield _page_words(charset.page(data))


def _page_words(text: str) -> str:
    parser = _PageWords()
    parser.feed(text)
    parser.close()
    return "".join(parser.parts)


def _book(data: bytes) -> Iterator[str]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for info in archive.infolist():
            name = info.filename.lower()
            if (
                name.endswith((".xhtml", ".html", ".htm"))
                and info.file_size <= MAX_PART_BYTES
                and "nav" not in name
            ):
                yield from _page(archive.read(info))


def _notebook(data: bytes) -> Iterator[str]:
    book = json.loads(data.decode("utf-8-sig"))
    for sheet in book.get("worksheets") or [book]:
        for cell in sheet.get("cells", ()):
            source = cell.get("source", cell.get("input", ""))
            text = "".join(source) if isinstance(source, list) else str(source)
            yield re.sub(r"data:\S+", "", text)


def _rows(data: bytes) -> Iterable[str]:
    return [re.sub(r'(?i)\A\ufeff?sep=.\s|[,;\t|"]', " ", charset.text_of(data, None))]


PAGES: Final = frozenset({mime.EML, mime.EPUB, mime.HTML})

READERS: Final[dict[str, Callable[[bytes], Iterable[str]]]] = {
    mime.CSV: _rows,
    mime.DOCX: _zipped(WORD_PARTS, LEAVES),
    mime.EML: _mail,
    mime.EPUB: _book,
    mime.HTML: _page,
    mime.IPYNB: _notebook,
    mime.ODG: _zipped(OPEN_PARTS),
    mime.ODP: _zipped(OPEN_PARTS),
    mime.ODS: _zipped(OPEN_PARTS),
    mime.ODT: _zipped(OPEN_PARTS),
    mime.PPTX: _zipped(SLIDE_PARTS, LEAVES),
    mime.TSV: _rows,
    mime.XLSX: _sheets,
}
