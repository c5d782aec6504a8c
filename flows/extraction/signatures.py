"""Decides: the type of a file by its bytes, whatever its name says. Pure.

A `.xls` that is a page, a `.doc` that is RTF are what programs export every day.
"""

from __future__ import annotations

import io
import re
import zipfile
from typing import Final

from pgfolio.flows.extraction import mime

ZIP, COMPOUND = b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
MARKS: Final = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
PARTS: Final = {
    "word/document.xml": mime.DOCX,
    "ppt/presentation.xml": mime.PPTX,
    "xl/workbook.xml": mime.XLSX,
    "xl/workbook.bin": mime.XLSB,
    "META-INF/container.xml": mime.EPUB,
}
STREAMS: Final = {
    "WordDocument": mime.DOC,
    "Workbook": mime.XLS,
    "Book": mime.XLS,
    "PowerPoint Document": mime.PPT,
    "__properties_version1.0": mime.MSG,
}
_PAGE: Final = re.compile(
    rb"\s*(?:<\?xml[^>]*>\s*|<!--.*?-->\s*)*<(?:!doctype\s+html|html|head|body|table|meta|div|style|title|p|h[1-6])\b",
    re.IGNORECASE | re.DOTALL,
)
_SHEET: Final = re.compile(rb"\s*<\?xml.{0,400}?(?:Excel\.Sheet|<(?:\w+:)?Workbook\b)", re.DOTALL)
_NAMES: Final = (
    rb"From|To|Date|Subject|Received|Return-Path|Delivered-To|Message-ID|MIME-Version|Content-Type|X-[\w-]+"
)
_HEADER: Final = re.compile(rb"(?:(?:" + _NAMES + rb"):[^\n]*\n(?:[ \t][^\n]*\n)*){2}", re.IGNORECASE)
_MAILBOX: Final = re.compile(rb"From \S[^\n]{0,200}\d\d:\d\d(?::\d\d)?[^\n]*\n[\w-]+:")
_SAVED_PAGE: Final = re.compile(rb"^Content-Type:\s*multipart/related", re.IGNORECASE | re.MULTILINE)
HEAD_BYTES: Final = 4096


def type_of(data: bytes, named: str, *, is_text: bool) -> str:
    """`named`: the type that the suffix says, `is_text`: whether it is one of texts. Empty for what may be text."""
    if data.startswith(b"%PDF-"):
        return mime.PDF
    if data.startswith(ZIP):
        return _in_zip(data) or named
    if data.startswith(COMPOUND):
        return _in_compound(data, named)
    if data.startswith(b"{\\rtf") and not is_text:
        return mime.RTF
    if named in mime.OFFICE_FILES:
        return _exported(data, named)
    if not named and not is_text and _MAILBOX.match(data[:HEAD_BYTES]):
        return mime.MBOX
    return named


def _in_zip(data: bytes) -> str:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as file:
            names = set(file.namelist())
            stated = (
                file.read("mimetype")[:200] if "mimetype" in names and _is_small(file, "mimetype") else b""
            )
    except (zipfile.BadZipFile, ValueError, NotImplementedError, RuntimeError, OSError, EOFError, KeyError):
        return ""
    kind = stated.decode("ascii", "replace").strip().removesuffix("-template")
    if kind in (mime.ODT, mime.ODS, mime.ODP, mime.ODG, mime.EPUB):
        return kind
    folded = {name.lower() for name in names}
    return next((kind for part, kind in PARTS.items() if part.lower() in folded), "")


def _is_small(file: zipfile.ZipFile, name: str) -> bool:
    return file.getinfo(name).file_size < HEAD_BYTES


def _in_compound(data: bytes, named: str) -> str:
    """Of the streams that are named in it the one that the suffix speaks of, or the first: what is embedded in a
    document has its own."""
    places = {
        kind: place
        for name, kind in STREAMS.items()
        if (place := data.find(f"{name}\0".encode("utf-16-le"))) >= 0
    }
    if named in places or not places:
        return named
    return min(places, key=places.__getitem__)


def _exported(data: bytes, named: str) -> str:
    """What programs write as text under the suffix of an office document."""
    head = data[:HEAD_BYTES]
    for mark in MARKS:
        head = head.removeprefix(mark)
    if b"\0" in head:
        head = head.replace(b"\0", b"")
    if _SHEET.match(head):
        return mime.XML_SHEET
    if _PAGE.match(head):
        return mime.HTML
    if _HEADER.match(head):
        return mime.MHTML if _SAVED_PAGE.search(head) else mime.EML
    if named == mime.RTF or not head.strip() or _has_controls(head):
        return named
    lines = [line for line in head.split(b"\n")[:20] if line.strip()]
    if all(b"\t" in line for line in lines):
        return mime.TSV
    if named in (mime.XLS, mime.XLSX, mime.ODS, mime.XLSB) and any(
        all(mark in line for line in lines) for mark in (b",", b";", b"|")
    ):
        return mime.CSV
    return mime.TXT if named in (mime.DOC, mime.XLS) else named


def _has_controls(head: bytes) -> bool:
    return any(byte < 32 and byte not in b"\t\n\r\f\x1b" for byte in head)
