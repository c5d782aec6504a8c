"""How many bytes of bodies all requests of a process may have sent that are not answered yet: clients that send
slowly, or stop in the middle, fill neither the memory nor the disk."""

from __future__ import annotations

from typing import Final

MEGABYTE: Final = 1024 * 1024

MAX_BODIES_MB: Final = 64
"""Of requests other than pushes, whose bodies are held in memory: of the largest 64, of usual ones many thousands."""

RETRY_SECONDS: Final = 5.0


class TooMuchUnderWayError(Exception):
    """More is being sent than there is room for."""

    def __init__(self, megabytes: int) -> None:
        super().__init__(
            f"requests of {megabytes} MB are being sent already: send this one again in a moment"
        )
        self.retry_after = RETRY_SECONDS


class BodyBudget:
    """Counts the bytes of one kind of requests."""

    def __init__(self, megabytes: int) -> None:
        self._megabytes = megabytes
        self.taken = 0

    def take(self, size: int) -> None:
        """Raises TooMuchUnderWayError."""
        if self.taken + size > self._megabytes * MEGABYTE:
            raise TooMuchUnderWayError(self._megabytes)
        self.taken += size

    def give_back(self, size: int) -> None:
        self.taken -= size
