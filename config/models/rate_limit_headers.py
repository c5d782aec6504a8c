"""Reads what a server tells of its rate limits: Retry-After and the x-ratelimit headers of OpenAI's API."""

from __future__ import annotations

import re
import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

from pgfolio.config.models.protocols import RateLimits

if TYPE_CHECKING:
    from collections.abc import Mapping

SECONDS: Final = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
KINDS: Final = ("requests", "tokens")
MINUTE: Final = 61.0
"""A limit that takes longer than this to be whole again is not one for a minute."""


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the server asks to wait: `retry-after-ms`, or Retry-After in seconds or as a date."""
    if (milliseconds := _number(headers.get("retry-after-ms"))) is not None:
        return milliseconds / 1000
    text = headers.get("retry-after")
    if text is None or (seconds := _number(text)) is not None:
        return None if text is None else seconds
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (TypeError, ValueError):
        return None


def rate_limits(headers: Mapping[str, str], *, rejected: bool = False) -> RateLimits | None:
    """What the x-ratelimit headers say, or None without any. `rejected`: they came with a 429, so that one of the
    limits is used up even if a little of it remains."""
    limits, resets, remaining_share = {}, {}, {}
    by_kind: dict[str, tuple[float, int]] = {}
    for kind in KINDS:
        limits[kind] = int(_number(headers.get(f"x-ratelimit-limit-{kind}")) or 0)
        resets[kind] = _duration(headers.get(f"x-ratelimit-reset-{kind}"))
        remaining = _number(headers.get(f"x-ratelimit-remaining-{kind}"))
        if remaining is not None:
            remaining_share[kind] = remaining / max(limits[kind], 1)
            by_kind[kind] = remaining, limits[kind]
    if not any(limits.values()) and not any(resets.values()) and not remaining_share:
        return None
    spent = [kind for kind, part in remaining_share.items() if part <= 0]
    if rejected and not spent:
        spent = [min(remaining_share, key=remaining_share.__getitem__)] if remaining_share else list(KINDS)
    minute = {kind: limits[kind] if resets[kind] <= MINUTE else 0 for kind in KINDS}
    return RateLimits(
        minute["requests"], minute["tokens"], max((resets[kind] for kind in spent), default=0.0), by_kind
    )


def _number(text: str | None) -> float | None:
    try:
        return max(0.0, float(text)) if text else None
    except ValueError:
        return None


def _duration(text: str | None) -> float:
    """Seconds of "1s", "6m0s", "120ms", "1h2m3.5s" or a bare number; 0 when it cannot be read."""
    if (seconds := _number(text)) is not None:
        return seconds
    parts = re.findall(r"([\d.]+)(ms|[dhms])", text or "")
    try:
        return sum(float(number) * SECONDS[unit] for number, unit in parts)
    except ValueError:
        return 0.0
