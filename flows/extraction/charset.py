"""Decides: bytes and the charset that they are said to have in, text out, as browsers and mail programs take it."""

from __future__ import annotations

import codecs
import re

import webencodings

from pgfolio.flows.extraction.decode import clean

MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
WESTERN = "cp1252"
ASCII = ("ascii", "us-ascii")
"""What programs say that have not looked at the text."""

_META = re.compile(rb"""<meta\b[^>]{0,1000}?charset\s*=\s*["']?\s*([\w.:-]+)""", re.IGNORECASE)
_XML = re.compile(rb"""<\?xml\b[^>]{0,200}?encoding\s*=\s*["']([\w.:-]+)""", re.IGNORECASE)
_COMMENT = re.compile(rb"<!--.*?(-->|\Z)", re.DOTALL)


def codec_of(label: str) -> str | None:
    """The name of Python's codec. A web page that says iso-8859-1 is in windows-1252, one that says gb2312 in
    gb18030, as the Encoding Standard has it; charsets that it does not know are Python's."""
    if (encoding := webencodings.lookup(label)) is not None:
        return encoding.codec_info.name if encoding.name != "x-user-defined" else None
    try:
        return codecs.lookup(label).name if codecs.lookup(label)._is_text_encoding else None  # noqa: SLF001
    except (LookupError, ValueError):
        return None


def text_of(data: bytes, label: str | None) -> str:
    """In the charset of that name, if it has one. Without one, or where it cannot be right: UTF-8 if it is that, else
    Windows-1252."""
    for mark, marked in MARKS:
        if data.startswith(mark):
            return clean(data[len(mark) :].decode(marked, "replace"))
    codec = (codec_of(label) if label and label.lower() not in ASCII else None) or ""
    if not codec:
        codec = "utf-8" if _is_utf8(data) else WESTERN
    if codec == WESTERN:
        return clean(_western(data))
    if codec == "utf-8" and not _is_utf8(data) and _mostly_invalid(data):
        return clean(_western(data))
    return clean(data.decode(codec, "replace"))


def page(data: bytes) -> str:
    """HTML as browsers take it: what its first bytes declare; a declaration of UTF-16 that can be read is none."""
    head = _COMMENT.sub(b"", data[:4096])
    declared = _META.search(head) or _XML.search(head)
    label = declared[1].decode("ascii", "replace") if declared else None
    if label and label.lower().startswith(("utf-16", "ucs-2", "unicode")):
        label = "utf-8"
    elif b"\0" in data[:64] and not declared:
        label = "utf-16-le" if data[1:2] == b"\0" else "utf-16-be"
    return text_of(data, label)


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _mostly_invalid(data: bytes) -> bool:
    """Whether none of what is beyond ASCII is UTF-8."""
    text = data.decode("utf-8", "replace")
    return not any(sign > "\x7f" and sign != "\ufffd" for sign in text)


def _western(data: bytes) -> str:
    """With the five bytes that Windows-1252 leaves open as the control characters that they are on the web."""
    try:
        return data.decode(WESTERN)
    except UnicodeDecodeError:
        return "".join(chr(byte) if byte in OPEN else bytes([byte]).decode(WESTERN) for byte in data)


OPEN = frozenset(b"\x81\x8d\x8f\x90\x9d")
