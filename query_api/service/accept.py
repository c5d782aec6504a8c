"""Decides: which of two kinds of answer a client wants, as the header Accept weighs them (RFC 9110, 12.5.1). Pure.

litestar's own `Accept` takes `q=0` for the last choice and not for a refusal, and fails to let the more specific
range have the word.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

JSON: Final = "application/json"
EVENT_STREAM: Final = "text/event-stream"

_RANGE: Final = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+/[!#$%&'*+.^_`|~0-9a-z-]+")
_WEIGHT: Final = re.compile(r"0(\.[0-9]{0,3})?|1(\.0{0,3})?")
_QUOTED: Final = re.compile(r'"(?:[^"\\]|\\.)*"')


class Weight(NamedTuple):
    """What a header gives a media type: from 0, which refuses it, to 1; `named`: by its whole name."""

    quality: float
    named: bool


def wants_stream(accept: str, *, requested: bool) -> bool:
    """Whether the answer is a stream of events: because the request's body `requested` one and the header does
    not refuse it, or because the header prefers it to JSON, or names it and holds it for as good."""
    ranges = _ranges(accept)
    stream = _weight(ranges, EVENT_STREAM)
    if requested:
        return stream is None or stream.quality > 0
    json = _weight(ranges, JSON) or Weight(0, named=False)
    if stream is None or stream.quality == 0:
        return False
    return stream.quality > json.quality or (stream.quality == json.quality and stream.named)


def _weight(ranges: dict[str, float], media_type: str) -> Weight | None:
    """By the most specific range that holds it; None: by none."""
    for each in (media_type, f"{media_type.partition('/')[0]}/*", "*/*"):
        if each in ranges:
            return Weight(ranges[each], named=each == media_type)
    return None


def _ranges(accept: str) -> dict[str, float]:
    """Media ranges with their weights. What is none is left out; of parameters only the weight counts."""
    ranges: dict[str, float] = {}
    for element in _QUOTED.sub("", accept).lower().split(","):
        name, *parameters = (part.strip() for part in element.split(";"))
        weights = [
            value.strip() for key, _, value in (p.partition("=") for p in parameters) if key.strip() == "q"
        ]
        if _RANGE.fullmatch(name) and all(map(_WEIGHT.fullmatch, weights[:1])):
            quality = float(weights[0]) if weights else 1.0
            ranges[name] = max(quality, ranges.get(name, 0.0))
    return ranges
