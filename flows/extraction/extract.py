"""Decides: the bytes of a file in, its text with title, dates, pages and metadata out.

Text formats are taken verbatim, so that a quote is really in the file. All else becomes Markdown, by a reader of ours
or by kreuzberg. What cannot be read is an Unextractable with a reason for a person, whatever the bytes are.
"""

from __future__ import annotations

import re
from dataclasses import replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from pgfolio.flows.extraction import formats, markup, number_formats, ocr
from pgfolio.flows.extraction import mime as mime_types
from pgfolio.flows.extraction.completeness import shortfall
from pgfolio.flows.extraction.decode import Decoded, clean, decode, decoded
from pgfolio.flows.extraction.extracted import Extracted, NothingToRead, Unextractable, one_line
from pgfolio.flows.extraction.metadata import (
    created,
    first_heading,
    front_matter,
    jsonable,
    owner,
    title_of,
    when,
)
from pgfolio.flows.extraction.pages import joined, marked
from pgfolio.schema.markdown import Span, code_spans, headings

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from pgfolio.flows.extraction.reading import Reading

FINGERPRINT = f"extract-5/kreuzberg-{version('kreuzberg')}/pypdfium2-{version('pypdfium2')}"

MAX_MARKED_PAGES = 200

METADATA_KEYS = frozenset(  # of what the library knows of a document
    """
    attachments authors category cc_emails created_by description from_email from_name keywords language
    modified_at modified_by page_count publisher sheet_names slide_count subject to_emails
    """.split()  # noqa: SIM905 - a hundred lines else
)
SHEETS = (mime_types.XLSB,)
LIGHT_MARKUP = ("text/x-org", "text/x-rst")
"""Text as it is, where the library cannot read it."""

MAX_DEPTH = 2
"""Of mails within mails whose attachments are read."""

_UNDERLINE = re.compile(r"\\</?u\\?>")
_EMPHASIS = re.compile(r"(?<!\\)(?:\*\*+|\*(?=[^\s*])|(?<=[^\s*\\])\*)")
_ESCAPE = re.compile(r"\\([!-/:-@\[-`{-~])")


def extract(path: str, data: bytes, depth: int = 0) -> Extracted:
    """The text of one file; `path` tells of its type and no more. Raises Unextractable and nothing else."""
    suffix, mime = formats.declared(path, data)
    try:
        known = suffix in formats.TEXT or not suffix or mime == "text/plain"
        if mime in ("", "text/plain") and (found := decoded(data, known=known)) is not None:
            return _text(found, suffix)
        mime = mime or formats.sniffed(path, data)
        return ocr.image(mime, data) if mime.startswith("image/") else _document(mime, data, depth)
    except (Unextractable, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # a panic of the Rust library is not an Exception
        if mime in LIGHT_MARKUP and (text := decode(data, known=True)):
            return Extracted(text, None, mime)
        raise Unextractable(_reason(error, mime)) from error


def _text(found: Decoded, suffix: str) -> Extracted:
    made = (
        _markdown(found.text)
        if suffix in formats.MARKDOWN
        else Extracted(found.text, None, formats.text_mime(suffix))
    )
    before = len(found.text) - len(made.text)
    incomplete = _undecoded(found.replaced)
    if found.crlf is None:
        return replace(made, incomplete=incomplete)
    crlf = tuple(Span(max(start - before, 0), end - before) for start, end in found.crlf if end > before)
    lines = sum(
        found.text.count("\n", start, min(end, before)) for start, end in found.crlf if start < before
    )
    return replace(made, incomplete=incomplete, file_offset=before + lines, crlf=crlf)


def _undecoded(replaced: int) -> str:
    bytes_are = "a byte is" if replaced == 1 else f"{replaced:,} bytes are"
    return f"{bytes_are} in no known encoding" if replaced else ""


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


def _pages(mime: str, text: str) -> tuple[str, tuple[int, ...]]:
    """The text without its page marks, and where the pages begin."""
    if mime == formats.PPT:
        return marked(text, re.compile(r"\n*^-----\n+", re.MULTILINE))
    return text, ()


def _document(mime: str, data: bytes, depth: int) -> Extracted:
    if not data:
        raise NothingToRead("it is empty")
    if mime == formats.PDF:
        return _pdf(data)
    if (reading := _read(mime, data, depth)) is not None:
        if not reading.text.strip():
            raise Unextractable("no text found in it")
        text = clean(reading.text).rstrip() + "\n"
        extracted = _from_properties(reading.properties, mime, text)
        lacks = "" if depth else _lacks(mime, data, text)
        return replace(extracted, pages=reading.pages, markdown=True, incomplete=lacks)
    result = _parse(mime, data)
    text, pages = _pages(mime, _tidied(mime, clean(result.content)))
    if not text.strip():
        raise Unextractable("no text found in it")
    properties = {
        key: value for key, value in dict(result.metadata).items() if value not in (None, "", [], [""])
    }
    return replace(_from_properties(properties, mime, text), pages=pages, markdown=True)


def _lacks(mime: str, data: bytes, text: str) -> str:
    from pgfolio.flows.extraction.independent import independent_text  # noqa: PLC0415 - see _read

    return shortfall(independent_text(mime, data), text)


def _pdf(data: bytes) -> Extracted:
    from pgfolio.flows.extraction import pdf  # noqa: PLC0415 - 0.07 s that a no-op sync must not pay

    read = pdf.read(data)
    by_ocr = pdf.scanned_pages(data, read)
    text, pages = joined([by_ocr.get(number, page) for number, page in enumerate(read.pages)])
    if not text.strip():
        hint = "" if ocr.engine() else f" (scanned pages need {ocr.NEEDED})"
        raise Unextractable(f"no text found in it{hint}", transient=not ocr.engine())
    properties = {key: value for key, value in read.properties.items() if value not in (None, "", [])}
    extracted = _from_properties(properties, formats.PDF, text)
    if by_ocr:
        marks = {"ocr": ocr.engine(), "ocr_pages": [number + 1 for number in by_ocr][:MAX_MARKED_PAGES]}
        extracted = replace(extracted, metadata={**extracted.metadata, **marks})
    lacks = _unread(read.scans, by_ocr) or shortfall(pdf.independent_text(data), text)
    return replace(extracted, pages=pages, markdown=True, incomplete=lacks)


def _unread(scans: Sequence[int], by_ocr: Collection[int]) -> str:
    """Of the pages that are pictures, beside others of text."""
    left = len(scans) - len(by_ocr)
    if left <= 0:
        return ""
    pages = "a page is a picture" if left == 1 else f"{left:,} pages are pictures"
    if ocr.engine():
        return f"{pages} that were not read: OCR of a file ends after {ocr.SECONDS:.0f} s"
    return f"{pages}, which needs {ocr.NEEDED}"


def _read(mime: str, data: bytes, depth: int) -> Reading | None:
    """By a reader of ours."""
    from pgfolio.flows.extraction import readers  # noqa: PLC0415 - 0.1 s that a no-op sync must not pay

    def attached(name: str, data: bytes) -> str:
        if depth >= MAX_DEPTH or formats.declared(name, data)[1].startswith("image/"):
            raise Unextractable("not read within a mail")
        return extract(name, data, depth + 1).text

    return readers.read(mime, data, attached)


def _from_properties(properties: dict[str, Any], mime: str, text: str) -> Extracted:
    """With the title, the dates and the owner that the document's properties have."""
    metadata = jsonable({key: properties[key] for key in sorted(METADATA_KEYS & properties.keys())}, [2000])
    authors = metadata.get("authors") or [metadata.get("from_email")]
    return Extracted(
        text=text,
        title=title_of(properties.get("title"))
        or title_of(properties.get("directive_title") or properties.get("subject"))
        or (_first_title(text) if mime == formats.PPT else first_heading(text)),
        mime=mime,
        metadata=metadata,
        created_at=when(properties.get("created_at")),
        owner=owner({"owner": authors[0]}) if isinstance(authors, list) and authors else None,
    )


def _parse(mime: str, data: bytes) -> Any:
    """The result of kreuzberg, without its cache and without OCR."""
    import kreuzberg  # noqa: PLC0415 - 0.1 s that a no-op sync must not pay

    config = kreuzberg.ExtractionConfig(
        use_cache=False,
        output_format="markdown",
        pages=kreuzberg.PageConfig(extract_pages=True),
        disable_ocr=True,  # type: ignore[call-arg] # its stub forgot this one
    )
    return kreuzberg.extract_bytes_sync(data, mime, config)


def _first_title(text: str) -> str | None:
    """Of the first slide that has one."""
    return next((title_of(heading.text) for heading in headings(text, [])), None)


def _tidied(mime: str, text: str) -> str:
    if mime in SHEETS:
        return number_formats.displayed_cells(tidy(text))
    # In reStructuredText a backslash escapes as well, and the library escapes that one again.
    text = tidy(text, emphasis=False)
    return tidy(text) if mime == "text/x-rst" else text


def tidy(text: str, *, emphasis: bool = True) -> str:
    """The library's Markdown without images that are data, and without escapes that only hide words from search; on
    demand without the marks of bold and italic type, which hide phrases."""
    text = markup.without_data_images(text)
    parts, end = [], 0
    for code in [*code_spans(text), Span(len(text), len(text))]:
        prose = _UNDERLINE.sub("", text[end : code.start])
        prose = prose if emphasis else _EMPHASIS.sub("", prose)
        parts += [_ESCAPE.sub(r"\1", prose), text[code.start : code.end]]
        end = code.end
    return re.sub(r"\n{3,}", "\n\n", "".join(parts)).strip() + "\n"


def _reason(error: BaseException, mime: str) -> str:
    text = one_line(str(error))
    if "password" in text.lower():
        return (
            "encrypted PDF: remove the password"
            if mime == formats.PDF
            else "encrypted file: remove the password"
        )
    return f"cannot be read as {mime}: {text or type(error).__name__}"
