"""A PDF's text, page by page, with what it says of itself; an independent look at its words, to count against; and
pictures of its pages, to be read by OCR. All by pdfium."""

from __future__ import annotations

import re
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

import pypdfium2
import pypdfium2.raw as pdfium

from pgfolio.flows.extraction import ocr
from pgfolio.flows.extraction.decode import clean
from pgfolio.flows.extraction.extracted import Unextractable
from pgfolio.flows.extraction.pdf_layout import Outline, markdown_pages
from pgfolio.flows.extraction.pdf_line import Page
from pgfolio.flows.extraction.pdf_lines import lines_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pgfolio.flows.extraction.pdf_line import Line

MAX_CHARACTERS = 30_000_000
MAX_PAGES = 100_000
MAX_BOOKMARKS = MAX_ANNOTATIONS = MAX_OBJECTS = 10_000
MAX_PIXELS_A_SIDE = 8000
SAMPLED_PAGES = 20
SCAN_AREA = 0.6
"""Of a page without text is covered by pictures: then it is a scan."""
EDGE_LINES = 3
"""At the beginning and at the end of a page's text."""
REPEATED_IN = 3
"""Sampled pages: a line is a running header or footer."""
ENCRYPTED = "encrypted PDF: remove the password"
_END_NUMBER = re.compile(r"^\d+|\d+(?: of \d+)?$")
_DATE = re.compile(r"D:(\d{4})(\d\d)?(\d\d)?(\d\d)?(\d\d)?(\d\d)?(?:([+-]\d\d)'?(\d\d)?|Z)?")


@dataclass(frozen=True, slots=True)
class Read:
    """`pages`: the Markdown of each page, empty for one without text; `scans`: the pages, from 0, that are pictures
    alone. `properties` has kreuzberg's names."""

    pages: list[str]
    properties: dict[str, Any] = field(default_factory=dict)
    scans: list[int] = field(default_factory=list)


def read(data: bytes) -> Read:
    """Raises Unextractable."""
    with _opened(data) as document:
        pages: list[Page] = []
        scans: list[int] = []
        letters = 0
        for number in range(len(document)):
            with _page(document, number) as page:
                lines = _lines(page)
                box = page.get_cropbox() if page else (0, 0, 0, 0)
                if not lines and _is_scan(page):
                    scans.append(number)
            letters += sum(len(line.text) for line in lines)
            if letters > MAX_CHARACTERS:
                raise Unextractable(f"more than {MAX_CHARACTERS:,} characters of text in it")
            pages.append(Page(lines, box))
        return Read(
            [clean(page) for page in markdown_pages(pages, _outline(document))], _properties(document), scans
        )


def scanned_pages(data: bytes, read: Read) -> dict[int, str]:
    """The text of its scanned pages by their numbers, from 0: of all pages where there is no text at all; of so many
    as there is time for."""
    if not ocr.engine():
        return {}
    scans = read.scans if any(read.pages) else range(len(read.pages))
    return dict(zip(scans, ocr.scanned(pictures(data, scans)), strict=False))


def independent_text(data: bytes) -> str:
    """What pdfium itself takes for the text of at most SAMPLED_PAGES pages, spread evenly; a line that repeats from
    page to page stands there once.

    Raises Unextractable."""
    with _opened(data) as document:
        count = len(document)
        sampled = sorted({index * count // SAMPLED_PAGES for index in range(SAMPLED_PAGES)}) if count else []
        pages = []
        for number in sampled:
            with _page(document, number) as page, _textpage(page) as textpage:
                pages.append(_plain_text(textpage).splitlines())
    repeated = Counter(key for lines in pages for key in set(filter(None, _edge_keys(lines))))
    seen: set[str] = set()
    remaining = []
    for lines in pages:
        for line, key in zip(lines, _edge_keys(lines), strict=True):
            if repeated[key] < REPEATED_IN or key not in seen:
                remaining.append(line)
            seen.add(key)
    return clean("\n".join(remaining))


def _edge_keys(lines: list[str]) -> list[str]:
    """For each line what it has in common with its like on other pages, but for a number at an end of it; empty for a
    line that is not at the beginning or the end of its page."""
    middle = range(EDGE_LINES, len(lines) - EDGE_LINES)
    return ["" if at in middle else _END_NUMBER.sub("0", line.strip()) for at, line in enumerate(lines)]


def pictures(data: bytes, pages: Iterable[int], dpi: int = 200) -> Iterator[bytes]:
    """Each of these pages, from 0, in grey, as a portable graymap."""
    with _opened(data) as document:
        for number in pages:
            page = document[number]
            scale = min(dpi / 72, MAX_PIXELS_A_SIDE / max(*page.get_size(), 1.0))
            bitmap = page.render(scale=scale, grayscale=True)
            rows = bitmap.to_numpy().reshape(bitmap.height, -1)[:, : bitmap.width]
            yield b"P5 %d %d 255\n" % (bitmap.width, bitmap.height) + rows.tobytes()
            page.close()


@contextmanager
def _opened(data: bytes) -> Iterator[pypdfium2.PdfDocument]:
    try:
        document = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        if error.err_code in (pdfium.FPDF_ERR_PASSWORD, pdfium.FPDF_ERR_SECURITY):
            raise Unextractable(ENCRYPTED) from error
        raise
    try:
        if len(document) > MAX_PAGES:
            raise Unextractable(f"more than {MAX_PAGES:,} pages in it")
        yield document
    finally:
        document.close()


@contextmanager
def _page(document: pypdfium2.PdfDocument, number: int) -> Iterator[pypdfium2.PdfPage | None]:
    """None for one that is broken: it costs itself and no other. What was filled in or typed upon it is made part of
    it, which pdfium else takes for no text."""
    page = _loaded(document, number)
    if (
        page
        and _is_filled(page)
        and pdfium.FPDFPage_Flatten(page, pdfium.FLAT_NORMALDISPLAY) == pdfium.FLATTEN_SUCCESS
    ):
        page.close()
        page = _loaded(document, number)
    try:
        yield page
    finally:
        if page:
            page.close()


def _loaded(document: pypdfium2.PdfDocument, number: int) -> pypdfium2.PdfPage | None:
    try:
        return document[number]
    except pypdfium2.PdfiumError:
        return None


def _is_filled(page: pypdfium2.PdfPage) -> bool:
    for index in range(min(pdfium.FPDFPage_GetAnnotCount(page), MAX_ANNOTATIONS)):
        annotation = pdfium.FPDFPage_GetAnnot(page, index)
        kind = pdfium.FPDFAnnot_GetSubtype(annotation)
        pdfium.FPDFPage_CloseAnnot(annotation)
        if kind in (pdfium.FPDF_ANNOT_WIDGET, pdfium.FPDF_ANNOT_FREETEXT):
            return True
    return False


@contextmanager
def _textpage(page: pypdfium2.PdfPage | None) -> Iterator[pypdfium2.PdfTextPage | None]:
    try:
        textpage = page.get_textpage() if page else None
    except pypdfium2.PdfiumError:
        textpage = None
    try:
        yield textpage
    finally:
        if textpage:
            textpage.close()


def _lines(page: pypdfium2.PdfPage | None) -> list[Line]:
    with _textpage(page) as textpage:
        return lines_of(textpage.raw) if textpage else []


def _plain_text(textpage: pypdfium2.PdfTextPage | None) -> str:
    """A hyphen that parts a word at the end of a line is U+FFFE in pdfium's text, and the line's end is left out."""
    return str(textpage.get_text_range()).replace("\ufffe", "").replace("\u00ad", "") if textpage else ""


def _is_scan(page: pypdfium2.PdfPage | None) -> bool:
    if page is None:
        return False
    width, height = page.get_size()
    covered = 0.0
    for item in islice(page.get_objects(filter=[pdfium.FPDF_PAGEOBJ_IMAGE], max_depth=2), MAX_OBJECTS):
        left, bottom, right, top = item.get_bounds()
        covered += (right - left) * (top - bottom)
    return bool(covered >= SCAN_AREA * width * height > 0)


def _outline(document: pypdfium2.PdfDocument) -> list[Outline]:
    found: list[Outline] = []
    for bookmark in islice(document.get_toc(max_depth=6), MAX_BOOKMARKS):
        target = bookmark.get_dest()
        number = target.get_index() if target else None
        if number is not None and (title := clean(bookmark.get_title()).strip()):
            found.append((number, bookmark.level + 1, title))
    return found


def _properties(document: pypdfium2.PdfDocument) -> dict[str, Any]:
    said = document.get_metadata_dict()
    return {
        "title": said.get("Title"),
        "subject": said.get("Subject"),
        "keywords": said.get("Keywords"),
        "authors": [author] if (author := said.get("Author")) else [],
        "created_by": said.get("Creator"),
        "created_at": _date(said.get("CreationDate")),
        "modified_at": _date(said.get("ModDate")),
        "page_count": len(document),
    }


def _date(value: str | None) -> str | None:
    """As ISO 8601; None for what is no date."""
    match = _DATE.match(value or "")
    if not match:
        return None
    year, month, day, hour, minute, second, zone, minutes = match.groups()
    moment = f"{year}-{month or '01'}-{day or '01'}T{hour or '00'}:{minute or '00'}:{second or '00'}"
    try:
        return datetime.fromisoformat(
            moment + (f"{zone}:{minutes or '00'}" if zone else "+00:00")
        ).isoformat()
    except ValueError:
        return None
