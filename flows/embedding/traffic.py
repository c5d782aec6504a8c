"""Counts what a run sent to its model server beyond what it had planned, so that it can be told with the reason."""

from __future__ import annotations

from dataclasses import dataclass, replace
from threading import Lock
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgfolio.config.models.protocols import ModelError

UNREMARKABLE_REQUESTS: Final = 3
UNREMARKABLE_SHARE: Final = 0.1
"""So many requests, and so much of the plan, may be retries that nobody needs to know of."""
UNREMARKABLE_BILL: Final = 1.5
"""The server's tokenizer may make so many tokens of one of ours."""


@dataclass(frozen=True, slots=True)
class TrafficCounts:
    """`counted`: tokens by our own count; `billed`: by the server's, of the same answers; `unbilled`: of some it did
    not say. `reason`: of the first request that failed."""

    planned: int = 0
    sent: int = 0
    counted: int = 0
    billed: int = 0
    unbilled: bool = False
    reason: str = ""

    def __add__(self, other: TrafficCounts) -> TrafficCounts:
        """Of several processes together."""
        return TrafficCounts(
            planned=self.planned + other.planned,
            sent=self.sent + other.sent,
            counted=self.counted + other.counted,
            billed=self.billed + other.billed,
            unbilled=self.unbilled or other.unbilled,
            reason=self.reason or other.reason,
        )

    def notes(self) -> Iterator[str]:
        """What was beyond the plan."""
        extra = self.sent - self.planned
        reason = f"; the first reason was: {self.reason}" if self.reason else ""
        if extra > max(UNREMARKABLE_REQUESTS, UNREMARKABLE_SHARE * self.planned):
            yield f"the model server was sent {self.sent:,} requests where {self.planned:,} were planned{reason}"
        if self.billed > UNREMARKABLE_BILL * self.counted:
            yield f"the model server billed {self.billed:,} tokens for what we count as {self.counted:,}"
        if self.unbilled:
            yield "the model server does not say how many tokens it bills: tokens and cost are our own count"


class Traffic:
    """Requests and tokens of one embedder. Safe to use from several threads."""

    def __init__(self) -> None:
        self._counts = TrafficCounts()
        self._lock = Lock()

    @property
    def counts(self) -> TrafficCounts:
        return self._counts

    def planned(self, requests: int) -> None:
        with self._lock:
            self._counts = replace(self._counts, planned=self._counts.planned + requests)

    def sent(self) -> None:
        with self._lock:
            self._counts = replace(self._counts, sent=self._counts.sent + 1)

    def failed(self, error: ModelError) -> None:
        """The first failure's sentence is told as the reason."""
        with self._lock:
            self._counts = replace(self._counts, reason=self._counts.reason or str(error))

    def answered(self, counted: int, billed: int | None) -> None:
        """`counted`: tokens by our own count; `billed`: by the server's, None where it does not say."""
        with self._lock:
            if billed is None:
                self._counts = replace(self._counts, unbilled=True)
            else:
                self._counts = replace(
                    self._counts, counted=self._counts.counted + counted, billed=self._counts.billed + billed
                )
