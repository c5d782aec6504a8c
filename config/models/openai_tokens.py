"""Tokens as OpenAI's embedding models count them, from the vocabulary that `semantic-text-splitter` has inside:
nothing is fetched. It tells only whether a text fits into so many tokens, so the number is looked for, to about one
part in 64: for a sample of texts, from which the bill of all is told, that is enough."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from semantic_text_splitter import TextSplitter

VOCABULARIES: Final = ("text-embedding-3-small", "text-embedding-3-large", "text-embedding-ada-002")
PRECISION: Final = 64


def billed_per_counted(model: str, texts: Sequence[tuple[str, int]]) -> float | None:
    """Tokens of the model's own for one of ours, over texts with their tokens by our count; None: its vocabulary is
    not known, or there are no texts."""
    counted = sum(tokens for _, tokens in texts)
    if model not in VOCABULARIES or not counted:
        return None
    return sum(_count(text, tokens) for text, tokens in texts) / counted


def _count(text: str, guess: int) -> int:
    low, high = 0, max(guess, 2)
    while not _fits(text, high):
        low, high = high, 2 * high
    while high - low > max(1, high // PRECISION):
        middle = (low + high) // 2
        low, high = (low, middle) if _fits(text, middle) else (middle, high)
    return (low + high + 1) // 2


def _fits(text: str, tokens: int) -> bool:
    return len(_splitter(tokens).chunks(text)) <= 1


@cache
def _splitter(tokens: int) -> TextSplitter:
    """Made at once: the vocabulary is loaded with the first."""
    from semantic_text_splitter import TextSplitter  # noqa: PLC0415 -- slow to import

    return TextSplitter.from_tiktoken_model(VOCABULARIES[0], tokens, trim=False)
