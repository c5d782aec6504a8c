"""Applying migrations/*.sql with yoyo, then what changed of functions/*.sql, one process at a time.

A migration runs once and stays as it is. What a function does today is told, and changed, in functions/*.sql alone
(schema/database/define.py).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from psycopg.conninfo import conninfo_to_dict

from pgfolio.schema.database import locks
from pgfolio.schema.database.define import define, outdated

if TYPE_CHECKING:
    import psycopg

FOLDER = Path(__file__).parents[1] / "migrations"


def migrate(connection: psycopg.Connection[Any], conninfo: str) -> list[str]:
    """Apply what is missing and return the migrations' names.

    The lock is PostgreSQL's own: yoyo keeps its lock in a table, where a killed process would leave it.
    """
    if not pending(connection) and not outdated(connection):
        return []
    connection.execute("select pg_advisory_xact_lock(%s)", [locks.MIGRATIONS])
    try:
        missing = pending(connection)
        if missing:
            _apply(conninfo)
        define(connection)
        connection.commit()
    finally:
        connection.rollback()
    return missing


def pending(connection: psycopg.Connection[Any]) -> list[str]:
    """Names of the migrations that this database lacks."""
    names = sorted(path.stem for path in FOLDER.glob("*.sql"))
    known = connection.execute("select to_regclass('_yoyo_migration')").fetchone()
    if known is None or known[0] is None:
        return names
    applied = {row[0] for row in connection.execute("select migration_id from _yoyo_migration")}
    return [name for name in names if name not in applied]


def _apply(conninfo: str) -> None:
    import yoyo as untyped  # noqa: PLC0415 -- needed once in a database's life

    yoyo: Any = untyped

    parameters = {name: value for name, value in conninfo_to_dict(conninfo).items() if value is not None}
    backend = yoyo.get_backend("postgresql+psycopg:///?" + urlencode(parameters))
    try:
        backend.apply_migrations(backend.to_apply(yoyo.read_migrations(str(FOLDER))))
    finally:
        backend.connection.close()
