"""Counts what a run sent to its model server beyond what it had planned, so that it can be told with the reason."""

from __future__ import annotations

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


class Traffic:
    """Requests and tokens of one run. Safe to use from several threads."""

    def __init__(self) -> None:
        self._planned = self._sent = self._counted = self._billed = 0
        self._reason = ""
        self._unbilled = False
        self._lock = Lock()

    def planned(self, requests: int) -> None:
        with self._lock:
            self._planned += requests

    def sent(self) -> None:
        with self._lock:
            self._sent += 1

    def failed(self, error: ModelError) -> None:
        """The first failure's sentence is told as the reason."""
        with self._lock:
            self._reason = self._reason or str(error)

    def answered(self, counted: int, billed: int | None) -> None:
        """`counted`: tokens by our own count; `billed`: by the server's, None where it does not say."""
        with self._lock:
            if billed is None:
                self._unbilled = True
            else:
                self._counted += counted
                self._billed += billed

    def notes(self) -> Iterator[str]:
        """What was beyond the plan."""
        with self._lock:
            extra = self._sent - self._planned
            reason = f"; the first reason was: {self._reason}" if self._reason else ""
            if extra > max(UNREMARKABLE_REQUESTS, UNREMARKABLE_SHARE * self._planned):
                yield (
                    f"the model server was sent {self._sent:,} requests where {self._planned:,} were planned"
                    f"{reason}"
                )
            if self._billed > UNREMARKABLE_BILL * self._counted:
                yield (
                    f"the model server billed {self._billed:,} tokens for what we count as {self._counted:,}"
                )
            if self._unbilled:
                yield "the model server does not say how many tokens it bills: tokens and cost are our own count"
