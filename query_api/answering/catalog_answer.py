"""Answers questions about the documents themselves from the catalog: which there are, how many, the latest."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from pgfolio.query_api.answering.records import Answer, AnswerSource
from pgfolio.query_api.answering.similarity import coverage
from pgfolio.query_api.retrieval.results import date_of, display_title
from pgfolio.schema.search import catalog, lexical
from pgfolio.schema.search.catalog import DatedDocument
from pgfolio.schema.search.pool import in_snapshot

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pgfolio.query_api.answering.catalog_question import CatalogQuestion, Order
    from pgfolio.query_api.retrieval.query import Query
    from pgfolio.schema.database.connect import AsyncConnection
    from pgfolio.schema.search.access import Permitted
    from pgfolio.schema.search.pool import Pool
    from pgfolio.schema.search.vector import Hit

NOTE: Final = "answered from the catalog of documents, not from what they say"
MAX_ABOUT: Final = 50
"""Documents that are looked at for a topic."""

MAX_LISTED: Final = 10
MAX_LATEST: Final = 4
MIN_COVERAGE: Final = 0.75
"""Of a topic's words, by their idf, that what is about it has."""


@dataclass(frozen=True, slots=True)
class Selected:
    """`count` documents, the first of which are `documents`; `collections`: of each how many."""

    documents: Sequence[DatedDocument]
    count: int
    collections: dict[str, int]


async def answer_from_catalog(
    pool: Pool, question: CatalogQuestion, query: Query, hits: Sequence[Hit], permitted: Permitted
) -> Answer | None:
    """`hits`: of the topic, one a document. None: there is no such document; what documents say may answer."""
    select = _about if question.topic or question.kind else _of_all
    selected = await in_snapshot(
        pool, partial(select, question=question, query=query, hits=hits, permitted=permitted)
    )
    if not selected.count:
        return None
    similarities = {hit.document_id: hit.similarity for hit in hits}
    return Answer(
        text=written(question, selected),
        answered=True,
        mode="extractive",
        sources=[
            AnswerSource(d.id, display_title(d.title, d.path), d.path, round(similarities.get(d.id, 0.0), 6))
            for d in selected.documents
        ],
        notes=(NOTE,),
    )


def written(question: CatalogQuestion, selected: Selected) -> str:
    """The sentence that answers, and a list of documents with their dates."""
    what, lines = _summary(question, selected), [_line(d) for d in selected.documents]
    if question.order in {"latest", "oldest"}:
        first, *others = lines
        answer = f"From the catalog: {question.order} of {what}:\n\n{first}"
        return (
            "\n".join([answer, f"\n{'Before' if question.order == 'latest' else 'After'} it:", *others])
            if others
            else answer
        )
    there = f"From the catalog: there {'is' if selected.count == 1 else 'are'} {what}."
    if question.order == "counted":
        return there
    rest = selected.count - len(lines)
    return "\n".join([f"{there}\n", *lines, *([f"- and {rest:,} more"] if rest else [])])


async def _of_all(
    connection: AsyncConnection,
    *,
    question: CatalogQuestion,
    query: Query,
    hits: Sequence[Hit],
    permitted: Permitted,
) -> Selected:
    del hits
    counts = await catalog.count_documents(
        connection, permitted, collections=query.collections, condition=query.condition
    )
    documents = await catalog.dated_documents(
        connection,
        _limit(question.order),
        permitted,
        oldest=question.order == "oldest",
        collections=query.collections,
        condition=query.condition,
    )
    return Selected(documents, sum(counts.values()), counts)


async def _about(
    connection: AsyncConnection,
    *,
    question: CatalogQuestion,
    query: Query,
    hits: Sequence[Hit],
    permitted: Permitted,
) -> Selected:
    """Those with most of the topic's words; of a kind where any of them has its name in title, path or heading."""
    del query
    idf = await lexical.idf_of_words(connection, question.topic or question.kind, permitted)
    texts = [
        (hit.chunk_id, f"{display_title(hit.title, hit.path)}\n{hit.heading}\n{hit.content}") for hit in hits
    ]
    words = await lexical.lexemes(connection, texts, permitted)
    about = [hit for hit, own in zip(hits, words, strict=True) if coverage(idf, own) >= MIN_COVERAGE]
    if question.kind:
        about = [hit for hit in about if _is_of_kind(hit, question.kind)] or about
    documents = [
        DatedDocument(hit.document_id, hit.title, hit.path, hit.created_at, hit.updated_at)
        for hit in about
        if hit.updated_at is not None
    ]
    ordered = _ordered(documents, question.order)
    return Selected(ordered[: _limit(question.order)], len(documents), {})


def _is_of_kind(hit: Hit, kind: str) -> bool:
    named = f"{hit.title or ''} {hit.path} {hit.heading}".casefold().replace("-", " ").replace("_", " ")
    return kind in named


def _ordered(documents: Iterable[DatedDocument], order: Order) -> list[DatedDocument]:
    if order not in {"latest", "oldest"}:
        return list(documents)
    return sorted(documents, key=lambda d: d.created_at or d.updated_at, reverse=order == "latest")


def _limit(order: Order) -> int:
    return MAX_LATEST if order in {"latest", "oldest"} else MAX_LISTED


def _summary(question: CatalogQuestion, selected: Selected) -> str:
    """As "12 reports about rail steel", or "1,293 documents in 2 collections (kitchen 93, manual 1,200)"."""
    plural = "" if selected.count == 1 else "s"
    noun = f"{question.kind or 'document'}{plural}"
    least = "at least " if selected.count == MAX_ABOUT and question.topic else ""
    about = f" about {question.topic}" if question.topic else ""
    names = ", ".join(f"{name} {count:,}" for name, count in selected.collections.items())
    where = f" in {len(selected.collections)} collections ({names})" if len(selected.collections) > 1 else ""
    the = "the " if question.order in {"latest", "oldest"} else ""
    return f"{the}{least}{selected.count:,} {noun}{about}{where}"


def _line(document: DatedDocument) -> str:
    title = display_title(document.title, document.path)
    named = document.path if title == document.path.rsplit("/", 1)[-1] else f"{title} ({document.path})"
    return f"- {named}, {date_of(document.created_at, document.updated_at)}"
