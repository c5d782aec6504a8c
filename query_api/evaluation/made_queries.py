"""`eval --make N`: labelled queries made from the corpus itself, for who has none: titles, headings and sentences of
which a third of the words are left out, each with the document that has it.

They tell settings and models apart on one's own documents. What people ask is in other words than the documents':
absolute figures are too good.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Final

from pgfolio.query_api.answering.sentences import passages
from pgfolio.query_api.evaluation.evaluate import EvaluationInputError, LabelledQuery
from pgfolio.query_api.services import open_services
from pgfolio.schema.database.connect import database
from pgfolio.schema.search.catalog import sample_documents
from pgfolio.schema.search.pool import in_snapshot

if TYPE_CHECKING:
    from pgfolio.config.settings import Settings
    from pgfolio.schema.search.catalog import SampledDocument

SEED: Final = 1
MIN_WORDS, MAX_WORDS = 6, 40
"""Of a sentence that makes a query."""

MIN_NAME_WORDS: Final = 2
"""Of a title or a heading: one word is of many documents."""

OMITTED: Final = 3
"""Every third word of a sentence is left out."""


def make_queries(settings: Settings, count: int) -> list[LabelledQuery]:
    """At most `count`, fewer where the corpus has fewer documents that give one; the same each time. Raises
    EvaluationInputError, DatabaseError."""
    with database(settings, pooled=True) as conninfo:
        sampled = asyncio.run(_sample(settings, conninfo, 2 * count))
    made: dict[str, LabelledQuery] = {}
    for place, document in enumerate(sampled):
        text = query_of(document, place)
        if text and len(made) < count:
            made.setdefault(text.casefold(), LabelledQuery(text, {document.path: 1}))
    if not made:
        raise EvaluationInputError("no document has a title, a heading or a sentence that makes a query")
    return list(made.values())


def query_of(document: SampledDocument, place: int) -> str:
    """From a title, a heading or a sentence, in turn; "" where there is none. Pure."""
    heading = document.heading.rpartition(" > ")[2]
    title = document.title if document.title and document.titled == 1 else ""
    names = [name for name in (title, heading) if len(name.split()) >= MIN_NAME_WORDS]
    sentences = [
        passage.text
        for passage in passages(document.content)
        if passage.is_complete and MIN_WORDS <= len(passage.text.split()) <= MAX_WORDS
    ]
    kinds = [*names, *(_shortened(sentence) for sentence in sentences[:1])]
    return kinds[place % len(kinds)] if kinds else ""


def _shortened(sentence: str) -> str:
    words = sentence.rstrip(".!?").split()
    return " ".join(word for place, word in enumerate(words, 1) if place % OMITTED)


async def _sample(settings: Settings, conninfo: str, limit: int) -> list[SampledDocument]:
    async with open_services(settings, conninfo) as services:
        read = partial(sample_documents, seed=SEED, limit=limit, permitted=None)
        return await in_snapshot(services.retriever.pool, read)
