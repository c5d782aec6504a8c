"""A question to the documents, and what is found: the values that retrieval passes on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgfolio.query_api.explain.explanation import Trace
    from pgfolio.query_api.retrieval.fusion import Fusion
    from pgfolio.schema.search.conditions import Condition
    from pgfolio.schema.search.vector import Hit

Mode = Literal["hybrid", "vector", "lexical"]


class UnknownCollectionError(Exception):
    """A question within a collection that is not there; the message names it and those that are."""


@dataclass(frozen=True, slots=True)
class Query:
    """What is looked for, checked already. None leaves a choice to the settings. `neighbors`: so many chunks before
    and after each result belong to its passage."""

    text: str
    limit: int = 5
    mode: Mode = "hybrid"
    collections: tuple[str, ...] | None = None
    condition: Condition | None = None
    min_similarity: float | None = None
    exact: bool = False
    ef_search: int | None = None
    fusion: Fusion | None = None
    vector_weight: float | None = None
    rerank: bool = False
    neighbors: int = 0


class Found(Struct, frozen=True):
    """A chunk, what it is ranked by, and the better result that it repeats, if it does."""

    hit: Hit
    score: float
    repeats: int | None = None


@dataclass(frozen=True, slots=True)
class Retrieved:
    """The best chunks first. `complete` is false when fewer than the limit came back although more may match."""

    trace: Trace
    found: Sequence[Found] = ()
    complete: bool = True
    space: str | None = None
