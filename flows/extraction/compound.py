"""A compound file (OLE2), in which the old binary office documents and mails stand: its streams and properties.

Its chains of sectors are followed by `olefile`; what a stream unpacks to is never more than the file itself.
"""

from __future__ import annotations

import codecs
import io
from datetime import datetime
from typing import Any, Final

import olefile

from pgfolio.flows.extraction.extracted import Unextractable

ENCRYPTED: Final = "encrypted file: remove the password"
PROPERTIES: Final = {
    "title": "title",
    "subject": "subject",
    "author": "created_by",
    "keywords": "keywords",
    "comments": "description",
    "last_saved_by": "modified_by",
    "category": "category",
    "create_time": "created_at",
    "last_saved_time": "modified_at",
}
"""The library's names, and those that the metadata of all documents has."""


class Compound:
    """Its streams by their names, which are told from each other without regard to case."""

    def __init__(self, data: bytes) -> None:
        """Raises OSError for what is no such file, and Unextractable for an encrypted package."""
        self._size = len(data)
        self._file: Any = olefile.OleFileIO(io.BytesIO(data))
        if self._file.exists("EncryptedPackage"):
            raise Unextractable(ENCRYPTED)

    def __contains__(self, name: str) -> bool:
        return bool(self._file.exists(name))

    def names(self) -> list[list[str]]:
        """The path of each stream."""
        return [list(path) for path in self._file.listdir()]

    def stream(self, *path: str) -> bytes:
        """Empty where there is no such stream, or where its chain is broken at its start."""
        name = list(path)
        if not self._file.exists(name) or self._file.get_type(name) != olefile.STGTY_STREAM:
            return b""
        if self._file.get_size(name) > self._size:
            raise Unextractable(f"its stream {path[-1]} says that it is larger than the file")
        with self._file.openstream(name) as stream:
            return bytes(stream.read())

    def properties(self) -> dict[str, Any]:
        """What the document says of itself, by the names that the metadata of all documents has."""
        try:
            said = self._file.get_metadata()
        except Exception:  # noqa: BLE001 - of broken properties the library raises what it happens to meet
            return {}
        code_page = _codec(said.codepage)
        found = {}
        for theirs, ours in PROPERTIES.items():
            value = getattr(said, theirs)
            if isinstance(value, bytes):
                value = value.decode(code_page, "replace").partition("\0")[0].strip()
            elif isinstance(value, datetime):
                value = value.isoformat() if value.year > 1601 else ""
            if value and isinstance(value, str):
                found[ours] = value
        if "created_by" in found:
            return {**found, "authors": [found["created_by"]]}
        return found


def _codec(code_page: Any) -> str:
    """Of the strings in properties; a number below zero is one of 16 bits that the library took for a signed one."""
    number = int(code_page) % 65536 if isinstance(code_page, int) else 1252
    return codec_of(number)


def codec_of(code_page: int, otherwise: str = "cp1252") -> str:
    """Python's codec for a code page of Windows."""
    name = CODE_PAGES.get(code_page) or f"cp{code_page}"
    try:
        return codecs.lookup(name).name
    except LookupError:
        return otherwise


CODE_PAGES: Final = {
    936: "gb18030", 1200: "utf-16-le", 10000: "mac_roman", 10001: "shift_jis", 10006: "mac_greek",
    10007: "mac_cyrillic", 10029: "mac_latin2", 10081: "mac_turkish", 20127: "cp1252", 20866: "koi8_r",
    21866: "koi8_u", 28591: "cp1252", 28592: "iso8859_2", 28595: "iso8859_5", 28597: "iso8859_7",
    28599: "iso8859_9", 28605: "iso8859_15", 50220: "iso2022_jp", 50221: "iso2022_jp", 50222: "iso2022_jp",
    51932: "euc_jp", 51949: "euc_kr", 52936: "hz", 54936: "gb18030", 65001: "utf-8",
}  # fmt: skip
