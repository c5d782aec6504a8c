"""Decides: which chunks are a prompt's context, and which of them an answer's markers mean. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgfolio.query_api.retrieval.results import date_of, display_title
from pgfolio.schema.markdown import code_spans

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pgfolio.schema.search.vector import Hit

MIN_DOCUMENT_TOKENS = 50
"""Tokens of a document: less says nothing."""

FENCE_TOKENS = 40
"""Tokens of a document's number, title, date and heading."""

_TAG = re.compile(r"<(\s*/?\s*documents?\b)", re.IGNORECASE)
_MARKERS = re.compile(
    r"(?<!\])(?:[\[\u3010\uff3b](?:documents?\s+)?\d{1,3}(?:\s*[,;\u3001\uff0c\u2013-]\s*\d{1,3})*[\]\u3011\uff3d])+(?!\()",
    re.IGNORECASE,
)
"""`[1]`, `[1][2]`, `[1, 2]`, `[1-3]`, `[Document 1]`, also in the brackets of Chinese and Japanese."""
_NUMBERS = re.compile(r"(\d+)(?:\s*[\u2013-]\s*(\d+))?")
_STOP = re.compile(r"(?<=[.!?])\s+|(?<=[\u3002\uff01\uff1f])|\n+")


@dataclass(frozen=True, slots=True)
class Claim:
    """A statement of the answer, without its markers, and a chunk's number that it cites."""

    marker: int
    text: str


def pack(hits: Sequence[Hit], tokens: Sequence[int], budget: int) -> tuple[str, list[Hit]]:
    """The chunks, of so many tokens each, as numbered, fenced data, the best first, and those that found room. The
    last one is cut where it does not fit."""
    included: list[Hit] = []
    texts: list[str] = []
    room = budget
    for hit, size in zip(hits, tokens, strict=True):
        room -= FENCE_TOKENS
        if room < min(size, MIN_DOCUMENT_TOKENS):
            break
        included.append(hit)
        characters = len(hit.content) if size <= room else len(hit.content) * room // size
        texts.append(_fenced(len(included), hit, characters))
        room -= size
    return "\n".join(texts), included


def claims(answer: str, documents: int) -> Iterator[Claim]:
    """What the answer cites, in its order: each marker belongs to the sentence that ends before it or that it
    stands in. A number that no document has is no citation, and neither is an index in code."""
    code = code_spans(answer)
    for match in _MARKERS.finditer(answer):
        if any(start < match.start() < end for start, end in code):
            continue
        before = _MARKERS.sub("", answer[: match.start()]).rstrip()
        text = _STOP.split(before)[-1].strip()
        for number in dict.fromkeys(_numbers(match.group())):
            if 1 <= number <= documents:
                yield Claim(number, text)


def _numbers(marker: str) -> Iterator[int]:
    for first, last in _NUMBERS.findall(marker):
        yield from range(int(first), int(last or first) + 1)


def _fenced(number: int, hit: Hit, characters: int) -> str:
    """A document cannot end its own fence: what looks like our tags in it is written otherwise."""
    heading = f' section="{_attribute(hit.heading)}"' if hit.heading else ""
    dated = date_of(hit.created_at, hit.updated_at)
    date = f' date="{dated}"' if dated else ""
    title = _attribute(display_title(hit.title, hit.path))
    opening = f'<document number="{number}" title="{title}"{date}{heading}>'
    return f"{opening}\n{_TAG.sub(_escape, hit.content[:characters])}\n</document>"


def _escape(match: re.Match[str]) -> str:
    return "&lt;" + match.group(1)


def _attribute(text: str) -> str:
    return " ".join(text.replace('"', "'").replace("<", "(").replace(">", ")").split())[:200]
