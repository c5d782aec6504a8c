"""What a run reports to a display while it goes on."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Iterator


def duration(seconds: float) -> str:
    """For people."""
    if seconds < 100:
        return f"{seconds:.0f} s" if seconds >= 1 else "a second"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


class Progress(Protocol):
    """What a display can show of a run."""

    def stage(self, text: str) -> None: ...

    def begin(self, files: int) -> None: ...

    def advance(self, files: int, chunks: int) -> None: ...


class NullProgress:
    """The progress of a run that nobody watches."""

    def stage(self, text: str) -> None: ...

    def begin(self, files: int) -> None: ...

    def advance(self, files: int, chunks: int) -> None: ...


_current_display: ContextVar[Progress | None] = ContextVar("current_display", default=None)


@contextmanager
def displayed_on(display: Progress) -> Iterator[None]:
    """Flows that are run in this process inside show what they do on this display."""
    token = _current_display.set(display)
    try:
        yield
    finally:
        _current_display.reset(token)


def current_display() -> Progress | None:
    """The display set by `displayed_on`. Behind a function: prefect pickles what a flow's module names, and a
    ContextVar cannot be."""
    return _current_display.get()


@runtime_checkable
class ShowsBuild(Protocol):
    """A display that also shows how much of an index is built: a part from 0 to 1."""

    def built(self, part: float) -> None: ...


@runtime_checkable
class ShowsSpending(Protocol):
    """A display that also shows what the model server bills."""

    def spent(self, tokens: int, cost_usd: float) -> None: ...
