"""Decides: the type of a file, by its bytes, by its name, or by what the library sees in it."""

from __future__ import annotations

import mimetypes
from pathlib import PurePosixPath

from pgfolio.flows.extraction import mime, signatures
from pgfolio.flows.extraction.extracted import NothingToRead

DOCUMENTS, HTML, PDF, PPT, PPTX = mime.DOCUMENTS, mime.HTML, mime.PDF, mime.PPT, mime.PPTX
IMAGES = {
    "bmp": "image/bmp",
    "jpeg": "image/jpeg",
    "jpg": "image/jpeg",
    "png": "image/png",
    "tif": "image/tiff",
    "tiff": "image/tiff",
}
MARKDOWN = {"md": "text/markdown", "mdx": "text/markdown", "markdown": "text/markdown"}
TEXT = frozenset(  # may be in another encoding; under any other name only where it is mostly ASCII
    """
    bat bib c cc cfg conf cpp css diff env go h hpp ini java js json jsonl jsx kt log lua markdown md
    mdx patch php pl properties ps1 py r rb rs scala sh sql srt swift tex text toml ts tsx txt vtt xml
    yaml yml
    """.split()  # noqa: SIM905 - a hundred lines else
)
TYPES = mimetypes.MimeTypes()  # not the machine's own list, so that every machine says the same
TYPES.add_type("image/heic", ".heic")
TYPES.add_type("text/javascript", ".js")
TYPES.add_type("text/typescript", ".ts")
TYPES.add_type("text/typescript", ".tsx")
NO_TYPE = ("text/plain", "application/octet-stream")


def declared(path: str, data: bytes) -> tuple[str, str]:
    """Suffix, and the type of the file: what its bytes are, else what its suffix says; empty for what may be text."""
    suffix = PurePosixPath(path).suffix.lower().lstrip(".")
    named = DOCUMENTS.get(suffix) or IMAGES.get(suffix) or ""
    return suffix, signatures.type_of(data, named, is_text=suffix in TEXT or suffix in MARKDOWN)


def text_mime(suffix: str) -> str:
    guess = TYPES.guess_type(f"file.{suffix}")[0] or ""
    return guess if guess.startswith("text/") or guess == "application/json" else "text/plain"


def sniffed(path: str, data: bytes) -> str:
    """The type that the bytes of a binary file show, if it is one that we can read."""
    import kreuzberg  # noqa: PLC0415 - 0.1 s that a no-op sync must not pay

    guess = TYPES.guess_type(path)[0] or "application/octet-stream"
    try:
        detected = str(kreuzberg.detect_mime_type(data))
    except Exception:  # noqa: BLE001 - it says by an error that it does not know
        detected = guess
    if detected in DOCUMENTS.values() or detected in IMAGES.values():
        return detected
    raise NothingToRead(f"unsupported type {guess if detected in NO_TYPE else detected}")
