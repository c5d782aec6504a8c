"""The tools: what each does, with the retrieval and the answerer of every other door. The SDK is not needed here."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from pgfolio.query_api.retrieval.filter_parser import parse
from pgfolio.query_api.retrieval.query import Query
from pgfolio.query_api.retrieval.results import date_of
from pgfolio.query_api.service.answers import document_fields, result
from pgfolio.query_api.service.links import document_url
from pgfolio.query_api.service.mcp import contracts as c
from pgfolio.query_api.service.mcp.budget import ENVELOPE_TOKENS, estimated_tokens, fitting, shortened_text
from pgfolio.schema.search import catalog
from pgfolio.schema.search.pool import in_snapshot

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import msgspec

    from pgfolio.query_api.answering.records import Citation
    from pgfolio.query_api.retrieval.results import Retrieved, SearchResult
    from pgfolio.query_api.retrieval.trace import Trace
    from pgfolio.query_api.services import Services
    from pgfolio.schema.search.access import Permitted
    from pgfolio.schema.search.catalog import StoredChunk, StoredText

MAX_BIGINT: Final = 2**63 - 1
SEARCH_RESULTS: Final = 10
"""Documents that `search` names."""


class ToolError(Exception):
    """A call that cannot be answered; the message says what to do instead."""


@dataclass(frozen=True, slots=True)
class ToolContext:
    """For whom a tool works: what may be seen, what links begin with, and who keeps the trace of a question."""

    services: Services
    permitted: Permitted
    base: str
    scope: Any
    """Of the request, where its trace id stands."""
    record: Callable[[str, Trace], None] = lambda _kind, _trace: None


async def search(context: ToolContext, arguments: c.SearchArguments) -> c.SearchOutput:
    """Find documents in the knowledge base by meaning and words. Read one with `fetch` and its `id`."""
    query = Query(arguments.query.replace("\x00", " "), limit=SEARCH_RESULTS, max_per_document=1)
    retrieved = await _retrieve(context, query)
    return c.SearchOutput([_document_link(context, each) for each in retrieved.results])


async def fetch(context: ToolContext, arguments: c.FetchArguments) -> c.FetchOutput:
    """Read a document that a search named: its text from `offset` on. Where there is more, go on at `next_offset`."""
    text = await _document(context, arguments.id)
    page = text.text[arguments.offset : arguments.offset + arguments.limit]
    page = shortened_text(page, c.MAX_TOKENS - ENVELOPE_TOKENS) if page else ""
    end = arguments.offset + len(page)
    fields = document_fields(text)
    about = {
        name: fields[name] for name in ("path", "collection", "source", "mime", "language", "updated_at")
    }
    metadata = {**fields["metadata"], **about}
    if estimated_tokens(metadata) > c.DEFAULT_TOKENS // 2:
        metadata = about
    return c.FetchOutput(
        id=str(text.id),
        title=fields["title"],
        text=page,
        url=document_url(context.base, text.id),
        metadata=metadata,
        offset=arguments.offset,
        limit=arguments.limit,
        total=len(text.text),
        next_offset=end if end < len(text.text) and page else None,
    )


async def search_documents(
    context: ToolContext, arguments: c.SearchDocumentsArguments
) -> c.SearchDocumentsOutput:
    """Find passages, with their text, place and date, within collections and by metadata. Its result keeps to a
    budget of tokens and says where to go on."""
    last = arguments.offset + arguments.limit
    query = _query(arguments.query, arguments.collections, arguments.filter, limit=last)
    retrieved = await _retrieve(context, query)
    passages = [_passage(context, each) for each in retrieved.results[arguments.offset :]]
    fitted = fitting(passages, arguments.max_tokens)
    notes = list(retrieved.trace.notes)
    next_offset = None
    if len(fitted) < len(passages) or len(passages) == arguments.limit:
        next_offset = arguments.offset + len(fitted)
    if len(fitted) < len(passages):
        notes.append(
            f"{len(passages) - len(fitted)} more did not fit into {arguments.max_tokens:,} tokens: go on with "
            f"offset={next_offset}, or ask for fewer"
        )
    if fitted and fitted[0].continue_at is not None:
        notes.append(
            f"the first passage was cut: fetch(id={fitted[0].id!r}, offset={fitted[0].continue_at}) goes on"
        )
    return c.SearchDocumentsOutput(results=fitted, next_offset=next_offset, notes=notes)


async def ask(context: ToolContext, arguments: c.AskArguments) -> c.AskOutput:
    """Answer a question from the documents, with citations that were checked against them."""
    query = _query(arguments.question, arguments.collections, arguments.filter, limit=5)
    request = await context.services.answerer.retrieve(query, context.permitted)
    try:
        answer = await context.services.answerer.answer(request)
    finally:
        context.record("ask", request.retrieved.trace)
    citations: list[c.ToolCitation] = []
    text = shortened_text(answer.text, arguments.max_tokens - ENVELOPE_TOKENS)
    left = arguments.max_tokens - ENVELOPE_TOKENS - estimated_tokens(text)
    for citation in answer.citations:
        item = _citation(context, citation)
        left -= estimated_tokens(item)
        if left < 0:
            break
        citations.append(item)
    notes = [*request.retrieved.trace.notes, *answer.notes]
    if len(text) < len(answer.text) or len(citations) < len(answer.citations):
        notes.append(
            f"the answer is cut to {arguments.max_tokens:,} tokens: raise `max_tokens` for all of it"
        )
    return c.AskOutput(
        answer=text, answered=answer.answered, mode=answer.mode, citations=citations, notes=notes
    )


async def list_collections(
    context: ToolContext, arguments: c.ListCollectionsArguments
) -> c.ListCollectionsOutput:
    """Name the collections that can be searched, with how much is in each and how fresh it is."""
    del arguments
    read = partial(catalog.list_collections, permitted=context.permitted)
    stored = await in_snapshot(context.services.retriever.pool, read)
    summaries = [
        c.CollectionSummary(
            name=item.name,
            documents=item.documents,
            chunks=item.chunks,
            synced_at=item.synced_at.isoformat() if item.synced_at else None,
        )
        for item in stored
    ]
    fits = (n for n in range(len(summaries), 0, -1) if estimated_tokens(summaries[:n]) < c.MAX_TOKENS)
    count = next(fits, 0)
    notes = [f"the first {count} of {len(summaries)} are named"] if count < len(summaries) else []
    return c.ListCollectionsOutput(summaries[:count], notes)


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool as it is listed."""

    title: str
    arguments: type[msgspec.Struct]
    output: type[msgspec.Struct]
    run: Callable[[ToolContext, Any], Awaitable[msgspec.Struct]]

    @property
    def description(self) -> str:
        return " ".join((self.run.__doc__ or "").split())


TOOLS: Final[dict[str, Tool]] = {
    "search": Tool("Search", c.SearchArguments, c.SearchOutput, search),
    "fetch": Tool("Read a document", c.FetchArguments, c.FetchOutput, fetch),
    "search_documents": Tool(
        "Search passages", c.SearchDocumentsArguments, c.SearchDocumentsOutput, search_documents
    ),
    "ask": Tool("Ask the documents", c.AskArguments, c.AskOutput, ask),
    "list_collections": Tool(
        "List collections", c.ListCollectionsArguments, c.ListCollectionsOutput, list_collections
    ),
}


def _query(
    text: str, collections: list[str] | None, condition: dict[str, Any] | None, *, limit: int
) -> Query:
    return Query(
        text.replace("\x00", " "),
        limit=limit,
        collections=tuple(collections) if collections else None,
        condition=None if condition is None else parse(condition),
    )


async def _retrieve(context: ToolContext, query: Query) -> Retrieved:
    retrieved = await context.services.retriever.retrieve(query, context.permitted)
    context.record("search", retrieved.trace)
    return retrieved


async def _document(context: ToolContext, reference: str) -> StoredText:
    number = int(reference) if reference.isascii() and reference.isdecimal() else MAX_BIGINT

    async def read(connection: Any) -> tuple[StoredText, list[StoredChunk]] | None:
        return await catalog.get_document(connection, min(number, MAX_BIGINT), context.permitted)

    document = await in_snapshot(context.services.retriever.pool, read)
    if document is None:
        raise ToolError(f"there is no document {reference!r}: take an `id` from the results of `search`")
    return document[0]


def _document_link(context: ToolContext, ranked: SearchResult) -> c.DocumentLink:
    item = result(ranked)
    url = document_url(context.base, item.document_id, item.start, item.end)
    return c.DocumentLink(str(item.document_id), item.title, url)


def _passage(context: ToolContext, ranked: SearchResult) -> c.ToolPassage:
    item = result(ranked)
    return c.ToolPassage(
        id=str(item.document_id),
        title=item.title,
        path=item.path,
        collection=item.collection,
        heading=item.heading,
        page=item.page,
        date=date_of(item.created_at, item.updated_at) or None,
        url=document_url(context.base, item.document_id, item.start, item.end),
        text=item.content,
        start=item.start,
        end=item.end,
        score=item.score,
    )


def _citation(context: ToolContext, citation: Citation) -> c.ToolCitation:
    return c.ToolCitation(
        marker=citation.marker,
        id=str(citation.document_id),
        title=citation.title,
        path=citation.path,
        page=citation.page,
        quote=citation.quote,
        url=document_url(context.base, citation.document_id, citation.start, citation.end),
        verified=citation.verified,
    )
