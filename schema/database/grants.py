"""The SQL that lets three roles share one database: one owns the schema, one writes documents, one reads them.

The owner migrates. The writer is the flows' and owns the tables of vectors, which they make, index and drop. The
reader is the API's: it reads, and writes traces, pushes, requests and when keys were used.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, LiteralString, NamedTuple

from psycopg import sql

from pgfolio.schema.database.define import texts
from pgfolio.schema.database.errors import DatabaseError
from pgfolio.schema.database.migrate import MIGRATION_TABLES, made_names
from pgfolio.schema.database.statements import statement

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pgfolio.schema.database.connect import Connection

MAINTAIN_VERSION: Final = 170_000
"""PostgreSQL from which on whoever does not own a table may be let analyze it."""

VECTORS = re.compile(r"vectors_\d+(_s\d+)?|tuning_sample")
NOT_WRITTEN: Final = {"api_keys", "functions", *MIGRATION_TABLES}
"""What flows only read: whoever may use the API, and what the schema is."""

READER_WRITES: Final[Mapping[str, LiteralString]] = {
    "traces": "insert, update, delete",
    "pushes": "insert",
    "collections": "insert",
    "sources": "insert",
    "requests": "insert, update (kind), delete",
    "api_keys": "update (last_used_at)",
}
"""A push may be the first of its collection, which has a source; `update` of traces and of a request's kind is what
locking a row takes."""


HEAD: Final = "-- For an administrator of the server, or for the owner once the roles are there.\n"


MAKE_ROLE: Final = sql.SQL(
    "do $$ begin if not exists (select from pg_roles where rolname = {text}) then create role {name} login; end if; "
    "end $$;"
)


class Roles(NamedTuple):
    """By name. `owner`: None is whoever owns the tables."""

    owner: str | None = None
    writer: str = "pgfolio_writer"
    reader: str = "pgfolio_reader"


class _Schema(NamedTuple):
    name: str
    owner: str
    database: str
    server: int
    """Its version, as 180001."""
    tables: list[str]
    sequences: dict[str, bool]
    """True of those that belong to a table."""
    functions: list[LiteralString]
    """By their signatures, as SQL."""


def grants(connection: Connection, roles: Roles) -> str:
    """SQL for the schema in use, with its tables of today. Raises DatabaseError."""
    schema = _read(connection)
    owner = roles.owner or schema.owner
    if len({owner, roles.writer, roles.reader}) < len(roles):
        raise DatabaseError(f"owner ({owner}), writer and reader must be three roles")
    roles = roles._replace(owner=owner)
    parts = [_roles(schema, roles), _owner(schema, roles), _writer(schema, roles), _reader(schema, roles)]
    return HEAD + "\n".join("".join(line.as_string(connection) + "\n" for line in part) for part in parts)


def _read(connection: Connection) -> _Schema:
    row = connection.execute(statement("schema_in_use")).fetchone()
    if row is None:
        raise DatabaseError("the database has no tables of pgfolio yet: run `pgfolio migrate` as their owner")
    relations = connection.execute(statement("relations_of_schema")).fetchall()
    ours = [
        (name, is_sequence, table is not None)
        for name, is_sequence, table in relations
        if (table or name) in made_names() or VECTORS.fullmatch(name)
    ]
    functions = connection.execute(statement("functions_of_schema"), {"names": list(texts())}).fetchall()
    name, owner, database, server = row
    return _Schema(
        name,
        owner,
        database,
        server,
        [name for name, is_sequence, _ in ours if not is_sequence],
        {name: belongs for name, is_sequence, belongs in ours if is_sequence},
        [signature for _, signature in functions],
    )


def _roles(schema: _Schema, roles: Roles) -> Iterator[sql.Composable]:
    yield sql.SQL("-- Roles. Give those that log in a password: \\password NAME in psql.")
    for role in filter(None, roles):
        yield MAKE_ROLE.format(text=sql.Literal(role), name=sql.Identifier(role))
    yield _line("grant connect on database {} to {}, {};", schema.database, *roles[1:])
    yield _line(
        "grant {} to {};  -- whoever owns the schema may change what flows made", roles.writer, roles.owner
    )


def _owner(schema: _Schema, roles: Roles) -> Iterator[sql.Composable]:
    yield sql.SQL("-- The owner: `pgfolio migrate`, `pgfolio keys`, and whatever the others do.")
    yield _line("grant usage, create on schema {} to {};", schema.name, roles.owner)
    if roles.owner != schema.owner:
        for table in _fixed(schema.tables):
            yield _line("alter table {}.{} owner to {};", schema.name, table, roles.owner)
        for sequence, belongs in schema.sequences.items():
            if not belongs:
                yield _line("alter sequence {}.{} owner to {};", schema.name, sequence, roles.owner)
        for function in schema.functions:
            yield sql.SQL("alter function {}.{} owner to {};").format(
                sql.Identifier(schema.name), sql.SQL(function), sql.Identifier(roles.owner or "")
            )


def _writer(schema: _Schema, roles: Roles) -> Iterator[sql.Composable]:
    yield sql.SQL(
        "-- The writer: PGFOLIO_DATABASE_URL of `sync`, `reembed`, `index`, `verify`, the listener, Prefect."
    )
    maintain = ", maintain" if schema.server >= MAINTAIN_VERSION else ""
    rights = f"select, insert, update, delete, references{maintain}"
    yield _line("grant usage, create on schema {} to {};", schema.name, roles.writer)
    written = [table for table in _fixed(schema.tables) if table not in NOT_WRITTEN]
    yield _on_tables(schema, rights, written, roles.writer)
    yield _on_tables(schema, "select", [t for t in schema.tables if t in NOT_WRITTEN], roles.writer)
    yield _on_sequences(schema, schema.sequences, roles.writer)
    for table in schema.tables:
        if VECTORS.fullmatch(table):
            yield _line("alter table {}.{} owner to {};", schema.name, table, roles.writer)
    yield _by_default(schema, roles.owner, f"{rights} on tables", roles.writer)
    yield _by_default(schema, roles.owner, "usage, select on sequences", roles.writer)
    yield _calls_remove_push(schema, roles.writer)


def _reader(schema: _Schema, roles: Roles) -> Iterator[sql.Composable]:
    yield sql.SQL("-- The reader: PGFOLIO_DATABASE_URL of `serve`, `search`, `ask`, `mcp`, `status`.")
    yield _line("grant usage on schema {} to {};", schema.name, roles.reader)
    yield _on_tables(schema, "select", schema.tables, roles.reader)
    for table, rights in READER_WRITES.items():
        yield _on_tables(schema, rights, [table], roles.reader)
    yield _on_sequences(schema, ["documents_id_seq"], roles.reader)
    yield _calls_remove_push(schema, roles.reader)
    for maker in (roles.owner, roles.writer):
        yield _by_default(schema, maker, "select on tables", roles.reader)


def _fixed(tables: Iterable[str]) -> list[str]:
    return [table for table in tables if not VECTORS.fullmatch(table)]


def _line(text: LiteralString, *names: str | None) -> sql.Composable:
    return sql.SQL(text).format(*(sql.Identifier(name or "") for name in names))


def _on_tables(schema: _Schema, rights: LiteralString, tables: Iterable[str], role: str) -> sql.Composable:
    return _granted(schema, rights, "table", tables, role)


def _on_sequences(schema: _Schema, sequences: Iterable[str], role: str) -> sql.Composable:
    return _granted(schema, "usage, select", "sequence", sequences, role)


def _granted(
    schema: _Schema, rights: LiteralString, kind: LiteralString, names: Iterable[str], role: str
) -> sql.Composable:
    listed = sql.SQL(", ").join(sql.Identifier(schema.name, name) for name in names)
    return sql.SQL("grant {} on {} {} to {};").format(
        sql.SQL(rights),
        sql.SQL(kind),
        listed,
        sql.Identifier(role),
    )


def _calls_remove_push(schema: _Schema, role: str) -> sql.Composable:
    function = sql.Identifier(schema.name, "remove_push")
    return sql.SQL("grant execute on function {}(bigint, integer[]) to {};").format(
        function, sql.Identifier(role)
    )


def _by_default(schema: _Schema, maker: str | None, rights: LiteralString, role: str) -> sql.Composable:
    """Of tables that `maker` makes from now on, such as those of generations, their segments, and migrations."""
    return sql.SQL("alter default privileges for role {} in schema {} grant {} to {};").format(
        sql.Identifier(maker or ""),
        sql.Identifier(schema.name),
        sql.SQL(rights),
        sql.Identifier(role),
    )
