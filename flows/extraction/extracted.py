"""What extraction makes of a file, or why it can make nothing of it. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from pgfolio.flows.extraction.decode import clean
from pgfolio.flows.extraction.metadata import created, owner

if TYPE_CHECKING:
    from datetime import datetime

    from pgfolio.schema.markdown import Span


class Unextractable(Exception):  # noqa: N818 - the name says what happened
    """This file cannot be read, now or later, until it or (transient) the machine is changed. The message says
    how."""

    def __init__(self, message: str, *, transient: bool = False) -> None:
        super().__init__(message)
        self.transient = transient


class NothingToRead(Unextractable):
    """This file is none that we read, or is empty: no failure."""


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
    incomplete: str = ""
    """What of the file did not arrive, in a sentence; empty: nothing is known to lack."""
    file_offset: int | None = None
    """Characters of the file before `text`; None: the file's characters are not the text's, as in a PDF."""
    crlf: tuple[Span, ...] = ()
    """Parts of `text` whose lines end with two characters in the file."""


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


def one_line(text: str) -> str:
    """Without the repetitions of nested errors ("a: b: a: b") and not longer than a line."""
    parts = dict.fromkeys(part.strip() for part in re.split(r":\s+", clean(text)))
    return " ".join(": ".join(parts).split())[:200]
