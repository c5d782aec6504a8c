"""`python -m tests.bench.words` shows what both arms of hybrid search cost, from postings and by looking into chunks,
against the vector arm alone in the same run; and in how many questions each has the ten of an exhaustive BM25, which
looks into every chunk with any of the words."""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from pgfolio.config.loading import load_settings
from pgfolio.config.models.wordllama import LocalModel
from pgfolio.schema.database.connect import connect, database
from pgfolio.schema.search import lexical, postings
from pgfolio.schema.search import vector as by_vector
from pgfolio.schema.search.access import EVERYTHING
from pgfolio.schema.search.pool import open_pool
from pgfolio.schema.search.question import Question
from tests.bench import corpus
from tests.bench.place import SyncedFolder
from tests.bench.room import new_room
from tests.environment import without_settings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from pgfolio.schema.database.connect import AsyncConnection
    from pgfolio.schema.records import Generation

OUT = Console(highlight=False)
CANDIDATES, FIRST, EF_SEARCH = 50, 10, 100
CHANGED = 0.12
"""Part of the words that are other ones in each copy of a folder."""


@click.command()
@click.option("--folder", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Documents.")
@click.option("--copies", type=click.IntRange(1), default=1, show_default=True, help="Of them, with changes.")
@click.option("--questions", type=click.Path(exists=True, path_type=Path), help="A file of them, one a line.")
@click.option("--url", help="A database that has its documents, in place of a folder.")
@click.option("--repeat", type=click.IntRange(1), default=3, show_default=True)
@click.option("--exhaustive/--no-exhaustive", default=True, show_default=True)
def main(
    *,
    folder: Path | None,
    copies: int,
    questions: Path | None,
    url: str | None,
    repeat: int,
    exhaustive: bool,
) -> None:
    """Prints a table of milliseconds and, unless it is left out, the share of questions."""
    without_settings()
    if url:
        asked = _asked(url, questions)
        asyncio.run(_measure(url, asked, repeat, exhaustive=exhaustive))
        return
    room = new_room()
    settings = load_settings(home=room / "home")
    settings.home.mkdir()
    _write(room / "documents", folder, copies)
    with database(settings) as conninfo:
        SyncedFolder(settings, conninfo, room / "documents").sync()
        asyncio.run(_measure(conninfo, _asked(conninfo, questions), repeat, exhaustive=exhaustive))


def _write(target: Path, folder: Path | None, copies: int) -> None:
    if folder is None:
        corpus.write_markdown(target, corpus.FILES * copies)
        return
    texts = {file: file.read_text(errors="replace") for file in sorted(folder.rglob("*.md*"))}
    words = [word for text in texts.values() for word in re.findall(r"\b[a-z]{3,}\b", text)]
    chosen = random.Random(5)

    def changed(match: re.Match[str]) -> str:
        return chosen.choice(words) if chosen.random() < CHANGED else match[0]

    for copy in range(copies):
        for file, text in texts.items():
            to = target / f"{copy:03}" / file.relative_to(folder)
            to.parent.mkdir(parents=True, exist_ok=True)
            to.write_text(re.sub(r"\b[a-z]{3,}\b", changed, text) if copy else text)


def _asked(conninfo: str, questions: Path | None) -> list[str]:
    """Else a few words from the middle of some chunks."""
    if questions is not None:
        return questions.read_text().splitlines()
    with connect(conninfo) as connection:
        rows = connection.execute("select content from chunks order by hash limit 100").fetchall()
    return [" ".join(words[len(words) // 2 :][:9]) for (content,) in rows for words in [content.split()]]


async def _measure(conninfo: str, asked: Sequence[str], repeat: int, *, exhaustive: bool) -> None:
    vectors = LocalModel().embed(asked).vectors
    async with open_pool(conninfo, 1, EF_SEARCH) as pool, pool.connection() as connection:
        generation = await by_vector.active_generation(connection)
        assert generation is not None
        ways = _ways(connection, generation)
        taken: dict[str, list[float]] = defaultdict(list)
        for number in range(repeat + 1):  # the first warms up
            for question, vector in zip(asked, vectors, strict=True):
                for name, work in ways.items():
                    began = time.perf_counter()
                    await work(question, vector)
                    if number:
                        taken[name].append((time.perf_counter() - began) * 1000)
        _show(taken)
        if exhaustive:
            for name, same in (await _equal(connection, generation, asked, vectors)).items():
                OUT.print(
                    f"{name}: the first {FIRST} of an exhaustive BM25 in {same:.1%} of {len(asked)} questions"
                )


def _ways(
    connection: AsyncConnection, generation: Generation
) -> dict[str, Callable[[str, Any], Awaitable[object]]]:
    text = postings._read_terms(generation, CANDIDATES, EF_SEARCH, nearest=True)

    async def ranked(question: str, vector: Any, *, by_postings: bool) -> object:
        by_vector.HAS_POSTINGS[connection] = by_postings
        return await lexical.rank_words(
            connection, generation, Question(question), vector, CANDIDATES, EVERYTHING,
            in_vector_arm=None, ef_search=EF_SEARCH,
        )  # fmt: skip

    async def terms(question: str, vector: Any) -> object:
        values = {
            "query": question, "max_unposted": 0, "short": postings.SHORT_LIST, "permitted": None,
            "vector": by_vector.parameter(generation, vector),
        }  # fmt: skip
        return await by_vector.ranked(connection, generation, text, values, EF_SEARCH, planned_once=True)

    return {
        "the vector arm alone": lambda _, vector: by_vector.rank(
            connection, generation, vector, CANDIDATES, EF_SEARCH, None
        ),
        "its statement with the terms": terms,
        "both arms, from postings": lambda question, vector: ranked(question, vector, by_postings=True),
        "both arms, looking into chunks": lambda question, vector: ranked(
            question, vector, by_postings=False
        ),
    }


def _show(taken: dict[str, list[float]]) -> None:
    table = Table("", "p50 ms", "p95 ms", "times the vector arm", box=None, pad_edge=False)
    floor = np.array(next(iter(taken.values())))
    for name, values in taken.items():
        p50, p95 = np.percentile(values, [50, 95])
        table.add_row(name, f"{p50:.2f}", f"{p95:.2f}", f"{np.median(np.array(values) / floor):.2f}")
    OUT.print(table)


async def _equal(
    connection: AsyncConnection, generation: Generation, asked: Sequence[str], vectors: Any
) -> dict[str, float]:
    """By scores, so that ties do not count, and to half a percent: who looks into chunks has the idf of common words
    from a sample."""
    same = {"postings": 0, "looking into chunks": 0}
    for question, vector in zip(asked, vectors, strict=True):
        best = await _exhaustive(connection, generation, question, vector)
        for name, by_postings in (("postings", True), ("looking into chunks", False)):
            by_vector.HAS_POSTINGS[connection] = by_postings
            scored = await lexical.rank_words(
                connection, generation, Question(question), vector, CANDIDATES, EVERYTHING
            )
            first = sorted(scored, key=lambda s: (-s.exact_match, -s.bm25))[:FIRST]
            scores = [best.get(s.chunk_id, 0.0) for s in first]
            expected = sorted(best.values(), reverse=True)[: len(first)]
            same[name] += np.allclose(sorted(scores, reverse=True), expected, rtol=0.005)
    return {name: count / len(asked) for name, count in same.items()}


async def _exhaustive(
    connection: AsyncConnection, generation: Generation, question: str, vector: Any
) -> dict[int, float]:
    text, values = lexical._composed(generation, CANDIDATES, EVERYTHING, EF_SEARCH, nearest=False)
    values |= {
        "visible": None, "query": question, "phrases": [], "vector_arm": [], "all_words": True,
        "vector": by_vector.parameter(generation, vector),
    }  # fmt: skip
    rows = await by_vector.ranked(connection, generation, text, values, EF_SEARCH)
    return {row[0]: row[3] * 1e3 + row[2] for row in rows}


if __name__ == "__main__":
    main()
