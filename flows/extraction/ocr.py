"""Text in images: by rapidocr, which has its models in its wheel, or else by the tesseract command."""

from __future__ import annotations

import shutil
import subprocess
import time
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, Literal

from pgfolio.flows.extraction.decode import clean
from pgfolio.flows.extraction.extracted import Extracted, NothingToRead, Unextractable, one_line

if TYPE_CHECKING:
    from collections.abc import Iterable

RAPIDOCR_BYTES: Final = 640 * 1024 * 1024
"""What its models and a page take in memory, measured; beside what reading a file may take anyway."""
OPTIONS: Final = {
    "EngineConfig.onnxruntime.enable_cpu_mem_arena": False,
    "EngineConfig.onnxruntime.intra_op_num_threads": 1,
    "EngineConfig.onnxruntime.inter_op_num_threads": 1,
    "Global.log_level": "error",
    "Global.use_cls": False,
    "Det.unclip_ratio": 2.8,
}
"""One thread: there are as many processes as cores. Lines that stand on their heads are not looked for. With the
default margin of 1.6 around a line a fifth of the words of larger letters lost the space between them; with 2.8, of
68 words in five languages at four sizes, none or one."""
SECONDS: Final = 120.0
"""For the pages of one file: a parser may take 300 (crawl.extract_timeout)."""
NEEDED: Final = "OCR: pip install 'pgfolio[ocr]', or install Tesseract"


def engine() -> Literal["rapidocr", "tesseract"] | None:
    """What reads images here."""
    if find_spec("rapidocr") is not None:
        return "rapidocr"
    return "tesseract" if shutil.which("tesseract") else None


def memory_bytes() -> int:
    """What reading an image may take in the process itself; Tesseract is one of its own."""
    return RAPIDOCR_BYTES if engine() == "rapidocr" else 0


def image(mime: str, data: bytes) -> Extracted:
    name = engine()
    if name is None:
        raise NothingToRead(f"image: needs {NEEDED}", transient=True)
    if text := _text_in(data):
        return Extracted(text + "\n", None, mime, {"ocr": name})
    raise NothingToRead(f"image: {name} found no text in it")


def scanned(pictures: Iterable[bytes]) -> list[str]:
    """The text of each of these pages, one after the other until SECONDS are over."""
    ends = time.monotonic() + SECONDS
    texts: list[str] = []
    for picture in pictures:
        texts.append(_text_in(picture))
        if time.monotonic() > ends:
            break
    return texts


def _text_in(image: bytes) -> str:
    return clean(_by_rapidocr(image) if engine() == "rapidocr" else _by_tesseract(image)).strip()


def _by_tesseract(image: bytes) -> str:
    """By the command: the library's own Tesseract looks for its languages in a folder of its builder's."""
    done = subprocess.run(["tesseract", "-", "-"], input=image, capture_output=True, timeout=300, check=False)
    if done.returncode:
        raise Unextractable(f"Tesseract failed: {one_line(done.stderr.decode('utf-8', 'replace'))}")
    return done.stdout.decode("utf-8", "replace").replace("\f", "")


def _by_rapidocr(image: bytes) -> str:
    try:
        found = _rapidocr()(image)
    except (MemoryError, KeyboardInterrupt, SystemExit):
        raise
    except Exception as error:  # an image that is none, or a broken one
        raise Unextractable(
            f"the image cannot be read: {one_line(str(error)) or type(error).__name__}"
        ) from error
    if found.boxes is None:
        return ""
    return "\n".join(" ".join(row) for row in _rows(found.boxes, found.txts))


@cache
def _rapidocr() -> Any:
    """Loaded once in a process: it takes a second."""
    from rapidocr import RapidOCR  # noqa: PLC0415 -- an extra

    return RapidOCR(params=OPTIONS)


def _rows(boxes: Any, texts: Iterable[str]) -> list[list[str]]:
    """Pieces of text whose middles are on one line stand in one row, from left to right."""
    pieces = sorted(
        (float(box[:, 1].mean()), float(box[:, 0].min()), float(box[:, 1].max() - box[:, 1].min()), text)
        for box, text in zip(boxes, texts, strict=True)
    )
    rows: list[list[tuple[float, str]]] = []
    last = 0.0
    for middle, left, height, text in pieces:
        if rows and middle - last < height / 2:
            rows[-1].append((left, text))
        else:
            rows.append([(left, text)])
            last = middle
    return [[text for _, text in sorted(row)] for row in rows]
