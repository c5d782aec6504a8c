"""Images and scans read by rapidocr, where it is installed (`pgfolio[ocr]`): in the process that reads files, within
its memory."""

from __future__ import annotations

import io
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pgfolio.flows.extraction import ocr
from pgfolio.flows.extraction.extract import extract
from pgfolio.flows.extraction.worker import Workers

if TYPE_CHECKING:
    from collections.abc import Iterator

FONT = Path("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf")
PAGES = {
    "en": ["Invoice 2026-0417 for the Harbour Office", "Total due: EUR 1,284.50 (19% VAT incl.)"],
    "de": ["Größe, Straße, Café: Überprüfung der Schlüssel", "Die Rechnung ist bis zum 14. März fällig"],
    "fr": ["Où êtes-vous allés pendant l'été à la mer", "Le garçon a reçu une leçon de français"],
    "es": ["Dónde está el niño que vino el año pasado", "La próxima reunión será mañana"],
    "pl": ["Zażółć gęślą jaźń, łódź i źdźbło", "Proszę zapłacić do końca miesiąca"],
}

pytestmark = pytest.mark.skipif(
    ocr.engine() != "rapidocr" or not FONT.exists(), reason="needs pgfolio[ocr] and a font to draw with"
)


def picture(lines: list[str]) -> Any:
    from PIL import Image, ImageDraw, ImageFont

    image = Image.new("RGB", (1240, 420), "white")
    draw = ImageDraw.Draw(image)
    for number, line in enumerate(lines):
        draw.text((60, 50 + number * 80), line, fill="black", font=ImageFont.truetype(FONT, 28))
    return image


def file_of(image: Any, form: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


@pytest.fixture
def workers() -> Iterator[Workers]:
    workers = Workers(120, 1)
    yield workers
    workers.stop()


@pytest.mark.long
def test_twenty_pages_in_five_languages(workers: Workers) -> None:
    """As PNG, JPEG, TIFF and BMP."""
    words = hits = 0
    took = []
    for lines in PAGES.values():
        for form in ("PNG", "JPEG", "TIFF", "BMP"):
            data = file_of(picture(lines), form)
            began = time.monotonic()
            made = workers.run(extract, f"page.{form.lower()}", data, size=len(data))
            took.append(time.monotonic() - began)
            assert made.metadata["ocr"] == "rapidocr"
            expected = " ".join(lines).split()
            words += len(expected)
            found = made.text.split()
            hits += sum(word in found for word in expected)
    print(f"\n{hits} of {words} words, {sorted(took)[10]:.2f} s a page (median), {max(took):.2f} the first")
    assert hits >= 0.97 * words


def test_a_scanned_pdf_is_read_and_marked(workers: Workers) -> None:
    data = file_of(
        picture(PAGES["de"]), "PDF", append_images=[picture(PAGES["en"])], save_all=True, resolution=150
    )
    made = workers.run(extract, "scan.pdf", data, size=len(data))
    assert "Überprüfung der Schlüssel" in made.text
    assert "Harbour Office" in made.text[made.pages[1] :]
    assert (made.metadata["ocr"], made.metadata["ocr_pages"]) == ("rapidocr", [1, 2])


def test_what_stands_on_one_line_is_one_row() -> None:
    lines = ["Depot          Sheds          Tonnes", "Harbour       12               340"]
    text = extract("table.png", file_of(picture(lines), "PNG")).text
    assert [line.split()[0] for line in text.splitlines()] == ["Depot", "Harbour"]


def test_an_image_without_text_and_one_that_is_broken_are_said() -> None:
    from pgfolio.flows.extraction.extracted import Unextractable

    with pytest.raises(Unextractable, match="rapidocr found no text in it"):
        extract("empty.png", file_of(picture([]), "PNG"))
    with pytest.raises(Unextractable, match="cannot be read"):
        extract("broken.png", file_of(picture(PAGES["en"]), "PNG")[:300])
