"""Citations: the passage of a chunk that a claim rests on, compared with the stored text."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from pgfolio.query_api.answering.records import Citation
from pgfolio.query_api.answering.sentences import QuotablePassage, excerpt, passages
from pgfolio.query_api.answering.similarity import support
from pgfolio.query_api.retrieval.results import display_title
from pgfolio.schema.search import hits as stored
from pgfolio.schema.search.pool import in_snapshot

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgfolio.query_api.answering.prompt_context import Claim
    from pgfolio.schema.markdown import Span
    from pgfolio.schema.search.access import Permitted
    from pgfolio.schema.search.pool import Pool
    from pgfolio.schema.search.vector import Hit


class Quote(NamedTuple):
    """A passage of one of the hits, by the hit's index, under an answer's marker."""

    marker: int
    hit: int
    passage: QuotablePassage


def supporting_quotes(
    claims: Sequence[Claim], context_hits: Sequence[Hit], code: Sequence[Sequence[Span] | None]
) -> list[Quote]:
    """For each claim the passage of its chunk that it rests on; the same passage once for a marker."""
    quotes: dict[tuple[int, int], Quote] = {}
    for claim in claims:
        index = claim.marker - 1
        hit = context_hits[index]
        passage = support(claim.text, passages(hit.content, code[index])) or excerpt(
            hit.content, hit.header_length
        )
        quotes.setdefault((claim.marker, passage.start), Quote(claim.marker, index, passage))
    return list(quotes.values())


async def checked_citations(
    pool: Pool, hits: Sequence[Hit], quotes: Sequence[Quote], permitted: Permitted
) -> list[Citation]:
    """Citations of the quotes, each compared with the stored text."""
    rows = [
        (
            hits[index].document_id,
            hits[index].start + passage.start - hits[index].header_length,
            hits[index].start + passage.end - hits[index].header_length,
            passage.text,
        )
        for _, index, passage in quotes
    ]
    check = partial(stored.check_quotes, quotes=rows, permitted=permitted)
    checked = await in_snapshot(pool, check) if rows else []
    return [
        Citation(
            marker=quote.marker,
            chunk_id=hits[quote.hit].chunk_id,
            document_id=document_id,
            path=hits[quote.hit].path,
            title=display_title(hits[quote.hit].title, hits[quote.hit].path),
            quote=text,
            start=start,
            end=end,
            verified=one.verified,
            page=one.page,
            file_start=one.file_start,
            file_end=one.file_end,
        )
        for quote, (document_id, start, end, text), one in zip(quotes, rows, checked, strict=True)
    ]
