"""A question to the documents, and what is found: the values that retrieval passes on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from msgspec import Meta

from pgfolio.config.errors import WrongUsageError

if TYPE_CHECKING:
    from pgfolio.query_api.retrieval.fusion import Fusion
    from pgfolio.schema.search.conditions import Condition

Mode = Literal["hybrid", "vector", "lexical"]

MAX_QUESTION_CHARACTERS = 4000
QuestionText = Annotated[str, Meta(min_length=1, max_length=MAX_QUESTION_CHARACTERS, pattern=r"\S")]
"""What a question may be, over HTTP, in the terminal and in a file of labelled queries."""


MAX_PER_DOCUMENT = 3
"""Results of one document where the question does not say: one long page would take all places."""


class UnknownCollectionError(WrongUsageError):
    """A question within a collection that is not there; the message names it and those that are."""


@dataclass(frozen=True, slots=True)
class Query:
    """What is looked for, checked already. None leaves a choice to the settings. `neighbors`: so many chunks before
    and after each result belong to its passage; `max_per_document`: so many results may be of one document."""

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
    max_per_document: int | None = MAX_PER_DOCUMENT
    """None: any number."""
    exact_words: bool = False
    """No word is corrected."""
