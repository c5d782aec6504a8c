"""Files that were made to harm whoever draws them cost their picture, and nothing else."""

from __future__ import annotations

import asyncio
import time
import zlib

import numpy as np
import pytest

from pgfolio.query_api.originals import drawing, pictures
from pgfolio.query_api.originals.pictures import NoSuchPageError, NotDrawnError, PageOrder, Pictures
from tests.flows.extraction.test_extract import pdf
from tests.query_api.originals.test_originals import picture


def page(box: str, content: bytes = b"", more: str = "") -> bytes:
    """A PDF of one page with this box."""
    packed = zlib.compress(content, 1)
    return (
        b"%PDF-1.4\n1 0 obj\n<< /Type /Catalog /Pages 2 0 R >>\nendobj\n"
        b"2 0 obj\n<< /Type /Pages /Kids [3 0 R] /Count 1 >>\nendobj\n3 0 obj\n"
        b"<< /Type /Page /Parent 2 0 R /MediaBox ["
        + box.encode()
        + b"] /Contents 4 0 R "
        + more.encode()
        + b" >>\nendobj\n4 0 obj\n<< /Filter /FlateDecode /Length "
        + str(len(packed)).encode()
        + b" >>\nstream\n"
        + packed
        + b"\nendstream\nendobj\ntrailer\n<< /Size 5 /Root 1 0 R >>\n"
    )


def draw(*files: bytes) -> list[bytes | None]:
    """The first page of each; None where there is no picture."""

    async def drawn() -> list[bytes | None]:
        made = Pictures()
        pngs: list[bytes | None] = []
        try:
            for data in files:
                try:
                    pngs.append((await made.draw(data, PageOrder(b"", 1, 1000, "", 0))).png)
                except (NotDrawnError, NoSuchPageError) as error:
                    pngs.append(None if str(error) else b"without a word")
        finally:
            made.close()
        return pngs

    return asyncio.run(drawn())


def test_a_page_of_any_size_makes_a_picture_of_a_bounded_one_or_none() -> None:
    boxes = (
        "0 0 1e9 1e9",
        "0 0 1e-9 1e-9",
        "0 0 1e30 1",
        "0 0 1 1e30",
        "0 0 0 0",
        "100 100 0 0",
        "nan inf 1 1",
        "x y",
    )
    for box, png in zip(boxes, draw(*map(page, boxes)), strict=True):
        if png is not None:
            columns, rows = (int.from_bytes(png[i : i + 4], "big") for i in (16, 20))
            assert columns * rows <= 4_100_000, box


def test_a_broken_file_is_not_drawn_or_as_far_as_it_can_be_read() -> None:
    broken = (b"", b"%PDF-1.4", b"no pdf", b"\x00" * 1000, pdf("a")[:200], page("0 0 9 9")[:-60])
    pngs = draw(*broken, pdf("a line"))
    assert pngs[:4] == [None] * 4
    assert all(png is None or png.startswith(b"\x89PNG") for png in pngs)
    assert pngs[-1] is not None


def run_one(data: bytes) -> None:
    async def drawn() -> None:
        made = Pictures()
        try:
            await made.draw(data, PageOrder(b"", 1, 1000, "", 0))
        finally:
            made.close()

    asyncio.run(drawn())


def test_a_page_that_takes_for_ever_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "TIMEOUT_SECONDS", 1.5)
    endless = b"q 0.5 0 0 0.5 0 0 cm 0 0 m 1 1 l S Q\n" * 3_000_000
    began = time.monotonic()
    with pytest.raises(NotDrawnError, match=r"within|memory"):
        run_one(page("0 0 500 500", endless))
    assert time.monotonic() - began < 10


def test_what_takes_too_much_memory_is_not_drawn_and_the_next_page_is() -> None:
    async def drawn() -> bytes:
        made = Pictures()
        bomb = page("0 0 500 500", b"\x00" * 600_000_000)
        try:
            with pytest.raises(NotDrawnError):
                await made.draw(bomb, PageOrder(b"", 1, 100, "", 0))
            return (await made.draw(pdf("a line"), PageOrder(b"", 1, 100, "", 0))).png
        finally:
            made.close()

    assert asyncio.run(drawn()).startswith(b"\x89PNG")


@pytest.mark.parametrize("turned", [0, 90, 180, 270])
@pytest.mark.parametrize("box", ["0 0 400 200", "-100 -50 400 200"])
def test_a_passage_is_marked_where_it_stands_however_the_page_is_cropped_and_turned(
    turned: int, box: str
) -> None:
    plain = pdf("The costs of the year 2022 were 1200 euros")
    assert b"/MediaBox [0 0 400 200]" in plain
    data = plain.replace(b"[0 0 400 200]", f"[{box}] /Rotate {turned}".encode())
    drawn = drawing.draw(data, 1, 500, "costs of the year", 0)
    pixels = picture(drawn.png).astype(int)
    marks = np.argwhere((pixels[:, :, 0] > 150) & (pixels[:, :, 2] < 140))
    dark = np.argwhere(pixels.sum(axis=2) < 200)
    across = int(turned % 180 == 0)  # along which the line runs
    assert drawn.is_marked
    assert dark[:, across].min() <= marks[:, across].min() < marks[:, across].max() < dark[:, across].max()
    assert abs(np.median(marks[:, 1 - across]) - np.median(dark[:, 1 - across])) < 12


def test_a_picture_is_drawn_once() -> None:
    async def drawn() -> None:
        made = Pictures()
        order = PageOrder(b"hash", 1, 100, "line", 0)
        try:
            assert made.drawn_before(order) is None
            first = await made.draw(pdf("a line"), order)
            assert made.drawn_before(order) is first
            for other in (
                order._replace(number=2),
                order._replace(passage="a"),
                order._replace(content_hash=b"h"),
            ):
                assert made.drawn_before(other) is None
        finally:
            made.close()

    asyncio.run(drawn())
