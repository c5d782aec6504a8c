"""An answer without a chat model: what of the passages found holds the fact that a question asks for, quoted.

Each sentence, row and line is weighed with what it is about, its context: the sentence that echoes a question is
seldom the one that answers it. What an answer must be about, years, versions and names, is a condition.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Final

from pgfolio.query_api.answering.citations import Quote
from pgfolio.query_api.answering.expected import expected_answer
from pgfolio.query_api.answering.quotable import quotable
from pgfolio.query_api.answering.ranking import Evidence, PassageCandidate, best_passages
from pgfolio.query_api.answering.similarity import WORD
from pgfolio.query_api.answering.structured import STEM_LETTERS, cells_in_words
from pgfolio.query_api.retrieval.results import date_of, display_title
from pgfolio.schema.search import hits as stored
from pgfolio.schema.search import lexical
from pgfolio.schema.search.pool import in_snapshot

MAX_CANDIDATES: Final = 120
"""Passages that are weighed."""

MAX_TITLE_CHARACTERS: Final = 120
"""Of the line above a table that is its title."""

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgfolio.query_api.answering.sentences import QuotablePassage
    from pgfolio.schema.database.connect import AsyncConnection
    from pgfolio.schema.markdown import Span
    from pgfolio.schema.search.access import Permitted
    from pgfolio.schema.search.pool import Pool
    from pgfolio.schema.search.vector import Hit


async def read_evidence(pool: Pool, question: str, hits: Sequence[Hit], permitted: Permitted) -> Evidence:
    """What the hits can be quoted with, and the words of it, in one snapshot."""
    return await in_snapshot(pool, partial(_read, question=question, hits=hits, permitted=permitted))


def select_quotes(question: str, evidence: Evidence, threshold: float) -> tuple[list[Quote], bool]:
    """What answers, the best first, and whether the documents contradict each other; none: nothing does. Each chunk
    has a marker of its own."""
    selection = best_passages(question, expected_answer(question), evidence, threshold)
    markers = {chunk: n for n, chunk in enumerate(dict.fromkeys(c.chunk for c in selection.passages), 1)}
    quotes = [Quote(markers[c.chunk], c.chunk, c.passage) for c in selection.passages]
    return quotes, selection.contradictory


def written(question: str, quotes: Sequence[Quote], dated: Sequence[Hit] = ()) -> str:
    """The quotes one after the other, each with its markers; of a table's row the cells that are asked for, each with
    its head, and the table's title, which has the units. `dated`: all hits, for each quote to have its document's
    date."""
    markers: dict[str, list[int]] = {}
    for quote in quotes:
        text = _display_text(question, quote.passage)
        text += f" ({_date(dated[quote.hit])})" if dated else ""
        markers.setdefault(text, []).append(quote.marker)
    return "\n\n".join(
        f"{text} {''.join(f'[{marker}]' for marker in dict.fromkeys(of))}" for text, of in markers.items()
    )


def _date(hit: Hit) -> str:
    return date_of(hit.created_at, hit.updated_at)


def _display_text(question: str, passage: QuotablePassage) -> str:
    if passage.shape != "row":
        return passage.text
    title = passage.context[0].strip()
    cells = cells_in_words(question, passage)
    return f"{cells} ({title})" if title and len(title) <= MAX_TITLE_CHARACTERS else cells


async def _read(
    connection: AsyncConnection, *, question: str, hits: Sequence[Hit], permitted: Permitted
) -> Evidence:
    idf = await lexical.idf_of_words(connection, question, permitted)
    code = await stored.read_code_blocks(connection, hits, permitted)
    headers = [f"{display_title(hit.title, hit.path)}\n{hit.heading}" for hit in hits]
    passages = await asyncio.to_thread(_likely, question, hits, code)
    chunks = [f"{header}\n{hit.content}" for header, hit in zip(headers, hits, strict=True)]
    parts = [(i, text) for i, passage in passages for text in (passage.text, *passage.context)]
    texts = dict.fromkeys([*parts, *enumerate(headers), *enumerate(chunks)])
    rows = [(hits[i].chunk_id, text) for i, text in texts]
    words = dict(zip(texts, await lexical.lexemes(connection, rows, permitted), strict=True))
    return Evidence(
        idf=idf,
        headers=headers,
        chunks=[(chunk, words[i, chunk]) for i, chunk in enumerate(chunks)],
        documents=[hit.document_id for hit in hits],
        candidates=[
            PassageCandidate(
                i,
                passage,
                words[i, passage.text],
                words[i, headers[i]].union(*(words[i, text] for text in passage.context)),
            )
            for i, passage in passages
        ],
    )


def _likely(
    question: str, hits: Sequence[Hit], code: Sequence[Sequence[Span] | None]
) -> list[tuple[int, QuotablePassage]]:
    """Of what can be quoted those that have most of the question's words, or their beginnings, with their context:
    the others need not be weighed."""
    passages = _passages(hits, code)
    if len(passages) <= MAX_CANDIDATES:
        return passages
    stems = {word[:STEM_LETTERS] for word in WORD.findall(question.casefold()) if len(word) >= STEM_LETTERS}
    shared = [
        len(stems & {word[:STEM_LETTERS] for word in WORD.findall(f"{p.text}\n{p.context}".casefold())})
        for _, p in passages
    ]
    best = sorted(range(len(passages)), key=lambda i: (-shared[i], i))[:MAX_CANDIDATES]
    return [passages[i] for i in sorted(best)]


def _passages(
    hits: Sequence[Hit], code: Sequence[Sequence[Span] | None]
) -> list[tuple[int, QuotablePassage]]:
    return [
        (place, passage)
        for place, (hit, blocks) in enumerate(zip(hits, code, strict=True))
        for passage in quotable(hit.path, hit.content, blocks)
    ]
