"""What each measurement is held against: the least that the same work could cost."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pgvector import HalfVector
from psycopg import sql

from pgfolio.config.models.wordllama import LocalModel
from pgfolio.schema.database.statements import statement
from pgfolio.schema.search.pool import ITERATIVE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pgfolio.schema.database.connect import Connection
    from pgfolio.schema.records import Generation

BATCH = 256


def walk(folder: Path) -> int:
    """Look at every file once. Returns how many there are."""
    files, pending = 0, [os.fspath(folder)]
    while pending:
        with os.scandir(pending.pop()) as listing:
            for entry in listing:
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)
                else:
                    entry.stat(follow_symlinks=False)
                    files += 1
    return files


def copied_out(connection: Connection, table: str) -> bytes:
    """The table's rows as binary COPY has them, without what PostgreSQL generates."""
    with connection.cursor().copy(_copy(table, "to stdout")) as copy:
        return b"".join(copy)


def copy_in(connection: Connection, rows: Mapping[str, bytes]) -> None:
    """All tables in one transaction."""
    with connection.transaction():
        for table, data in rows.items():
            with connection.cursor().copy(_copy(table, "from stdin")) as copy:
                copy.write(data)


def local_model(texts: Sequence[str]) -> Callable[[], object]:
    """Our own client, tokenising and embedding in batches; loaded before."""
    model = LocalModel()
    model.embed(["ready"])
    return lambda: [model.embed(texts[at : at + BATCH]) for at in range(0, len(texts), BATCH)]


def wordllama_model(texts: Sequence[str]) -> Callable[[], object]:
    """The model's own library, as its readme uses it; loaded before."""
    import wordllama

    logging.getLogger().handlers.clear()  # it calls logging.basicConfig(INFO)
    logging.getLogger().setLevel(logging.WARNING)
    package = Path(wordllama.__file__).parent
    model = wordllama.WordLlama.load(cache_dir=package, disable_download=True)
    return lambda: model.embed(list(texts), norm=True)


def bare_search(
    connection: Connection, generation: Generation, ef_search: int, limit: int
) -> Callable[[str], list[Any]]:
    """Embed a question and run the API's own statement, prepared, on one connection."""
    model = LocalModel(generation.space.dimensions)
    connection.execute(statement("begin_session"), {"ef_search": str(ef_search), "iterative": ITERATIVE})
    text = sql.SQL(statement("search_vectors", generation).as_string(connection))
    prepared = text.format(limit=sql.Literal(limit), scan=sql.Literal(limit))

    def searched(question: str) -> list[Any]:
        values = {"vector": HalfVector(model.embed([question]).vectors[0]), "permitted": None}
        return connection.execute(prepared, values, binary=True, prepare=True).fetchall()

    return searched


def bare_hybrid(
    connection: Connection, generation: Generation, candidates: int
) -> Callable[[str], list[Any]]:
    """Embed a question, then the nearest chunks, then those that have any of its words, by ts_rank: what two plain
    statements would do."""
    model = LocalModel(generation.space.dimensions)
    near = sql.SQL("select chunk_id from {} order by embedding <=> %(vector)s::halfvec limit {}")
    nearest = near.format(sql.Identifier(generation.table), sql.Literal(candidates))
    any_word = "replace(plainto_tsquery('english', %(words)s)::text, '&', '|')::tsquery"
    ranked = sql.SQL(
        f"select c.id from (select {any_word} as q offset 0) a join chunks c on c.lexemes @@ a.q "  # noqa: S608
        "order by ts_rank(c.lexemes, a.q, 1) desc limit {}"
    ).format(sql.Literal(candidates))

    def searched(question: str) -> list[Any]:
        vector = HalfVector(model.embed([question]).vectors[0])
        ids = connection.execute(nearest, {"vector": vector}, binary=True, prepare=True).fetchall()
        return ids + connection.execute(ranked, {"words": question}, binary=True, prepare=True).fetchall()

    return searched


def _copy(table: str, direction: str) -> sql.Composed:
    return sql.SQL("copy {} {} (format binary)").format(sql.Identifier(table), sql.SQL(direction))
