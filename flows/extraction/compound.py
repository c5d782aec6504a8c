"""A compound file (OLE2), in which the old binary office documents and mails stand: its streams and properties.

Its chains of sectors are followed by `olefile`; what a stream unpacks to is never more than the file itself.
"""

from __future__ import annotations

import codecs
import io
import struct
from typing import Any, Final

import olefile

from pgfolio.flows.extraction import summary_information
from pgfolio.flows.extraction.extracted import Unextractable

ENCRYPTED: Final = "encrypted file: remove the password"


class Compound:
    """Its streams by their names, which are told from each other without regard to case."""

    def __init__(self, data: bytes) -> None:
        """Raises OSError for what is no such file, and Unextractable for an encrypted package."""
        self._size = len(data)
        self._file: Any = olefile.OleFileIO(io.BytesIO(data))
        self._names: list[tuple[str, ...]] = []
        self._entries = self._listed()
        if "EncryptedPackage" in self:
            raise Unextractable(ENCRYPTED)

    def __contains__(self, name: str) -> bool:
        return (name.casefold(),) in self._entries

    def names(self) -> list[list[str]]:
        """The path of each stream."""
        return [list(path) for path in self._names]

    def stream(self, *path: str) -> bytes:
        """Empty where there is no such stream. Raises Unextractable for one that says it is larger than the file."""
        entry = self._entries.get(tuple(name.casefold() for name in path))
        if entry is None or entry.entry_type != olefile.STGTY_STREAM:
            return b""
        if entry.size > self._size:
            raise Unextractable(f"its stream {path[-1]} says that it is larger than the file")
        with self._file._open(entry.isectStart, entry.size) as stream:  # noqa: SLF001 - see _listed
            return bytes(stream.read())

    def _listed(self) -> dict[tuple[str, ...], Any]:
        """The library looks through all of a storage for each name: a mail to a thousand people took 14 s."""
        listed: dict[tuple[str, ...], Any] = {}
        names: dict[tuple[str, ...], tuple[str, ...]] = {(): ()}
        seen = set()
        waiting: list[tuple[tuple[str, ...], Any]] = [((), self._file.root)]
        while waiting:
            path, storage = waiting.pop()
            for entry in storage.kids:
                place = (*path, entry.name.casefold())
                if place not in listed and entry.sid not in seen:
                    seen.add(entry.sid)  # a broken file may hold a storage within itself
                    listed[place] = entry
                    names[place] = (*names[path], entry.name)
                    waiting.append((place, entry))
        self._names = [names[place] for place in listed if listed[place].entry_type == olefile.STGTY_STREAM]
        return listed

    def properties(self) -> dict[str, Any]:
        """What the document says of itself, by the names that the metadata of all documents has."""
        try:
            said, code_page = summary_information.read(self.stream("\x05SummaryInformation"))
        except (struct.error, Unextractable):  # broken properties cost only themselves
            return {}
        codec = codec_of(code_page)
        texts = (
            (name, value.decode(codec, "replace") if isinstance(value, bytes) else value)
            for name, value in said.items()
        )
        found: dict[str, Any] = {
            name: text for name, value in texts if (text := value.partition("\0")[0].strip())
        }
        return {**found, "authors": [found["created_by"]]} if "created_by" in found else found


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
