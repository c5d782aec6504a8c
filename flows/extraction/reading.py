"""What a reader of one format makes of a file. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Reading:
    """`text` is Markdown; `pages`: the offset in it at which each page begins; `properties`: what the document says
    of itself, by the names of extract.METADATA_KEYS, with `title` and `created_at`."""

    text: str
    properties: dict[str, Any] = field(default_factory=dict)
    pages: tuple[int, ...] = ()
