"""One text of a batch, and the name of its line: whoever reads the answer needs nothing else to know whose it is.
Pure."""

from __future__ import annotations

import base64
import binascii
from typing import NamedTuple


class BatchText(NamedTuple):
    """`hash`: of the text as embedded, without the space's prefix; `text`: with it; `tokens`: by our own count."""

    hash: bytes
    text: str
    tokens: int


def custom_id(space_id: int, text_hash: bytes) -> str:
    """At most 64 characters, of which no server needs to escape one."""
    return f"{space_id}-{base64.urlsafe_b64encode(text_hash).decode().rstrip('=')}"


def hash_of(space_id: int, custom_id: str) -> bytes | None:
    """None: it is no line of this space."""
    space, _, encoded = custom_id.partition("-")
    if space != str(space_id):
        return None
    try:
        return base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
