"""Decides: the bytes of a file in, its text with title, dates, pages and metadata out.

Text formats are taken verbatim, so that a quote is really in the file. PDFs are read page by page (pdf.py); all else
goes through kreuzberg, as Markdown. What cannot be read is an Unextractable with a reason for a person, whatever the
bytes are.
"""

from __future__ import annotations

import codecs
import csv
import html
import io
import re
from dataclasses import replace
from importlib.metadata import version
from typing import Any

from pgfolio.flows.extraction import formats, markup, ocr
from pgfolio.flows.extraction.decode import clean, decode
from pgfolio.flows.extraction.extracted import Extracted, Unextractable, one_line
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
from pgfolio.schema.markdown import Span, code_spans

FINGERPRINT = f"extract-3/kreuzberg-{version('kreuzberg')}"

METADATA_KEYS = frozenset(  # of what the library knows of a document
    """
    attachments authors category cc_emails created_by description from_email from_name keywords language
    modified_at modified_by page_count publisher sheet_names slide_count subject to_emails
    """.split()  # noqa: SIM905 - a hundred lines else
)
PAGE_MARK = "pgfoliopagebreak"
_UNDERLINE = re.compile(r"\\</?u\\?>")
_ESCAPE = re.compile(r"\\([!.\-<>()~_&+=])")
_CHARSET = re.compile(rb"""charset\s*=\s*["']?([\w-]+)""", re.IGNORECASE)


def extract(path: str, data: bytes) -> Extracted:
    """The text of one file; `path` gives its type and no more. Raises Unextractable and nothing else."""
    suffix, mime = formats.declared(path, data)
    try:
        if not mime and (text := decode(data, known=suffix in formats.TEXT or not suffix)) is not None:
            return (
                _markdown(text)
                if suffix in formats.MARKDOWN
                else Extracted(text, None, formats.text_mime(suffix))
            )
        mime = mime or formats.sniffed(path, data)
        return ocr.image(mime, data) if mime.startswith("image/") else _document(mime, data)
    except (Unextractable, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # a panic of the Rust library is not an Exception
        raise Unextractable(_reason(error, mime)) from error


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
    if mime == formats.PPTX:
        return marked(text, re.compile(rf"\n*^{PAGE_MARK}\d+\s*", re.MULTILINE))
    if mime == formats.PPT:
        return marked(text, re.compile(r"\n*^-----\n+", re.MULTILINE))
    return text, ()


def _document(mime: str, data: bytes) -> Extracted:
    if not data:
        raise Unextractable("the file is empty (0 bytes)")
    if mime == formats.PDF:
        return _pdf(data)
    result = _parse(mime, data)
    content, heading = _html(data) if mime == formats.HTML else (result.content, "")
    text, pages = _pages(mime, tidy(clean(content)))
    if not text.strip():
        raise Unextractable("no text found in it")
    properties = {
        key: value for key, value in dict(result.metadata).items() if value not in (None, "", [], [""])
    }
    return replace(_from_properties(properties, mime, text, heading), pages=pages, markdown=True)


def _pdf(data: bytes) -> Extracted:
    from pgfolio.flows.extraction import pdf  # noqa: PLC0415 - 0.07 s that a no-op sync must not pay

    read = pdf.read(data)
    text, pages = joined(pdf.with_scans(data, read))
    if not text.strip():
        hint = "" if ocr.installed() else " (scanned pages? install Tesseract)"
        raise Unextractable(f"no text found in it{hint}", transient=not ocr.installed())
    properties = {key: value for key, value in read.properties.items() if value not in (None, "", [])}
    return replace(_from_properties(properties, formats.PDF, text, ""), pages=pages, markdown=True)


def _html(data: bytes) -> tuple[str, str]:
    """The body as Markdown, and the title. The library reads bytes as UTF-8, whatever they say they are."""
    text = _html_text(data)
    body = markup.without_head(text)
    content = _parse(formats.HTML, body.encode()).content if body.strip() else ""
    return content, html.unescape(markup.title(text))


def _from_properties(properties: dict[str, Any], mime: str, text: str, heading: str) -> Extracted:
    """With the title, the dates and the owner that the document's properties have."""
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
        owner=owner({"owner": authors[0]}) if isinstance(authors, list) and authors else None,
    )


def _parse(mime: str, data: bytes) -> Any:
    """The result of kreuzberg, without its cache and without OCR."""
    import kreuzberg  # noqa: PLC0415 - 0.1 s that a no-op sync must not pay

    if mime in ("text/csv", "text/tab-separated-values"):
        data = _strict_csv(mime, data)
    pages = kreuzberg.PageConfig(
        extract_pages=True,
        insert_page_markers=mime == formats.PPTX,
        marker_format=f"\n\n{PAGE_MARK}{{page_num}}\n\n",
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


def tidy(text: str) -> str:
    """The library's Markdown without images that are data, and without escapes that only hide words from search."""
    text = markup.without_data_images(text)
    parts, end = [], 0
    for code in [*code_spans(text), Span(len(text), len(text))]:
        prose = _UNDERLINE.sub("", text[end : code.start])
        parts += [_ESCAPE.sub(r"\1", prose), text[code.start : code.end]]
        end = code.end
    text = re.sub(r"\n{3,}", "\n\n", "".join(parts)).strip() + "\n"
    headings = re.findall(r"^###### ", text, re.MULTILINE)
    # Word's outline level 9 means body text; the library makes a heading of each such paragraph.
    return text.replace("###### ", "") if len(headings) * 2 > text.count("\n\n") > 2 else text


def _reason(error: BaseException, mime: str) -> str:
    text = one_line(str(error))
    if "password" in text.lower():
        return (
            "encrypted PDF: remove the password"
            if mime == formats.PDF
            else "encrypted file: remove the password"
        )
    return f"cannot be read as {mime}: {text or type(error).__name__}"
