"""`python -m tests.bench.questions` asks the documents of a database three kinds of questions that search can fail:
by a version's number, where one long page could take all places, and with a misspelt word. A hundred of each, drawn
from what is stored."""

from __future__ import annotations

import asyncio
import random
import re
from collections import Counter
from statistics import mean
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from pgfolio.config.loading import load_settings
from pgfolio.query_api.retrieval.query import Query
from pgfolio.query_api.services import open_services
from pgfolio.schema.database.connect import connect, database

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgfolio.query_api.retrieval.results import Retrieved
    from pgfolio.query_api.retrieval.retriever import Retriever
    from pgfolio.schema.database.connect import Connection

OUT = Console(highlight=False)
QUESTIONS, RESULTS, FIRST = 100, 20, 5
MODES: Any = ("hybrid", "lexical")
VERSION = re.compile(r"^#+ .*?\b(\d+\.\d+\.\d+)\b", re.MULTILINE)
LETTERS = "abcdefghijklmnopqrstuvwxyz"


@click.command()
def main() -> None:
    """Over the database of the settings, which is not changed."""
    settings = load_settings()
    with database(settings) as conninfo:
        with connect(conninfo) as connection:
            kinds = {"versions": versions(connection), "versions with v": versions(connection, "v"),
                     "crowding": headings(connection), "misspelt": misspellings(connection)}  # fmt: skip
        asyncio.run(_ask(settings, conninfo, kinds))


def versions(connection: Connection, prefix: str = "") -> list[tuple[str, str]]:
    """Of headings that name one, each with what a result has to have."""
    rows = connection.execute("select content from chunks order by id").fetchall()
    named = dict.fromkeys(version for (content,) in rows for version in VERSION.findall(content))
    return [(prefix + version, rf"(?m)^#+ .*\b{re.escape(version)}\b") for version in _some(named)]


def headings(connection: Connection) -> list[tuple[str, str]]:
    """Of the longest documents."""
    rows = connection.execute(
        "select heading from (select heading, count(*) over (partition by document_id) as chunks, id from chunks) c"
        " where chunks >= 10 and heading <> '' order by id"
    ).fetchall()
    return [(text, "") for text in _some(dict.fromkeys(row[0].split(" > ")[-1] for row in rows))]


def misspellings(connection: Connection) -> list[tuple[str, str]]:
    """Words of three to fifty chunks with a letter too many, too few, another one, or two that changed places."""
    rows = connection.execute("select content from chunks order by id").fetchall()
    counts = Counter(word for (text,) in rows for word in set(re.findall(r"\b[a-z]{6,12}\b", text.lower())))
    words = _some([word for word, count in sorted(counts.items()) if 3 <= count <= 50])
    rng = random.Random(2)
    return [(edited, rf"(?i){word[:6]}") for word in words if (edited := _edited(word, rng)) not in counts]


def _edited(word: str, rng: random.Random) -> str:
    at = rng.randrange(1, len(word) - 1)
    return rng.choice([
        word[:at] + rng.choice(LETTERS) + word[at:], word[:at] + word[at + 1 :],
        word[:at] + rng.choice(LETTERS) + word[at + 1 :],
        word[:at] + word[at + 1] + word[at] + word[at + 2 :],
    ])  # fmt: skip


def _some(items: Any) -> list[str]:
    every = list(items)
    return random.Random(1).sample(every, min(QUESTIONS, len(every)))


async def _ask(settings: Any, conninfo: str, kinds: dict[str, list[tuple[str, str]]]) -> None:
    async with open_services(settings, conninfo) as services:
        for name, questions in kinds.items():
            for mode in MODES:
                limit = RESULTS if name == "crowding" else FIRST
                answers = [await _retrieved(services.retriever, text, limit, mode) for text, _ in questions]
                told = _crowding(answers) if name == "crowding" else _right(answers, questions)
                OUT.print(f"{name}, {mode}, {len(questions)} questions: {told}")


async def _retrieved(retriever: Retriever, text: str, limit: int, mode: Any) -> Retrieved:
    return await retriever.retrieve(Query(text, limit, mode), None)


def _right(answers: Sequence[Retrieved], questions: Sequence[tuple[str, str]]) -> str:
    right = [
        [
            re.search(pattern, f"# {result.hit.heading}\n{result.hit.content}") is not None
            for result in answer.results
        ]
        for answer, (_, pattern) in zip(answers, questions, strict=True)
    ]
    return f"{sum(any(one[:1]) for one in right)} right at first, {sum(map(any, right))} within {FIRST}"


def _crowding(answers: Sequence[Retrieved]) -> str:
    counts = [Counter(result.hit.document_id for result in answer.results) for answer in answers]
    most = [max(count.values(), default=0) for count in counts]
    share = f"one has {mean(most):.1f} of them in the mean, {max(most)} at most"
    return f"{mean(map(len, counts)):.1f} documents in {RESULTS} places, {share}"


if __name__ == "__main__":
    main()
