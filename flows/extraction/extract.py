"""Decides: the bytes of a file in, its text with title, dates, pages and metadata out.

Text formats are taken verbatim, so that a quote is really in the file. All else goes through kreuzberg, as
Markdown. What cannot be read is an Unextractable with a reason for a person, whatever the bytes are.
"""

from __future__ import annotations

import codecs
import csv
import html
import io
import mimetypes
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from pgfolio.flows.extraction.decode import clean, decode
from pgfolio.flows.extraction.metadata import (
    created,
    first_heading,
    front_matter,
    jsonable,
    owner,
    title_of,
    when,
)
from pgfolio.flows.extraction.pages import aligned, joined, marked

if TYPE_CHECKING:
    from datetime import datetime

FINGERPRINT = f"extract-2/kreuzberg-{version('kreuzberg')}"

PDF, HTML, PPT = "application/pdf", "text/html", "application/vnd.ms-powerpoint"
OFFICE, OPEN = "application/vnd.openxmlformats-officedocument.", "application/vnd.oasis.opendocument."
PPTX = OFFICE + "presentationml.presentation"
DOCUMENTS = {
    "csv": "text/csv",
    "doc": "application/msword",
    "docx": OFFICE + "wordprocessingml.document",
    "eml": "message/rfc822",
    "epub": "application/epub+zip",
    "htm": HTML,
    "html": HTML,
    "ipynb": "application/x-ipynb+json",
    "msg": "application/vnd.ms-outlook",
    "ods": OPEN + "spreadsheet",
    "odt": OPEN + "text",
    "org": "text/x-org",
    "pdf": PDF,
    "ppt": PPT,
    "pptx": PPTX,
    "rst": "text/x-rst",
    "rtf": "application/rtf",
    "tsv": "text/tab-separated-values",
    "xhtml": HTML,
    "xls": "application/vnd.ms-excel",
    "xlsx": OFFICE + "spreadsheetml.sheet",
}
IMAGES = {
    "bmp": "image/bmp",
    "jpeg": "image/jpeg",
    "jpg": "image/jpeg",
    "png": "image/png",
    "tif": "image/tiff",
    "tiff": "image/tiff",
}
MARKDOWN = {"md": "text/markdown", "mdx": "text/markdown", "markdown": "text/markdown"}
TEXT = frozenset(  # may be in another encoding; under any other name only UTF-8 counts as text
    """
    bat bib c cc cfg conf cpp css diff env go h hpp ini java js json jsonl jsx kt log lua markdown md
    mdx patch php pl properties ps1 py r rb rs scala sh sql srt swift tex text toml ts tsx txt vtt xml
    yaml yml
    """.split()  # noqa: SIM905 - a hundred lines else
)
METADATA_KEYS = frozenset(  # of what the library knows of a document
    """
    attachments authors category cc_emails created_by description from_email from_name keywords language
    modified_at modified_by page_count publisher sheet_names slide_count subject to_emails
    """.split()  # noqa: SIM905 - a hundred lines else
)
TYPES = mimetypes.MimeTypes()  # not the machine's own list, so that every machine says the same
TYPES.add_type("image/heic", ".heic")
TYPES.add_type("text/javascript", ".js")
TYPES.add_type("text/typescript", ".ts")
TYPES.add_type("text/typescript", ".tsx")
NO_TYPE = ("text/plain", "application/octet-stream")
PAGE_MARK = "pgfoliopagebreak"
_CODE = re.compile(r"(^```.*?^```|`[^`\n]+`)", re.MULTILINE | re.DOTALL)
_ESCAPE = re.compile(r"\\([!.\-<>()~_&+=])")
_DATA_IMAGE = re.compile(r"!\[[^\]]*\]\(data:[^)]*\)")
_HEAD = re.compile(
    r"<head\b.*?</head\s*>|<(script|style)\b.*?</\1\s*>|<title\b.*?</title\s*>|<meta\b[^>]*>",
    re.IGNORECASE | re.DOTALL,
)
_TITLE = re.compile(r"<title\b[^>]*>(.*?)</title\s*>", re.IGNORECASE | re.DOTALL)
_CHARSET = re.compile(rb"""charset\s*=\s*["']?([\w-]+)""", re.IGNORECASE)


class Unextractable(Exception):  # noqa: N818 - the name says what happened
    """This file cannot be read, now or later, until it or (transient) the machine is changed. The message says
    how."""

    def __init__(self, message: str, *, transient: bool = False) -> None:
        super().__init__(message)
        self.transient = transient


@dataclass(frozen=True, slots=True)
class Extracted:
    """`pages`: the offset in `text` at which each page begins; `created_at` in UTC; `metadata` fits into JSON.

    `markdown`: whether `text` is Markdown, so that its headings can be read.
    """

    text: str
    title: str | None
    mime: str
    metadata: dict[str, Any] = field(default_factory=dict)
    created_at: datetime | None = None
    pages: tuple[int, ...] = ()
    owner: str | None = None
    markdown: bool = False


def extract(path: str, data: bytes) -> Extracted:
    """The text of one file; `path` gives its type and no more. Raises Unextractable and nothing else."""
    suffix, mime = _declared(path, data)
    try:
        if not mime and (text := decode(data, known=suffix in TEXT or not suffix)) is not None:
            return _markdown(text) if suffix in MARKDOWN else Extracted(text, None, _text_mime(suffix))
        mime = mime or _sniffed(path, data)
        return _image(mime, data) if mime.startswith("image/") else _document(mime, data)
    except (Unextractable, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # a panic of the Rust library is not an Exception
        raise Unextractable(_reason(error, mime)) from error


def with_upload_metadata(
    extracted: Extracted, title: str | None, name: str | None, metadata: dict[str, Any]
) -> Extracted:
    """With what the upload says of the document, which counts more than what its bytes say: as front matter does."""
    if not (title or name or metadata):
        return extracted
    return replace(
        extracted,
        title=title or extracted.title or name,
        metadata={**extracted.metadata, **metadata},
        created_at=created(metadata) or extracted.created_at,
        owner=extracted.owner if (uploader := owner(metadata)) is None else uploader,
    )


def is_text(path: str, data: bytes) -> bool:
    """Whether `extract` needs no parser for it."""
    suffix, mime = _declared(path, data)
    return not mime and decode(data, known=suffix in TEXT or not suffix) is not None


def _declared(path: str, data: bytes) -> tuple[str, str]:
    """Suffix, and the type that it or the first bytes name; empty for what may be text."""
    suffix = PurePosixPath(path).suffix.lower().lstrip(".")
    return suffix, DOCUMENTS.get(suffix) or IMAGES.get(suffix) or (PDF if data.startswith(b"%PDF-") else "")


def _text_mime(suffix: str) -> str:
    guess = TYPES.guess_type(f"file.{suffix}")[0] or ""
    return guess if guess.startswith("text/") or guess == "application/json" else "text/plain"


def _markdown(text: str) -> Extracted:
    metadata, body = front_matter(text)
    title = metadata.pop("title", None)
    return Extracted(
        text=body,
        title=title_of(title) or first_heading(body),
        mime="text/markdown",
        metadata=metadata,
        created_at=created(metadata),
        owner=owner(metadata),
        markdown=True,
    )


def _pages(mime: str, text: str, parts: list[Any]) -> tuple[str, tuple[int, ...]]:
    """The text without its page marks, and where the pages begin."""
    if mime == PPTX:
        return marked(text, re.compile(rf"\n*^{PAGE_MARK}\d+\s*", re.MULTILINE))
    if mime == PPT:
        return marked(text, re.compile(r"\n*^-----\n+", re.MULTILINE))
    if mime == PDF:
        return text, aligned(text, [part.get("content", "") for part in parts])
    return text, ()


def _sniffed(path: str, data: bytes) -> str:
    """The type that the bytes of a binary file show, if it is one that we can read."""
    import kreuzberg  # noqa: PLC0415 - 0.1 s that a no-op sync must not pay

    guess = TYPES.guess_type(path)[0] or "application/octet-stream"
    try:
        detected = str(kreuzberg.detect_mime_type(data))
    except Exception:  # noqa: BLE001 - it says by an error that it does not know
        detected = guess
    if detected in DOCUMENTS.values() or detected in IMAGES.values():
        return detected
    raise Unextractable(f"unsupported type {guess if detected in NO_TYPE else detected}")


def _image(mime: str, data: bytes) -> Extracted:
    if shutil.which("tesseract") is None:
        raise Unextractable("image: needs Tesseract for OCR, which is not installed", transient=True)
    if text := _ocr(data):
        return Extracted(text + "\n", None, mime, {"ocr": "tesseract"})
    raise Unextractable("image: Tesseract found no text in it")


def _document(mime: str, data: bytes) -> Extracted:
    if not data:
        raise Unextractable("the file is empty (0 bytes)")
    result = _parse(mime, data)
    content, heading = result.content, ""
    if mime == HTML:  # whose bytes the library reads as UTF-8, whatever they say they are
        text = _html_text(data)
        heading = html.unescape(title[1]) if (title := _TITLE.search(text)) else ""
        body = _HEAD.sub("", text)
        content = _parse(mime, body.encode()).content if body.strip() else ""
    text, pages = _pages(mime, tidy(clean(content)), result.pages or [])
    if mime == PDF and not text.strip():
        text, pages = joined(_scanned(data))
    if not text.strip():
        raise Unextractable(_nothing(mime), transient=mime == PDF and shutil.which("tesseract") is None)
    properties = {
        key: value for key, value in dict(result.metadata).items() if value not in (None, "", [], [""])
    }
    metadata = jsonable({key: properties[key] for key in sorted(METADATA_KEYS & properties.keys())}, [2000])
    authors = metadata.get("authors") or [metadata.get("from_email")]
    return Extracted(
        text=text,
        title=title_of(
            heading
            or properties.get("title")
            or properties.get("directive_title")
            or properties.get("subject")
        )
        or first_heading(text),
        mime=mime,
        metadata=metadata,
        created_at=when(properties.get("created_at")),
        pages=pages,
        owner=authors[0] if isinstance(authors, list) and authors and isinstance(authors[0], str) else None,
        markdown=True,
    )


def _parse(mime: str, data: bytes) -> Any:
    """The result of kreuzberg, without its cache and without OCR."""
    import kreuzberg  # noqa: PLC0415 - 0.1 s that a no-op sync must not pay

    if mime in ("text/csv", "text/tab-separated-values"):
        data = _strict_csv(mime, data)
    pages = kreuzberg.PageConfig(
        extract_pages=True, insert_page_markers=mime == PPTX, marker_format=f"\n\n{PAGE_MARK}{{page_num}}\n\n"
    )
    config = kreuzberg.ExtractionConfig(
        use_cache=False,
        output_format="markdown",
        pages=pages,
        disable_ocr=True,  # type: ignore[call-arg] # its stub forgot this one
    )
    return kreuzberg.extract_bytes_sync(data, mime, config)


def _strict_csv(mime: str, data: bytes) -> bytes:
    """Quoted anew: the library takes a lone quote in a field (27" monitor) for the start of a long one."""
    text = decode(data, known=True) or ""
    line = text.partition("\n")[0]
    mark = "\t" if mime != "text/csv" else max(",;\t|", key=line.count)
    out = io.StringIO()
    writer = csv.writer(out, delimiter="\t" if mime != "text/csv" else ",")
    writer.writerows(csv.reader(io.StringIO(text), delimiter=mark))
    return out.getvalue().encode("utf-8", "replace")


def _html_text(data: bytes) -> str:
    declared = _CHARSET.search(data[:2048])
    if declared and not data.startswith((codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        try:
            return clean(data.decode(declared[1].decode(), "strict"))
        except (LookupError, UnicodeDecodeError):
            pass
    return decode(data, known=True) or ""


def tidy(markdown: str) -> str:
    """The library's Markdown without images that are data, and without escapes that only hide words from search."""
    parts = _CODE.split(_DATA_IMAGE.sub("", markdown))
    parts[::2] = [_ESCAPE.sub(r"\1", re.sub(r"\\</?u\\?>", "", part)) for part in parts[::2]]
    text = re.sub(r"\n{3,}", "\n\n", "".join(parts)).strip() + "\n"
    headings = re.findall(r"^###### ", text, re.MULTILINE)
    # Word's outline level 9 means body text; the library makes a heading of each such paragraph.
    return text.replace("###### ", "") if len(headings) * 2 > text.count("\n\n") > 2 else text


def _scanned(data: bytes) -> list[str]:
    """The text of each page of a PDF without text, by the tesseract command if it is installed."""
    if shutil.which("tesseract") is None:
        return []
    from kreuzberg import PdfPageIterator  # noqa: PLC0415 - see _parse

    with tempfile.NamedTemporaryFile(suffix=".pdf") as file:
        file.write(data)
        file.flush()
        return [_ocr(image) for _, image in PdfPageIterator(file.name, dpi=200)]


def _ocr(image: bytes) -> str:
    """By the command: the library's own Tesseract looks for its languages in a folder of its builder's."""
    done = subprocess.run(["tesseract", "-", "-"], input=image, capture_output=True, timeout=300, check=False)
    if done.returncode:
        raise Unextractable(f"Tesseract failed: {_one_line(done.stderr.decode('utf-8', 'replace'))}")
    return clean(done.stdout.decode("utf-8", "replace")).replace("\f", "").strip()


def _nothing(mime: str) -> str:
    hint = " (scanned pages? install Tesseract)" if mime == PDF and shutil.which("tesseract") is None else ""
    return f"no text found in it{hint}"


def _reason(error: BaseException, mime: str) -> str:
    text = _one_line(str(error))
    if "password" in text.lower():
        return "encrypted PDF: remove the password" if mime == PDF else "encrypted file: remove the password"
    return f"cannot be read as {mime}: {text or type(error).__name__}"


def _one_line(text: str) -> str:
    """Without the repetitions of nested errors ("a: b: a: b") and not longer than a line."""
    parts = dict.fromkeys(part.strip() for part in re.split(r":\s+", clean(text)))
    return " ".join(": ".join(parts).split())[:200]
