"""Other programs' and libraries' readings of formats of which the product has no independent count: where they are
installed (antiword and catdoc by apt; striprtf and extract-msg by pip, which are GPL and so no dependencies)."""

from __future__ import annotations

import importlib
import io
import logging
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

from pgfolio.flows.extraction import mime

if TYPE_CHECKING:
    from collections.abc import Callable


def second_reading(kind: str, path: str, data: bytes) -> str:
    """Empty where there is none."""
    reader = READERS.get(kind)
    try:
        return reader(path, data) if reader else ""
    except Exception:  # noqa: BLE001 -- what it cannot read is not counted
        return ""


def _printed(*command: str) -> str:
    if not shutil.which(command[0]):
        return ""
    done = subprocess.run(command, capture_output=True, timeout=60, check=True)
    return done.stdout.decode("utf-8", "replace")


def _document(path: str, data: bytes) -> str:
    del data
    return _printed("antiword", "-mUTF-8.txt", "-w0", path).replace("[pic]", "")


def _slides(path: str, data: bytes) -> str:
    del data
    return _printed("catppt", "-dutf-8", path)


def _sheets(path: str, data: bytes) -> str:
    """Texts and numbers of cells; no dates, which are numbers there."""
    del path
    import xlrd

    book = xlrd.open_workbook(file_contents=data, logfile=io.StringIO())
    cells = (cell for sheet in book.sheets() for row in sheet.get_rows() for cell in row)
    return "\n".join(
        f"{cell.value:.15g}" if cell.ctype == xlrd.XL_CELL_NUMBER else cell.value
        for cell in cells
        if cell.ctype in {xlrd.XL_CELL_TEXT, xlrd.XL_CELL_NUMBER}
    )


def _rich_text(path: str, data: bytes) -> str:
    del path
    return str(_library("striprtf.striprtf").rtf_to_text(data.decode("latin-1"), errors="ignore"))


def _message(path: str, data: bytes) -> str:
    del data
    logging.disable(logging.WARNING)
    message = _library("extract_msg").openMsg(path)
    return "\n".join(str(part or "") for part in (message.subject, message.sender, message.to, message.body))


def _library(name: str) -> Any:
    """Raises ModuleNotFoundError."""
    return importlib.import_module(name)


READERS: dict[str, Callable[[str, bytes], str]] = {
    mime.DOC: _document,
    mime.PPT: _slides,
    mime.XLS: _sheets,
    mime.RTF: _rich_text,
    mime.MSG: _message,
}
