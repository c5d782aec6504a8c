"""Decides: which names of a filter would find nothing by mistake. Pure.

What every result or document shows, and no filter knows, is asked for in another place: to look for a key of that
name in the metadata instead, which hardly any document has, would be an empty answer without a reason.
"""

from __future__ import annotations

from typing import Final

_COLLECTION: Final = "name them in the request's `collections` (GET /documents: `collection`)"
_DOCUMENT: Final = "GET /documents/ID reads one; a filter knows documents by `path`"
_CHUNK: Final = "GET /documents/ID shows a document's chunks with theirs"
_SCORE: Final = "`min_similarity` bounds what is found"
_TEXT: Final = "put words of it into the `query` or `question`"
_LIST: Final = "GET /documents shows it"

ELSEWHERE: Final = {
    "collection": _COLLECTION,
    "collections": _COLLECTION,
    "id": _DOCUMENT,
    "document_id": _DOCUMENT,
    "chunk_id": _CHUNK,
    "page": _CHUNK,
    "start": _CHUNK,
    "end": _CHUNK,
    "file_start": _CHUNK,
    "file_end": _CHUNK,
    "score": _SCORE,
    "similarity": _SCORE,
    "repeats": "results name there the better one that says the same",
    "content": _TEXT,
    "heading": _TEXT,
    "content_hash": _LIST,
    "chunk_count": _LIST,
    "state": _LIST,
    "synced_at": _LIST,
    "metadata": "write `metadata.KEY` for one of its keys",
}
"""By what stands in results and documents and is no field of a filter: where it is asked for."""


def elsewhere(name: str) -> str | None:
    """What to do instead of filtering by a field; None for one that a filter has."""
    if name not in ELSEWHERE:
        return None
    return (
        f"{name!r} is no field of a filter: {ELSEWHERE[name]}. A key of the metadata with this name is "
        f"`metadata.{name}`"
    )
