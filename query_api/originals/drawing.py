"""Draws a page of a PDF with a passage marked. Called in a process of its own: the file was written by others."""

from __future__ import annotations

import ctypes
import math
import struct
import zlib
from typing import Any, Final, NamedTuple

import numpy as np
import pypdfium2
import pypdfium2.raw as pdfium

from pgfolio.query_api.originals.passage import PageText, locate

MAX_PIXELS: Final = 4_000_000
"""However long a page is beside its width."""

MAX_CHARACTERS: Final = 200_000
"""Of a page, in which a passage is looked for."""

MARK: Final = np.array([255, 236, 130], dtype=np.uint16)
EDGE: Final = np.array([196, 120, 0], dtype=np.uint8)
PADDING: Final = 2
"""Pixels around what is marked."""


class UndrawableError(Exception):
    """The page cannot be drawn; the message says why. `is_missing`: there is no such page."""

    def __init__(self, message: str, *, is_missing: bool = False) -> None:
        super().__init__(message, is_missing)
        self.is_missing = is_missing


class Drawn(NamedTuple):
    png: bytes
    is_marked: bool


class Box(NamedTuple):
    """In pixels from the top left."""

    left: int
    top: int
    right: int
    bottom: int


def draw(data: bytes, number: int, width: int, passage: str, occurrence: int) -> Drawn:
    """Page `number`, from 1; of a passage that stands there several times that which so many stand before. Raises
    UndrawableError."""
    try:
        document = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        locked = error.err_code in (pdfium.FPDF_ERR_PASSWORD, pdfium.FPDF_ERR_SECURITY)
        raise UndrawableError(
            "the file is encrypted" if locked else "the file is no PDF that can be read"
        ) from error
    try:
        if not 1 <= number <= len(document):
            raise UndrawableError(f"there is no page {number}: it has {len(document)}", is_missing=True)
        try:
            page = document[number - 1]
        except pypdfium2.PdfiumError as error:
            raise UndrawableError("the page is broken") from error
        return _drawn(page, width, passage, occurrence)
    finally:
        document.close()


def _drawn(page: pypdfium2.PdfPage, width: int, passage: str, occurrence: int) -> Drawn:
    size = page.get_size()
    if not all(math.isfinite(side) and side > 0 for side in size):
        raise UndrawableError("the page has no size")
    columns, rows = _pixels(size[0], size[1], width)
    bitmap = pypdfium2.PdfBitmap.new_native(columns, rows, pdfium.FPDFBitmap_BGRx)
    bitmap.fill_rect((255, 255, 255, 255), 0, 0, columns, rows)
    pdfium.FPDF_RenderPageBitmap(bitmap, page, 0, 0, columns, rows, 0, pdfium.FPDF_ANNOT)
    picture = bitmap.to_numpy()[:, :columns, 2::-1].copy()
    boxes = _boxes(page, columns, rows, passage, occurrence) if passage else []
    for box in boxes:
        _mark(picture, box)
    return Drawn(_png(picture), bool(boxes))


def _pixels(width: float, height: float, columns: int) -> tuple[int, int]:
    """Of the picture, as wide as is asked for, or less where it would be too large."""
    ratio = min(max(height / width, 1e-4), 1e4)
    columns = min(columns, int(math.sqrt(MAX_PIXELS / ratio)))
    return max(columns, 1), min(max(round(columns * ratio), 1), MAX_PIXELS)


def _boxes(page: pypdfium2.PdfPage, columns: int, rows: int, passage: str, occurrence: int) -> list[Box]:
    """One for each line of the passage; none where it does not stand on the page."""
    try:
        textpage = page.get_textpage()
    except pypdfium2.PdfiumError:
        return []
    count = min(textpage.count_chars(), MAX_CHARACTERS)
    text = PageText.of(chr(pdfium.FPDFText_GetUnicode(textpage, i) & 0x1FFFFF or 32) for i in range(count))
    boxes: list[Box] = []
    for index in locate(text, passage, occurrence):
        box = _box_of(page, textpage, index, columns, rows)
        if box is None:
            continue
        if boxes and _same_line(boxes[-1], box):
            last = boxes[-1]
            boxes[-1] = Box(
                min(last.left, box.left),
                min(last.top, box.top),
                max(last.right, box.right),
                max(last.bottom, box.bottom),
            )
        else:
            boxes.append(box)
    return boxes


def _box_of(page: Any, textpage: pypdfium2.PdfTextPage, index: int, columns: int, rows: int) -> Box | None:
    left, bottom, right, top = textpage.get_charbox(index)
    if not all(math.isfinite(edge) for edge in (left, bottom, right, top)):
        return None
    corners = [_pixel(page, columns, rows, x, y) for x, y in ((left, bottom), (right, top))]
    across, down = sorted(x for x, _ in corners), sorted(y for _, y in corners)
    box = Box(max(across[0], 0), max(down[0], 0), min(across[1], columns), min(down[1], rows))
    return box if box.left < box.right and box.top < box.bottom else None


def _pixel(page: Any, columns: int, rows: int, x: float, y: float) -> tuple[int, int]:
    """Where a point of the page is in its picture, however the page is cropped and turned."""
    across, down = ctypes.c_int(), ctypes.c_int()
    pdfium.FPDF_PageToDevice(page, 0, 0, columns, rows, 0, x, y, across, down)
    return across.value, down.value


def _same_line(last: Box, box: Box) -> bool:
    height = min(last.bottom - last.top, box.bottom - box.top)
    overlap = min(last.bottom, box.bottom) - max(last.top, box.top)
    return (
        overlap > height / 2 and box.left - last.right < 4 * max(height, 8) and box.left >= last.left - height
    )


def _mark(picture: Any, box: Box) -> None:
    """As a pen does it, with an edge."""
    top, left = max(box.top - PADDING, 0), max(box.left - PADDING, 0)
    part = picture[top : box.bottom + PADDING, left : box.right + PADDING]
    part[:] = part.astype(np.uint16) * MARK // 255
    part[[0, -1], :] = EDGE
    part[:, [0, -1]] = EDGE


def _png(picture: Any) -> bytes:
    """Portable Network Graphics (RFC 2083): 8 bits, RGB, each row as its difference from the one above."""
    rows, columns, _ = picture.shape
    flat = picture.reshape(rows, columns * 3)
    above = np.vstack([np.zeros((1, columns * 3), np.uint8), flat[:-1]])
    filtered = np.hstack([np.full((rows, 1), 2, np.uint8), flat - above])
    head = struct.pack(">IIBBBBB", columns, rows, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(filtered.tobytes(), 6)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )
