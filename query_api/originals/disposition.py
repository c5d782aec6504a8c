"""What a browser is told to call a file that it downloads (RFC 6266, RFC 8187). Pure."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Final
from urllib.parse import quote

MAX_CHARACTERS: Final = 150
UNSAFE: Final = re.compile(r"[^A-Za-z0-9._ ()+=@-]")
MEDIA_TYPE: Final = re.compile(r"[a-z0-9][a-z0-9.+-]*/[a-z0-9][a-z0-9.+_-]*")


def attachment(name: str) -> str:
    """The header's value: a name that is no path, all printable, once in ASCII and once as it is."""
    name = "".join(c if c.isprintable() and c not in '/\\:*?"<>|' else "_" for c in name).strip(" .")
    path = PurePosixPath(name or "document")
    suffix = path.suffix[:20]
    name = path.name.removesuffix(path.suffix)[:MAX_CHARACTERS] + suffix
    plain = UNSAFE.sub("_", name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def media_type(mime: str) -> str:
    """A type that is one."""
    return mime if MEDIA_TYPE.fullmatch(mime) else "application/octet-stream"
