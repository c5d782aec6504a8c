"""Decides: where a document's page is for whoever reads an answer. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

if TYPE_CHECKING:
    from pgfolio.query_api.answering.records import Citation
    from pgfolio.query_api.service.requests import AnyRequest

_HOST: Final = re.compile(r"[\w.-]+(:\d{1,5})?|\[[0-9a-fA-F:.]+\](:\d{1,5})?", re.ASCII)


def base_url(request: AnyRequest, public_url: str) -> str:
    """What links begin with: `public_url`, or where the client reached this server; "" where it does not say."""
    if public_url:
        return public_url.rstrip("/")
    host = request.headers.get("host", "")
    return f"{request.scope['scheme']}://{host}" if _HOST.fullmatch(host) else ""


def document_url(base: str, document_id: int, start: int | None = None, end: int | None = None) -> str:
    """The page of a document, at a passage of its stored text where that is given."""
    place = "" if start is None or end is None else f"?start={start}&end={end}"
    return f"{base}/d/{document_id}{place}"


def linked(citation: Citation, base: str) -> Citation:
    """With where its quote is to be seen; of one that does not stand in the text, its document."""
    place = (citation.start, citation.end) if citation.verified else (None, None)
    return replace(citation, url=document_url(base, citation.document_id, *place))


def passage_label(path: str, page: int | None, text: str = "", max_characters: int = 60) -> str:
    """`path, p. 3: first words`, in one line."""
    words = " ".join(text.split())
    first = words if len(words) <= max_characters else f"{words[:max_characters].rsplit(' ', 1)[0]}…"
    return f"{path}{f', p. {page}' if page is not None else ''}{f': {first}' if first else ''}"
