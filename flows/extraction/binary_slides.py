"""Slides of the old binary format (PPT): shapes, speaker notes, comments, and footers once ([MS-PPT]).

A file that was saved often holds slides as they were before: what is now is told by its directory of objects.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, NamedTuple

from pgfolio.flows.extraction.compound import ENCRYPTED, Compound
from pgfolio.flows.extraction.extracted import Unextractable
from pgfolio.flows.extraction.pages import joined
from pgfolio.flows.extraction.reading import Reading
from pgfolio.flows.extraction.writing import Writer

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCUMENT, SLIDE, NOTES, NOTES_ATOM, PERSIST, SLIDE_LIST = 1000, 1006, 1008, 1009, 1011, 4080
OUTLINE_REFERENCE, TEXT_HEADER, WIDE_TEXT, TEXT, STRING = 3998, 3999, 4000, 4008, 4026
FOOTERS, EDIT, DIRECTORY, TAG_DATA, COMMENT, TEXT_BOX = 4057, 4085, 6002, 5003, 12000, 0xF00D
TITLES: Final = frozenset({0, 6})
SLIDES, NOTES_LIST = 0, 2
"""Which list it is."""

ENCRYPTED_TOKEN: Final = 0xF3D1C4DF
MAX_LEVEL: Final = 64


class Record(NamedTuple):
    """`start` and `end`: of what it holds. `level`: of the records around it, from 0."""

    kind: int
    instance: int
    start: int
    end: int
    level: int


def read(data: bytes) -> Reading:
    """Raises Unextractable for slides with a password, and OSError for what is no compound file."""
    compound = Compound(data)
    folder = ["PP97_DUALSTORAGE"] if "PP97_DUALSTORAGE" in compound else []  # beside slides of PowerPoint 95
    user = compound.stream(*folder, "Current User")
    if "EncryptedSummary" in compound or _number(user, 12) == ENCRYPTED_TOKEN:
        raise Unextractable(ENCRYPTED)
    show = _Show(compound.stream(*folder, "PowerPoint Document"), _number(user, 16))
    text, pages = joined(list(show.slides()))
    return Reading(text, compound.properties(), pages)


def _number(data: bytes, place: int) -> int:
    return int.from_bytes(data[place : place + 4], "little") if place + 4 <= len(data) else 0


class _Show:
    def __init__(self, data: bytes, last_edit: int) -> None:
        self._data = data
        self._places: dict[int, int] = {}
        self._document = self._directory(last_edit)
        self._margins: set[str] = set()

    def slides(self) -> Iterator[str]:
        """Each slide's text with its notes. What of the document stands on every slide is on the first."""
        document = self._at(self._places.get(self._document, -1), DOCUMENT) or next(
            (item for item in self._records(0, len(self._data), 0) if item.kind == DOCUMENT), None
        )
        if document is None:
            return
        outlines, notes = self._lists(document)
        for number, (place, key, outline) in enumerate(outlines):
            out = Writer()
            if (slide := self._at(place, SLIDE)) is not None:
                self._shapes(slide, outline, out)
            if key in notes:
                self._shapes(notes.pop(key), [], out)
            if not number:
                self._footers(document, out)
            yield out.text()

    def _directory(self, edit: int) -> int:
        """Fills where each object is, the last edit first, and then what a broken chain of edits does not reach;
        returns the document's number."""
        document = 0
        seen: set[int] = set()
        while edit not in seen and (record := self._at(edit, EDIT)) is not None:
            seen.add(edit)
            document = document or _number(self._data, record.start + 16)
            directory = self._at(_number(self._data, record.start + 12), DIRECTORY)
            if directory is not None:
                self._entries(directory)
            edit = _number(self._data, record.start + 8)
        everything = self._records(0, len(self._data), 0)
        for record in reversed([item for item in everything if item.kind == DIRECTORY]):
            self._entries(record)
        return document

    def _entries(self, directory: Record) -> None:
        place = directory.start
        while place + 4 <= directory.end:
            head = _number(self._data, place)
            count = min(head >> 20, (directory.end - place) // 4 - 1)
            for step in range(count):
                self._places.setdefault((head & 0xFFFFF) + step, _number(self._data, place + 4 + 4 * step))
            place += 4 + 4 * max(count, 0)

    def _at(self, place: int, kind: int) -> Record | None:
        record = next(self._records(place, len(self._data), 0), None) if place >= 0 else None
        return record if record is not None and record.kind == kind else None

    def _records(self, start: int, end: int, level: int) -> Iterator[Record]:
        """All within, each before those that it holds."""
        ends = [end]
        while ends:
            if start + 8 > ends[-1]:
                start = ends.pop()
                continue
            head, kind, size = struct.unpack_from("<HHI", self._data, start)
            inner_end = min(start + 8 + size, ends[-1])
            yield Record(kind, head >> 4, start + 8, inner_end, level + len(ends) - 1)
            if (head & 15 == 15 or kind == TAG_DATA) and len(ends) < MAX_LEVEL:
                ends.append(inner_end)
                start += 8
            else:
                start = inner_end

    def _inside(self, record: Record) -> Iterator[Record]:
        return self._records(record.start, record.end, record.level + 1)

    def _lists(
        self, document: Record
    ) -> tuple[list[tuple[int, int, list[tuple[int, str]]]], dict[int, Record]]:
        """Of each slide its place, its key and its outline; the notes by the keys of their slides."""
        outlines: list[tuple[int, int, list[tuple[int, str]]]] = []
        notes: dict[int, Record] = {}
        which, style = -1, 0
        for item in self._inside(document):
            if item.kind == SLIDE_LIST:
                which = item.instance
            elif item.kind == PERSIST:
                place = self._places.get(_number(self._data, item.start), -1)
                if which == SLIDES:
                    outlines.append((place, _number(self._data, item.start + 12), []))
                elif which == NOTES_LIST and (found := self._at(place, NOTES)) is not None:
                    atoms = (atom for atom in self._inside(found) if atom.kind == NOTES_ATOM)
                    if (atom := next(atoms, None)) is not None:
                        notes[_number(self._data, atom.start)] = found
            elif which == SLIDES and outlines and item.kind == TEXT_HEADER:
                style = _number(self._data, item.start)
                outlines[-1][2].append((style, ""))
            elif which == SLIDES and outlines and outlines[-1][2] and item.kind in (WIDE_TEXT, TEXT):
                outlines[-1][2][-1] = (style, self._text(item))
        return outlines, notes

    def _text(self, item: Record) -> str:
        data = self._data[item.start : item.end]
        text = data.decode("latin-1" if item.kind == TEXT else "utf-16-le", "replace")
        return text.replace("\v", "\n")

    def _shapes(self, slide: Record, outline: list[tuple[int, str]], out: Writer) -> None:
        style, box_end, comment_end = -1, -1, -1
        for item in self._inside(slide):
            if item.kind == TEXT_BOX:
                style, box_end = -1, item.end
            elif item.kind == TEXT_HEADER:
                style = _number(self._data, item.start)
            elif item.kind in (WIDE_TEXT, TEXT) and item.start < box_end:
                self._write(style, self._text(item), out)
            elif item.kind == OUTLINE_REFERENCE and item.start < box_end:
                index = _number(self._data, item.start)
                if index < len(outline):
                    self._write(*outline[index], out)
            elif item.kind == COMMENT:
                comment_end = item.end
            elif item.kind == STRING and item.instance == 1 and item.start < comment_end:
                said = self._string(item)
                out.paragraph(f"Comment: {said}" if said else "")
        self._footers(slide, out)

    @staticmethod
    def _write(style: int, text: str, out: Writer) -> None:
        if text.strip() == "*":  # where the number of the slide, the day or the footer is put
            return
        if style in TITLES:
            out.heading(2, text)
            return
        for line in text.split("\r"):
            out.paragraph(line)

    def _footers(self, record: Record, out: Writer) -> None:
        end = -1
        for item in self._inside(record):
            if item.kind == FOOTERS:
                end = item.end
            elif (
                item.kind == STRING and item.start < end and (text := self._string(item)) not in self._margins
            ):
                self._margins.add(text)
                out.paragraph(text)

    def _string(self, item: Record) -> str:
        return " ".join(self._data[item.start : item.end].decode("utf-16-le", "replace").split())
