"""Our own readers, by the type that they read. What has none here is read by kreuzberg."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pgfolio.flows.extraction import (
    binary_sheets,
    binary_slides,
    binary_word,
    book,
    mail,
    mime,
    notebook,
    opendocument,
    outlook,
    rich_text,
    rows,
    sheets,
    slides,
    web,
    word,
    xml_sheet,
)
from pgfolio.flows.extraction.decode import decode

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgfolio.flows.extraction.reading import Reading

READERS: Final[dict[str, Callable[[bytes], Reading]]] = {
    mime.DOC: binary_word.read,
    mime.DOCX: word.read,
    mime.EPUB: book.read,
    mime.HTML: web.read,
    mime.IPYNB: notebook.read,
    mime.MHTML: mail.read_saved_page,
    mime.ODG: opendocument.read,
    mime.ODP: opendocument.read,
    mime.ODS: opendocument.read,
    mime.ODT: opendocument.read,
    mime.PPT: binary_slides.read,
    mime.PPTX: slides.read,
    mime.RTF: rich_text.read,
    mime.XLS: binary_sheets.read,
    mime.XLSX: sheets.read,
    mime.XML_SHEET: xml_sheet.read,
}
MAILS: Final = {mime.EML: mail.read, mime.MBOX: mail.read_mailbox, mime.MSG: outlook.read}


def read(kind: str, data: bytes, attached: Callable[[str, bytes], str]) -> Reading | None:
    """None where no reader of ours reads this type; `attached` gives the text of a file in a mail by its name. Raises
    whatever broken bytes make its parser raise."""
    if kind in MAILS:
        return MAILS[kind](data, attached)
    if kind in (mime.CSV, mime.TSV):
        return rows.read(decode(data, known=True) or "", "\t" if kind == mime.TSV else None)
    return READERS[kind](data) if kind in READERS else None
