"""Moving everything that is stored to another database: one state of the source, in one transaction of the target.

Rows go by COPY, whatever versions the two servers have. Nothing is embedded; lexemes are generated and indexes are
built where they arrive. Segments become one table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import psycopg
from psycopg import sql

from pgfolio.schema.database import locks
from pgfolio.schema.database.connect import connect, connect_bare, prepare, without_password
from pgfolio.schema.database.define import has_own_table
from pgfolio.schema.database.errors import DatabaseError
from pgfolio.schema.database.migrate import MIGRATION_TABLES, made_names
from pgfolio.schema.database.statements import fetch_one, statement
from pgfolio.schema.vectors import generations, hnsw, segments
from pgfolio.schema.vectors.storage import vector_statement

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pgfolio.schema.database.connect import Connection
    from pgfolio.schema.records import Generation

    Say = Callable[[str], None]

NOT_COPIED: Final = {
    *MIGRATION_TABLES,
    "functions",
    "embedding_claims",
    "budgets",
    "budget_reservations",
    "rate_limits",
}
"""The schema's own, which the target has, and what only processes that run now need."""

FILLED_BY_TRIGGER: Final = "folders"
"""By rows of the ledger, which it is copied after."""

HOLDING: Final = ("collections", "sources", "documents", "generations", "runs", "api_keys", "pushes")
"""Tables of which one with a row makes a database one that is in use."""


class NotEmptyError(DatabaseError):
    """The target has something already."""


def export(
    source_conninfo: str, target_conninfo: str, m: int, ef_construction: int, say: Say
) -> dict[str, int]:
    """Copy to a target that is empty, or migrated and unused; returns the rows of each table. What is interrupted, or
    does not hold what the source does, leaves at most the empty schema. `m` and `ef_construction` are for indexes
    that were never tuned. Raises NotEmptyError, DatabaseError."""
    _check_empty(target_conninfo)
    say(f"preparing {without_password(target_conninfo)}")
    prepare(target_conninfo)
    with connect(source_conninfo) as source, connect(target_conninfo) as target:
        source.isolation_level, source.read_only = psycopg.IsolationLevel.REPEATABLE_READ, True
        target.execute("select pg_advisory_xact_lock(%s)", [locks.FIRST_GENERATION])
        _check_unused(target, target_conninfo)
        rows = _copy_tables(source, target, say)
        for generation in generations.list_generations(target, "building", "ready", "active", "retired"):
            if has_own_table(source, generation.table):
                rows[generation.table] = _copy_vectors(source, target, generation, say)
                _build(source, target, generation, (m, ef_construction), say)
        _set_sequences(source, target)
        say("comparing")
        _compare(source, target, rows)
    return rows


def _check_empty(conninfo: str) -> None:
    """Before anything of it is changed."""
    with connect_bare(conninfo) as target:
        names = sorted(made_names())
        others = [name for (name,) in target.execute(statement("foreign_relations"), {"names": names})]
        if others:
            raise NotEmptyError(
                f"{without_password(conninfo)} is not empty, it has {', '.join(others[:5])}: name an empty "
                "database, or a schema of pgfolio's own (?options=-csearch_path%3DNAME)"
            )
        _check_unused(target, conninfo)


def _check_unused(target: Connection, conninfo: str) -> None:
    for name in HOLDING:
        table = sql.Identifier(name)
        if (
            has_own_table(target, name)
            and target.execute(sql.SQL("select from {} limit 1").format(table)).fetchone() is not None
        ):
            raise NotEmptyError(
                f"{without_password(conninfo)} is not empty, its {name} have rows: name an empty database"
            )


def _copy_tables(source: Connection, target: Connection, say: Say) -> dict[str, int]:
    tables = _tables(source)
    ordered = [name for name in tables if name != FILLED_BY_TRIGGER] + [FILLED_BY_TRIGGER]
    for name in reversed(ordered):
        target.execute(sql.SQL("delete from {}").format(sql.Identifier(name)))  # what migrations put there
    rows = {}
    for name in ordered:
        say(f"copying {name}")
        if name == FILLED_BY_TRIGGER:
            target.execute(sql.SQL("delete from {}").format(sql.Identifier(name)))
        columns, portable = tables[name]
        rows[name] = _copy(source, target, name, columns, portable=portable)
    return rows


def _tables(source: Connection) -> Mapping[str, tuple[list[str], bool]]:
    names = sorted(made_names() - NOT_COPIED)
    return {name: rest for name, *rest in source.execute(statement("copied_tables"), {"names": names})}  # type: ignore[misc]


def _copy(source: Connection, target: Connection, table: str, columns: list[str], *, portable: bool) -> int:
    """Rows copied, as bytes where those mean the same in both."""
    parts = {
        "table": sql.Identifier(table),
        "columns": sql.SQL(", ").join(map(sql.Identifier, columns)),
        "form": sql.SQL("(format binary)" if portable else "(format text)"),
    }
    read = sql.SQL("copy (select {columns} from {table}) to stdout {form}").format(**parts)
    write = sql.SQL("copy {table} ({columns}) from stdin {form}").format(**parts)
    with source.cursor() as reader, target.cursor() as writer:
        with reader.copy(read) as outgoing, writer.copy(write) as incoming:
            for block in outgoing:
                incoming.write(block)
        return writer.rowcount


def _copy_vectors(source: Connection, target: Connection, generation: Generation, say: Say) -> int:
    say(f"copying the vectors of {generation.space.name}")
    generations.create_table(target, generation)
    columns = ["chunk_id", "collection_id", "embedding"]
    return _copy(source, target, generation.table, columns, portable=True)


def _build(
    source: Connection, target: Connection, generation: Generation, untuned: tuple[int, int], say: Say
) -> None:
    """Where searches had an index."""
    if any(hnsw.is_valid(source, member) for member in segments.members(source, generation)):
        say(f"building the index of {generation.space.name}")
        tuned = fetch_one(source, "tuned_build", {"id": generation.id})
        hnsw.build(target, generation, tuned[0] or untuned[0], tuned[1] or untuned[1])


def _set_sequences(source: Connection, target: Connection) -> None:
    for name, last in source.execute(statement("sequence_positions")).fetchall():
        if last is not None:
            target.execute(statement("set_sequence"), {"name": name, "last": last})


def _compare(source: Connection, target: Connection, rows: Mapping[str, int]) -> None:
    """Every table has as many rows on both sides, and the active vectors can be searched. Raises DatabaseError."""
    for name in rows:
        count = sql.SQL("select count(*) from {}").format(sql.Identifier(name))
        counts = [fetch_one(connection, count)[0] for connection in (source, target)]
        if counts[0] != counts[1]:
            raise DatabaseError(
                f"{name} has {counts[1]} rows after the copy instead of {counts[0]}: nothing was kept"
            )
    generation = generations.active_generation(target)
    if generation is not None and rows.get(generation.table):
        nearest = vector_statement("nearest_to_first", generation)
        if (distance := fetch_one(target, nearest)[0]) != fetch_one(source, nearest)[0]:
            raise DatabaseError(
                f"a search of the copy answers otherwise (distance {distance}): nothing was kept"
            )
