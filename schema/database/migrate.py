"""Applying migrations/*.sql with yoyo, then what changed of functions/*.sql, one process at a time.

A migration runs once and stays as it is. What a function does today is told, and changed, in functions/*.sql alone
(schema/database/define.py).
"""

from __future__ import annotations

import re
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from psycopg.conninfo import conninfo_to_dict

from pgfolio.schema.database import locks
from pgfolio.schema.database.define import define, has_own_table, newest_version, outdated
from pgfolio.schema.database.errors import DatabaseError, NotPermittedError
from pgfolio.schema.database.statements import statement

if TYPE_CHECKING:
    import psycopg

FOLDER = Path(__file__).parents[1] / "migrations"
OUR_TABLES = ["collections", "sources", "documents", "chunks", "ledger", "generations", "runs"]
"""Of the first migration."""

MIGRATION_TABLES = {"_yoyo_migration", "_yoyo_log", "_yoyo_version", "yoyo_lock"}
MADE = re.compile(
    r"^(?:create (?:unlogged )?(?:table|sequence) |alter table \w+ rename to )(\w+)",
    re.MULTILINE | re.IGNORECASE,
)


def migrate(connection: psycopg.Connection[Any], conninfo: str) -> list[str]:
    """Apply what is missing and return the migrations' names.

    The lock is PostgreSQL's own: yoyo keeps its lock in a table, where a killed process would leave it. Raises
    DatabaseError where a later version has migrated it, or another application's tables are in the way.
    """
    _check_whose(connection)
    if not is_behind(connection):
        return []
    _check_owner(connection)
    connection.execute("select pg_advisory_xact_lock(%s)", [locks.MIGRATIONS])
    try:
        lacking = pending(connection)
        if lacking:
            _apply(conninfo)
        define(connection)
        connection.commit()
    finally:
        if locks.is_usable(connection):
            connection.rollback()
    return lacking


def is_behind(connection: psycopg.Connection[Any]) -> bool:
    """Whether there is anything for `migrate` to do."""
    return bool(missing(connection))


def missing(connection: psycopg.Connection[Any]) -> str:
    """What of this version the database lacks first; empty: nothing."""
    if lacking := pending(connection):
        return f"the migration {lacking[0]}"
    functions = list(outdated(connection))
    return f"the function {functions[0]}" if functions else ""


def pending(connection: psycopg.Connection[Any]) -> list[str]:
    """Names of the migrations that this database lacks."""
    applied = _applied(connection)
    return [name for name in migrations() if name not in applied]


@cache
def made_names() -> set[str]:
    """Names of the tables and sequences that migrations make, but for those of generations."""
    return {
        name for file in FOLDER.glob("*.sql") for name in MADE.findall(file.read_text())
    } | MIGRATION_TABLES


def migrations() -> list[str]:
    """The migrations of this version, in their order."""
    return sorted(path.stem for path in FOLDER.glob("*.sql"))


def _applied(connection: psycopg.Connection[Any]) -> set[str]:
    if not has_own_table(connection, "_yoyo_migration"):
        return set()
    return {row[0] for row in connection.execute("select migration_id from _yoyo_migration")}


def _check_whose(connection: psycopg.Connection[Any]) -> None:
    """Raises DatabaseError where what is there was not made by this version or an earlier one."""
    known, applied = migrations(), _applied(connection)
    if later := sorted(applied.difference(known)):
        by = newest_version(connection)
        raise DatabaseError(
            f"the database was migrated by a later pgfolio{f' ({by})' if by else ''}: it has migration {later[-1]}; "
            f"this is pgfolio {version('pgfolio')}, which knows them up to {known[-1]}: install the later one"
        )
    if applied:
        return
    other = connection.execute(statement("other_schema_with"), {"name": "posting_lists"}).fetchone()
    if other is not None:
        raise DatabaseError(
            f"search_path also names the schema {other[0]}, which has another pgfolio's tables: leave it out, and "
            "have pgvector in a schema of its own (CREATE EXTENSION vector SCHEMA extensions)"
        )
    tables = [row[0] for row in connection.execute(statement("tables_in_the_way"), {"names": OUR_TABLES})]
    if tables:
        raise DatabaseError(
            f"the database has tables of another application under our names ({', '.join(tables)}): name a database "
            "of pgfolio's own in PGFOLIO_DATABASE_URL"
        )


def _check_owner(connection: psycopg.Connection[Any]) -> None:
    """Raises NotPermittedError where what is there is another role's, before a part of it is changed."""
    row = connection.execute(statement("owns_schema")).fetchone()
    if row is not None and not row[0]:
        raise NotPermittedError(
            f"the database lacks {missing(connection)} of this pgfolio, and this role does not own its tables: run "
            "`pgfolio migrate` as the role that does, then `pgfolio grants`"
        )


def _apply(conninfo: str) -> None:
    import yoyo as untyped  # noqa: PLC0415 -- needed once in a database's life

    yoyo: Any = untyped

    parameters = {name: value for name, value in conninfo_to_dict(conninfo).items() if value is not None}
    backend = yoyo.get_backend("postgresql+psycopg:///?" + urlencode(parameters))
    try:
        backend.apply_migrations(backend.to_apply(yoyo.read_migrations(str(FOLDER))))
    finally:
        backend.connection.close()
