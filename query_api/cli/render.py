"""`search` and `ask` in the terminal: the API's own retrieval and answers, in the process, without HTTP."""

from __future__ import annotations

import asyncio
import sys
import time
import uuid
from typing import TYPE_CHECKING

import msgspec
from rich.markup import escape
from rich.padding import Padding
from rich.text import Text

from pgfolio.config.terminal import Terminal, printable, printable_json
from pgfolio.query_api.cli.render_explanation import show_explanation, show_why
from pgfolio.query_api.observability import timings
from pgfolio.query_api.observability.timings import took_ms
from pgfolio.query_api.service import answers
from pgfolio.query_api.services import open_services
from pgfolio.schema.database.connect import database

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgfolio.config.settings import Settings
    from pgfolio.query_api.answering.records import Citation
    from pgfolio.query_api.retrieval.query import Query
    from pgfolio.query_api.service.contracts import AskAnswer, Result, SearchAnswer

OUT = Terminal()
MAX_NEAREST = 5
"""Documents that are shown where none answers."""

MAX_CONTENT_CHARACTERS = 400
"""Characters of a chunk's text that a result shows."""


def search(settings: Settings, query: Query, *, explain: bool, document: str | None, as_json: bool) -> None:
    """Search and print, with how it was found and why a document is not a result, with --explain and --why."""
    with database(settings, pooled=True) as conninfo:
        answer = asyncio.run(_search(settings, conninfo, query, document, explain=explain))
    if as_json:
        print_json(answer)
        return
    _show_results(answer)
    if answer.explain is not None:
        show_explanation(answer.explain)
    if answer.why is not None:
        show_why(answer.why)


def ask(settings: Settings, query: Query, prompt: str, *, as_json: bool) -> None:
    """Answer and print."""
    with database(settings, pooled=True) as conninfo:
        answer = asyncio.run(_ask(settings, conninfo, query, prompt))
    if as_json:
        print_json(answer)
    else:
        _show_answer(answer)


async def _search(
    settings: Settings, conninfo: str, query: Query, document: str | None, *, explain: bool
) -> SearchAnswer:
    async with open_services(settings, conninfo) as services:
        timings.begin()
        began = time.perf_counter()
        retrieved = await services.retriever.retrieve(query, None)
        took = took_ms(began)
        explained = await answers.explain(
            services.retriever, query, None, retrieved,
            kind="search", with_explanation=explain, document=document,
        )  # fmt: skip
        return answers.search_answer(retrieved, took_ms=took, trace_id=uuid.uuid4().hex, explained=explained)


async def _ask(settings: Settings, conninfo: str, query: Query, prompt: str) -> AskAnswer:
    async with open_services(settings, conninfo) as services:
        began = time.perf_counter()
        answer_request = await services.answerer.retrieve(query, None, prompt)
        answer = await services.answerer.answer(answer_request)
        return answers.ask_answer(answer, answer_request, took_ms=took_ms(began), trace_id=uuid.uuid4().hex)


def _show_results(answer: SearchAnswer) -> None:
    if answer.space is None:
        OUT.print("Nothing was synced yet: `pgfolio sync FOLDER` first.")
        return
    if not answer.results:
        OUT.print("Nothing found.")
    for rank, listed in enumerate(answer.results, 1):
        OUT.print(f"[bold]{rank}. {escape(listed.title)}[/]  [dim]{listed.score:.2f}[/]")
        OUT.print(f"   [cyan]{escape(_where(listed))}[/]", soft_wrap=True)
        OUT.print(Padding(Text(printable(short(listed.content))), (0, 0, 1, 3)))
    _show_notes(answer.notes)
    OUT.print(f"[dim]{answer.total_returned} results in {answer.took_ms:.0f} ms, {escape(answer.space)}[/]")


def _show_answer(answered: AskAnswer) -> None:
    OUT.print(Text(printable(answered.answer)))
    if answered.citations:
        OUT.print()
    for citation in _per_marker(answered.citations):
        mark = "" if citation.verified else "  [red]not found in the text[/]"
        OUT.print(f"[bold]\\[{citation.marker}][/] [cyan]{escape(citation.path)}[/]{mark}", soft_wrap=True)
        if answered.mode == "generated":
            OUT.print(Padding(Text(printable(citation.quote), style="dim"), (0, 0, 0, 4)))
    if not answered.answered and answered.sources:
        OUT.print("[dim]The nearest documents:[/]")
        for source in answered.sources[:MAX_NEAREST]:
            OUT.print(f"   [cyan]{escape(source.path)}[/]  [dim]{source.similarity:.2f}[/]", soft_wrap=True)
    _show_notes(answered.notes)
    how = (
        "sentences quoted from the documents, no chat model"
        if answered.mode == "extractive"
        else str(answered.model)
    )
    OUT.print(f"[dim]{escape(how)}, {answered.took_ms:.0f} ms[/]")


def _show_notes(notes: Sequence[str]) -> None:
    for note in notes:
        OUT.print(f"[yellow]note:[/] {escape(note)}")


def _per_marker(citations: list[Citation]) -> list[Citation]:
    return list({citation.marker: citation for citation in reversed(citations)}.values())[::-1]


def _where(one: Result) -> str:
    page = f", page {one.page}" if one.page else ""
    heading = f" > {one.heading}" if one.heading else ""
    return f"{one.collection}: {one.path}{page}{heading}"


def short(content: str) -> str:
    text = " ".join(content.split())
    return (
        text
        if len(text) <= MAX_CONTENT_CHARACTERS
        else text[: text.rfind(" ", 0, MAX_CONTENT_CHARACTERS)] + " ..."
    )


def print_json(value: object) -> None:
    sys.stdout.write(printable_json(msgspec.json.encode(value).decode()) + "\n")
    sys.stdout.flush()
