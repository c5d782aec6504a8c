"""What is sent together: bounds of one request, batches of texts within them, and what stands for a vector that
there is not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import TypeAlias

    import numpy as np


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one request may hold, and how many seconds of failing it may be tried."""

    inputs: int
    tokens: int
    deadline: float


@dataclass(frozen=True, slots=True)
class RejectedInput:
    """What stands in a vector's place when there is none. `transient`: another run may get one."""

    reason: str
    transient: bool = False


@dataclass(frozen=True, slots=True)
class Postponed:
    """What stands in a vector's place when the allowed cost did not cover it."""


POSTPONED: Final = Postponed()


@dataclass(frozen=True, slots=True)
class HandedIn:
    """What stands in a vector's place as long as it is to come from a batch: asked for now it would be paid twice."""


HANDED_IN: Final = HandedIn()

if TYPE_CHECKING:
    EmbeddingOutcome: TypeAlias = np.ndarray | RejectedInput | Postponed | HandedIn
    OnEmbedded: TypeAlias = Callable[[Sequence[int], list[np.ndarray]], None]


@dataclass
class EmbedCall:
    """The texts of one call of `embed`, and what came of them so far."""

    texts: Sequence[str]
    tokens: Sequence[int]
    on_embedded: OnEmbedded | None
    results: list[EmbeddingOutcome]


@dataclass
class Halved:
    """A request that was refused as too large; `unanswered`: of its halves."""

    tokens: int
    unanswered: int = 2


@dataclass
class RequestBatch:
    """Positions of texts that are sent together; answered ones leave it. `of`: what it is a half of, where that was
    refused as too large."""

    positions: list[int]
    half: bool = False
    of: Halved | None = None


class RequestBounds:
    """What one request may hold: as the settings say, and less where the server said or showed that it takes less."""

    def __init__(self, bounds: Bounds) -> None:
        self.inputs = bounds.inputs
        self.tokens = bounds.tokens

    def refused_inputs(self, max_inputs: int) -> None:
        """The server named the most that it takes."""
        self.inputs = min(self.inputs, max_inputs)

    def answered(self, batch: RequestBatch) -> None:
        """When both halves of what was too large are answered, it was no single text that was: from then on less is
        sent than it was."""
        if batch.of is not None:
            batch.of.unanswered -= 1
            if not batch.of.unanswered:
                self.tokens = min(self.tokens, max(batch.of.tokens - 1, 1))


def batch_slices(tokens: Sequence[int], max_inputs: int, max_tokens: int) -> Iterator[tuple[int, int]]:
    """Slices (start, end) over texts of these lengths, each within both bounds. A text that is over the bound
    for tokens stands alone."""
    start = total = 0
    for end, count in enumerate(tokens):
        if end > start and (end - start >= max_inputs or total + count > max_tokens):
            yield start, end
            start, total = end, 0
        total += count
    if start < len(tokens):
        yield start, len(tokens)
