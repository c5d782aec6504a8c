"""`python -m tests.bench.servers FOLDER` does the same job against each kind of model server: a sync of the folder,
and 20 questions by /search and /ask, whole and streamed. Prints what came of it, and whether all are as OpenAI's."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click
from rich.console import Console

from pgfolio.config.loading import load_settings
from pgfolio.schema.database.connect import database
from tests.bench.moods import emptied
from tests.bench.place import SyncedFolder
from tests.bench.room import new_room
from tests.environment import without_settings
from tests.fakes.openai_server import KEY, FakeOpenAI
from tests.fakes.server_styles import KINDS
from tests.query_api.library import running_api

if TYPE_CHECKING:
    import httpx

    from pgfolio.config.settings import Settings
    from tests.fakes.server_styles import Kind

ERR = Console(stderr=True, highlight=False)
QUESTIONS = 20
VECTORS, CHAT = "text-embedding-3-small", "gpt-4o-mini"


class Outcome(NamedTuple):
    """`found`: paths, places and similarities; `answers`: texts and citations, whole and streamed."""

    chunks: int
    requests: int
    tokens: int
    seconds: float
    found: list[Any]
    answers: list[Any]
    streamed: list[Any]
    notes: list[str]


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
def main(*, folder: Path) -> None:
    """Uses a Postgres of its own and removes everything it made."""
    without_settings()
    room = new_room()
    settings = load_settings(home=room / "home")
    settings.home.mkdir()
    questions = _questions(folder)
    first: Outcome | None = None
    print("| server | chunks | requests | tokens | s | searches | answers | streamed | notes |")
    print("|---|---|---|---|---|---|---|---|---|")
    with database(settings) as conninfo:
        for kind in KINDS:
            emptied(conninfo)
            with ERR.status(kind.name):
                outcome = _done(kind, settings, conninfo, folder.resolve(), questions)
            first = first or outcome
            print(_row(kind, outcome, first), flush=True)


def _questions(folder: Path) -> list[str]:
    """The first lines of documents, evenly spread."""
    files = sorted(folder.rglob("*.md*"))
    lines = [line for file in files for line in [_title(file)] if line]
    return lines[:: max(1, len(lines) // QUESTIONS)][:QUESTIONS]


def _title(file: Path) -> str:
    lines = (line.removeprefix("title:").strip("#' \"") for line in file.read_text().splitlines())
    return next((line for line in lines if len(line) > 8), "")[:200]


def _done(kind: Kind, settings: Settings, conninfo: str, folder: Path, questions: list[str]) -> Outcome:
    with ExitStack() as stack:
        vectors = stack.enter_context(FakeOpenAI())
        chat = stack.enter_context(FakeOpenAI())
        url = kind.play(vectors, VECTORS)
        chat_url = kind.play(chat, CHAT) if kind.chat else chat.url
        hosted = load_settings(
            home=settings.home,
            database_url=conninfo,
            openai_api_key=KEY,
            openai_base_url=url,
            embedding={"provider": "openai", "model": VECTORS},
            chat={"model": CHAT, "base_url": chat_url, "api_key": KEY},
        )
        began = time.perf_counter()
        report = SyncedFolder(hosted, conninfo, folder).synced()
        seconds = time.perf_counter() - began
        requests = len(vectors.requests)
        with running_api(hosted, conninfo) as client:
            found = [_search(client, question) for question in questions]
            answers = [_answer(client.post("/ask", json={"question": q}).json()) for q in questions]
            streamed = [_answer(_last_event(client, question)) for question in questions]
        return Outcome(
            report.chunks.total, requests, report.tokens, seconds, found, answers, streamed, report.notes
        )


def _search(client: httpx.Client, question: str) -> list[Any]:
    results = (
        client.post("/search", json={"query": question, "limit": 10}).raise_for_status().json()["results"]
    )
    return [(r["path"], r["start"], round(r["similarity"], 4)) for r in results]


def _answer(body: dict[str, Any]) -> list[Any]:
    return [body["answer"], body["answered"], [(c["path"], c["quote"]) for c in body["citations"]]]


def _last_event(client: httpx.Client, question: str) -> dict[str, Any]:
    response = client.post("/ask", json={"question": question, "stream": True}).raise_for_status()
    data = [line for line in response.text.splitlines() if line.startswith("data:")]
    body: dict[str, Any] = json.loads(data[-1].removeprefix("data:"))
    return body


def _row(kind: Kind, outcome: Outcome, first: Outcome) -> str:
    same = [
        f"{sum(a == b for a, b in zip(one, other, strict=True))} of {len(other)}"
        for one, other in (
            (outcome.found, first.found),
            (outcome.answers, first.answers),
            (outcome.streamed, first.answers),
        )
    ]
    cells = [kind.name, outcome.chunks, outcome.requests, outcome.tokens, f"{outcome.seconds:.1f}", *same]
    return "| " + " | ".join(map(str, [*cells, "; ".join(outcome.notes)])) + " |"


if __name__ == "__main__":
    main()
