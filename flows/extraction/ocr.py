"""Text in images, by the tesseract command where it is installed."""

from __future__ import annotations

import shutil
import subprocess
import tempfile

from pgfolio.flows.extraction.decode import clean
from pgfolio.flows.extraction.extracted import Extracted, NothingToRead, Unextractable, one_line


def installed() -> bool:
    return shutil.which("tesseract") is not None


def image(mime: str, data: bytes) -> Extracted:
    if not installed():
        raise NothingToRead("image: needs Tesseract for OCR, which is not installed", transient=True)
    if text := _text_in(data):
        return Extracted(text + "\n", None, mime, {"ocr": "tesseract"})
    raise NothingToRead("image: Tesseract found no text in it")


def scanned(data: bytes) -> list[str]:
    """The text of each page of a PDF without text, by the tesseract command if it is installed."""
    if not installed():
        return []
    from kreuzberg import PdfPageIterator  # noqa: PLC0415 - see _parse

    with tempfile.NamedTemporaryFile(suffix=".pdf") as file:
        file.write(data)
        file.flush()
        return [_text_in(image) for _, image in PdfPageIterator(file.name, dpi=200)]


def _text_in(image: bytes) -> str:
    """By the command: the library's own Tesseract looks for its languages in a folder of its builder's."""
    done = subprocess.run(["tesseract", "-", "-"], input=image, capture_output=True, timeout=300, check=False)
    if done.returncode:
        raise Unextractable(f"Tesseract failed: {one_line(done.stderr.decode('utf-8', 'replace'))}")
    return clean(done.stdout.decode("utf-8", "replace")).replace("\f", "").strip()
