"""The measurements, each beside its floor."""

from __future__ import annotations

import itertools
import time
from functools import partial
from statistics import median
from typing import TYPE_CHECKING

from pgfolio.flows.ingest.store import store_batch
from pgfolio.schema.corpus import sources
from pgfolio.schema.database.connect import connect
from pgfolio.schema.vectors import generations
from tests.bench import floors
from tests.bench.place import SPACE, STORED, timed
from tests.bench.ratio import compare
from tests.bench.serving import serving

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgfolio.schema.database.connect import Connection
    from tests.bench.place import SyncedFolder
    from tests.bench.ratio import Line

QUESTIONS = 200
"""Searches in one repetition. None is asked twice: the API keeps the vectors of the questions it knows."""

LIMIT = 10


def no_op(place: SyncedFolder, repeat: int) -> list[Line]:
    """A sync that finds nothing to do; the folder is synced first."""
    place.first_sync()
    files = floors.walk(place.folder)
    bare = {"bare walk with stat": lambda: timed(lambda: floors.walk(place.folder))}
    return compare(f"no-op sync, {files:,} files", place.sync, bare, repeat)


def few_changed(place: SyncedFolder, repeat: int) -> list[Line]:
    """Five files changed among those of `no_op`, which are synced already: what it takes over a no-op."""
    files = sorted(place.folder.rglob("*.md"))
    chosen = [files[number * (len(files) - 1) // 4] for number in range(5)]
    edits = itertools.count()

    def ours() -> float:
        edit = next(edits)
        for file in chosen:
            file.write_text(f"{file.stem}: edit number {edit}.\n", encoding="utf-8")
        time.sleep(0.05)  # older than the clock's grain
        return place.sync()

    return compare(f"5 of {len(files):,} files changed", ours, {"no-op sync": place.sync}, repeat)


def store(place: SyncedFolder, repeat: int) -> list[Line]:
    """All that the store stage does, a transaction for each batch."""
    place.clear()
    with connect(place.conninfo) as connection, sources.owned(connection, place.source(connection)) as source:
        generation = generations.ensure_active(connection, SPACE)
        connection.commit()

        def ours() -> float:
            _empty(connection)
            return timed(store_all)

        def store_all() -> None:
            for ready in place.ready:
                store_batch(connection, source, generation, ready, place.processing.fingerprint)

        def bare() -> float:
            _empty(connection)
            return timed(lambda: floors.copy_in(connection, rows))

        ours()
        rows = {
            table: floors.copied_out(connection, table) for table in (*STORED.split(", "), generation.table)
        }
        connection.commit()
        return compare(f"store, {len(place.texts):,} chunks", ours, {"bare binary COPY": bare}, repeat)


def first_sync(place: SyncedFolder, repeat: int) -> list[Line]:
    """From an empty database to an indexed folder, in a process that runs already."""
    local, wordllama = floors.local_model(place.texts), floors.wordllama_model(place.texts)
    alone = {
        "LocalModel on the same chunks": lambda: timed(local),
        "WordLlama.embed on the same chunks": lambda: timed(wordllama),
    }
    return compare(f"first sync, {len(place.texts):,} chunks", place.first_sync, alone, repeat)


def search(place: SyncedFolder, repeat: int) -> list[Line]:
    """One vector search over HTTP, from a client that keeps its connection: the median of many."""
    place.first_sync()
    with serving(place.conninfo, LIMIT) as ask, connect(place.conninfo, autocommit=True) as connection:
        generation = generations.active_generation(connection)
        assert generation is not None
        bare = floors.bare_search(connection, generation, place.settings.index.ef_search, LIMIT)
        numbers = itertools.count()

        def one(work: Callable[[str], object]) -> float:
            questions = [_question(place, next(numbers)) for _ in range(QUESTIONS)]
            return median(timed(partial(work, question)) for question in questions)

        same = {"the same SQL by psycopg, and embedding": lambda: one(bare)}
        name = f"vector search over HTTP, {len(place.texts):,} chunks"
        return compare(name, lambda: one(ask), same, repeat)


def hybrid(place: SyncedFolder, repeat: int) -> list[Line]:
    """The same of hybrid search, the default, over what `search` has synced."""
    candidates = place.settings.search.candidates
    with (
        serving(place.conninfo, LIMIT, "hybrid") as ask,
        connect(place.conninfo, autocommit=True) as connection,
    ):
        generation = generations.active_generation(connection)
        assert generation is not None
        bare = floors.bare_hybrid(connection, generation, candidates)
        numbers = itertools.count()

        def one(work: Callable[[str], object]) -> float:
            questions = [_question(place, next(numbers)) for _ in range(QUESTIONS)]
            return median(timed(partial(work, question)) for question in questions)

        plain = {"nearest by SQL, any word by SQL, and embedding": lambda: one(bare)}
        name = f"hybrid search over HTTP, {len(place.texts):,} chunks"
        return compare(name, lambda: one(ask), plain, repeat)


def _question(place: SyncedFolder, number: int) -> str:
    """A few words from the middle of some chunk."""
    words = place.texts[number * 37 % len(place.texts)].split()
    middle = len(words) // 2
    return f"{' '.join(words[middle : middle + 9])[:200]} {number}"


def _empty(connection: Connection) -> None:
    """All but the generation's table itself, which stands for one that is being filled for the first time."""
    connection.execute(f"truncate {STORED} cascade")
    connection.commit()
    connection.execute("checkpoint")
    connection.commit()
