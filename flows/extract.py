"""Decides: the bytes of a file in, its text with title, dates, pages and metadata out.

Text formats are taken verbatim, so that a quote is really in the file. All else goes through kreuzberg, as
Markdown. What cannot be read is an Unextractable with a reason for a person, whatever the bytes are.
"""

from __future__ import annotations

import codecs
import csv
import io
import math
import mimetypes
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from pathlib import PurePosixPath
from typing import Any

RECIPE = f"extract-2/kreuzberg-{version('kreuzberg')}"

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
KEPT = frozenset(  # of what the library knows of a document
    """
    attachments authors category cc_emails created_by description from_email from_name keywords language
    modified_at modified_by page_count publisher sheet_names slide_count subject to_emails
    """.split()  # noqa: SIM905 - a hundred lines else
)
JUNK_TITLE = re.compile(
    r"(?i)(untitled.*|document\d*|enscript output|powerpoint presentation|microsoft \w+ - .*)?"
)
TYPES = mimetypes.MimeTypes()  # not the machine's own list, so that every machine says the same
TYPES.add_type("image/heic", ".heic")
TYPES.add_type("text/javascript", ".js")
TYPES.add_type("text/typescript", ".ts")
TYPES.add_type("text/typescript", ".tsx")
NO_TYPE = ("text/plain", "application/octet-stream")
CONTROLS = bytes(set(range(1, 32)) - set(b"\a\b\t\n\v\f\r\x1b"))
PAGE_MARK = "pgfoliopagebreak"
MOST_BITS = 1000
"""Of an integer in metadata: 301 digits."""

_H1 = re.compile(r"^# +(.+?)[ #]*$|^(?=\S)([^\n]+)\n=+[ \t]*$", re.MULTILINE)
_CODE = re.compile(r"(^```.*?^```|`[^`\n]+`)", re.MULTILINE | re.DOTALL)
_ESCAPE = re.compile(r"\\([!.\-<>()~_&+=])")
_EMBEDDED_IMAGE = re.compile(r"!\[[^\]]*\]\(data:[^)]*\)")
_HEAD = re.compile(
    r"<head\b.*?</head\s*>|<(script|style)\b.*?</\1\s*>|<title\b.*?</title\s*>|<meta\b[^>]*>",
    re.IGNORECASE | re.DOTALL,
)
_CHARSET = re.compile(rb"""charset\s*=\s*["']?([\w-]+)""", re.IGNORECASE)
_UNWANTED = re.compile(r"[\x00\ud800-\udfff]")


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
    """The text of one file; `path` tells its type and no more. Raises Unextractable and nothing else."""
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


def told(extracted: Extracted, title: str | None, name: str | None, metadata: dict[str, Any]) -> Extracted:
    """With what is said of the document beside its bytes, which counts more than what they say: as front matter."""
    if not (title or name or metadata):
        return extracted
    owner = metadata.get("owner") or metadata.get("author")
    return replace(
        extracted,
        title=title or extracted.title or name,
        metadata={**extracted.metadata, **metadata},
        created_at=_when(metadata.get("date") or metadata.get("created")) or extracted.created_at,
        owner=owner if isinstance(owner, str) else extracted.owner,
    )


def is_text(path: str, data: bytes) -> bool:
    """Whether `extract` needs no parser for it."""
    suffix, mime = _declared(path, data)
    return not mime and decode(data, known=suffix in TEXT or not suffix) is not None


def _declared(path: str, data: bytes) -> tuple[str, str]:
    """Suffix, and the type that it or the first bytes name; empty for what may be text."""
    suffix = PurePosixPath(path).suffix.lower().lstrip(".")
    return suffix, DOCUMENTS.get(suffix) or IMAGES.get(suffix) or (PDF if data.startswith(b"%PDF-") else "")


def decode(data: bytes, *, known: bool) -> str | None:
    """Text with Unix line ends and without NUL, or None. `known`: the name says that it is text."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return clean(data.decode("utf-16", "replace"))
    if (b"\0" in data and not known) or _binary(data[:8192]):
        return None
    try:
        return clean(data.decode("utf-8-sig"))
    except UnicodeDecodeError:
        return clean(_guess(data)) if known and b"\0" not in data[:8192] else None


def _binary(head: bytes) -> bool:
    """A tenth of control characters, whatever the file's name says. NUL is not counted: UTF-16 is full of it."""
    return (len(head) - len(head.translate(None, CONTROLS))) * 10 > len(head)


def _guess(data: bytes) -> str:
    from charset_normalizer import from_bytes  # noqa: PLC0415 - rarely needed, slow to import

    found = list(from_bytes(data[:65536]))
    equal = [one for one in found if (one.chaos, one.coherence) == (found[0].chaos, found[0].coherence)]
    western = not found or any("cp1252" in one.could_be_from_charset for one in equal)
    return data.decode("cp1252" if western else found[0].encoding, "replace")


def clean(text: str) -> str:
    """Without what PostgreSQL refuses: NUL characters and halves of surrogate pairs."""
    return _UNWANTED.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


def _text_mime(suffix: str) -> str:
    guess = TYPES.guess_type(f"file.{suffix}")[0] or ""
    return guess if guess.startswith("text/") or guess == "application/json" else "text/plain"


def _markdown(text: str) -> Extracted:
    metadata, body = _front_matter(text)
    title = metadata.pop("title", None)
    owner = metadata.get("owner") or metadata.get("author")
    return Extracted(
        text=body,
        title=_title(title) or _first_heading(body),
        mime="text/markdown",
        metadata=metadata,
        created_at=_when(metadata.get("date") or metadata.get("created")),
        owner=owner if isinstance(owner, str) else None,
        markdown=True,
    )


def _front_matter(text: str) -> tuple[dict[str, Any], str]:
    if not text.startswith("---"):
        return {}, text
    from frontmatter.default_handlers import YAMLHandler  # noqa: PLC0415 - keeps the import of this module cheap

    try:
        head, body = YAMLHandler().split(text)
        found = YAMLHandler().load(head)
        return (_jsonable(found, [2000]), body.lstrip("\n")) if isinstance(found, dict) else ({}, text)
    except Exception:  # noqa: BLE001 - front matter that makes no sense is text
        return {}, text


def _jsonable(value: Any, budget: list[int]) -> Any:
    """Dates become ISO strings. A budget of nodes: aliases in YAML can unfold without end. A very long integer (YAML
    bounds no hexadecimal one) becomes text, in hexadecimal: Python writes no more than 4,300 digits, JSON is read
    back by it."""
    budget[0] -= 1
    if budget[0] < 0:
        raise ValueError("too much metadata")
    match value:
        case None | bool():
            return value
        case int():
            return value if value.bit_length() <= MOST_BITS else hex(value)
        case float():
            return value if math.isfinite(value) else str(value)
        case str():
            return clean(value)
        case date():
            return value.isoformat()
        case dict():
            return {clean(str(key)): _jsonable(item, budget) for key, item in value.items()}
        case list() | tuple() | set():
            return [_jsonable(item, budget) for item in value]
        case _:
            return clean(str(value))


def _title(value: Any) -> str | None:
    title = " ".join(clean(str(value)).split())[:500] if isinstance(value, str | int | float) else ""
    return None if JUNK_TITLE.fullmatch(title) else title


def _first_heading(text: str) -> str | None:
    match = _H1.search(
        _CODE.sub(lambda code: " " * len(code[0]) if code[0].startswith("```") else code[0], text)
    )
    return _title((match[1] or match[2]).strip("*` ")) if match else None


def _when(value: Any) -> datetime | None:
    if not isinstance(value, str):
        return None
    for parse in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            found = parse(value.strip())
            return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
        except (ValueError, OverflowError, TypeError):
            continue
    return None


def _sniffed(path: str, data: bytes) -> str:
    """The type that the bytes of a binary file show, if it is one that we can read."""
    import kreuzberg  # noqa: PLC0415 - 0.1 s that a no-op sync must not pay

    guess = TYPES.guess_type(path)[0] or "application/octet-stream"
    try:
        found = str(kreuzberg.detect_mime_type(data))
    except Exception:  # noqa: BLE001 - it says by an error that it does not know
        found = guess
    if found in DOCUMENTS.values() or found in IMAGES.values():
        return found
    raise Unextractable(f"unsupported type {guess if found in NO_TYPE else found}")


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
    content = result.content
    if mime == HTML:
        text = _html_text(data)
        body = _HEAD.sub("", text)
        content = _parse(mime, body.encode()).content if body.strip() else ""
    text, pages = _pages(mime, tidy(clean(content)), result.pages or [])
    if mime == PDF and not text.strip():
        text, pages = _joined(_scanned(data))
    if not text.strip():
        raise Unextractable(_nothing(mime), transient=mime == PDF and shutil.which("tesseract") is None)
    found = {key: value for key, value in dict(result.metadata).items() if value not in (None, "", [], [""])}
    metadata = _jsonable({key: found[key] for key in sorted(KEPT & found.keys())}, [2000])
    authors = metadata.get("authors") or [metadata.get("from_email")]
    return Extracted(
        text=text,
        title=_title(found.get("title") or found.get("directive_title") or found.get("subject"))
        or _first_heading(text),
        mime=mime,
        metadata=metadata,
        created_at=_when(found.get("created_at")),
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
    parts = _CODE.split(_EMBEDDED_IMAGE.sub("", markdown))
    parts[::2] = [_ESCAPE.sub(r"\1", re.sub(r"\\</?u\\?>", "", part)) for part in parts[::2]]
    text = re.sub(r"\n{3,}", "\n\n", "".join(parts)).strip() + "\n"
    headings = re.findall(r"^###### ", text, re.MULTILINE)
    # Word's outline level 9 means body text; the library makes a heading of each such paragraph.
    return text.replace("###### ", "") if len(headings) * 2 > text.count("\n\n") > 2 else text


def _pages(mime: str, text: str, parts: list[Any]) -> tuple[str, tuple[int, ...]]:
    """The text without its page marks, and where the pages begin."""
    if mime == PPTX:
        return _marked(text, re.compile(rf"\n*^{PAGE_MARK}\d+\s*", re.MULTILINE))
    if mime == PPT:
        return _marked(text, re.compile(r"\n*^-----\n+", re.MULTILINE))
    if mime == PDF:
        return text, _aligned(text, [part.get("content", "") for part in parts])
    return text, ()


def _marked(text: str, mark: re.Pattern[str]) -> tuple[str, tuple[int, ...]]:
    bodies = mark.split("\n\n" + text)[1:]
    return _joined(bodies) if bodies else (text, ())


def _joined(bodies: list[str]) -> tuple[str, tuple[int, ...]]:
    whole, pages = "", []
    for body in bodies:
        pages.append(len(whole))
        whole += body.strip() + "\n\n" if body.strip() else ""
    return whole.rstrip() + "\n", tuple(pages)


def _aligned(text: str, pages: list[str]) -> tuple[int, ...]:
    """Where each page begins in the Markdown of all: by its first letters that are found there, in order.

    The library tells page breaks for plain text only. A page without a match begins where the next one does.
    """
    places = [index for index, letter in enumerate(text) if letter.isalnum()]
    letters = "".join(text[index] for index in places)
    starts: list[int] = []
    at = 0
    for number, page in enumerate(pages):
        plain = "".join(letter for letter in page if letter.isalnum())
        probes = (plain[skip : skip + 24] for skip in range(0, min(len(plain), 480), 24))
        found = next((hit for probe in probes if (hit := letters.find(probe, at)) >= 0), -1) if number else 0
        if found >= 0 and plain:
            at = found
        starts.append(at if number else 0)
        at = min(at + max(len(plain) // 2, 1), len(letters)) if plain else at
    return tuple(
        _line_start(text, places[at]) if number and at < len(places) else 0
        for number, at in enumerate(starts)
    )


def _line_start(text: str, offset: int) -> int:
    """Before the marks of a heading or of bold type that the letter at `offset` begins."""
    start = text.rfind("\n", 0, offset) + 1
    return offset if any(map(str.isalnum, text[start:offset])) else start


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
