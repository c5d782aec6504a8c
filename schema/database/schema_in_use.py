"""Where our tables are to be: the schema that search_path names, and pgvector in reach of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from psycopg.rows import class_row

from pgfolio.schema.database.errors import DatabaseError
from pgfolio.schema.database.statements import statement

if TYPE_CHECKING:
    import psycopg

PGVECTOR_MINIMUM: Final = (0, 8, 4)


class SchemaInUse(NamedTuple):
    """As the server tells it. `installed`: pgvector's version in this database; `offered`: that of the server;
    `extension_schema`: where its types are, `is_visible` whether search_path finds them there."""

    schema: str | None
    search_path: str
    installed: str | None
    offered: str | None
    extension_schema: str | None
    is_visible: bool
    may_create_extension: bool


def check_schema_in_use(connection: psycopg.Connection[Any]) -> None:
    """Raises DatabaseError where our tables cannot be there, with what to do."""
    with connection.cursor(row_factory=class_row(SchemaInUse)) as cursor:
        in_use = cursor.execute(statement("schema_of_search_path")).fetchone()
    if in_use is not None and (problem := unusable(in_use)):
        raise DatabaseError(problem)


def unusable(in_use: SchemaInUse) -> str | None:
    """Why our tables cannot be there."""
    minimum = ".".join(map(str, PGVECTOR_MINIMUM))
    version = in_use.installed or in_use.offered
    if version is None:
        return f"this PostgreSQL has no pgvector: install pgvector {minimum} or newer on its server"
    if tuple(int(part) for part in version.split(".")) < PGVECTOR_MINIMUM:
        return (
            f"pgvector {version} is too old: {minimum} or newer is needed (older ones corrupt HNSW indexes on "
            "vacuum); update it on the server, then run `ALTER EXTENSION vector UPDATE`"
        )
    if in_use.schema is None:
        return (
            f"none of the schemas of search_path ({in_use.search_path}) is there, or may be used by this role: "
            "create it, as in `CREATE SCHEMA pgfolio`, or name another in the URL (?options=-csearch_path%3DNAME)"
        )
    if in_use.installed and not in_use.is_visible:
        return (
            f"pgvector is in the schema {in_use.extension_schema}, which search_path ({in_use.search_path}) leaves "
            f"out: add it behind your own (?options=-csearch_path%3D{in_use.schema},{in_use.extension_schema})"
        )
    if not in_use.installed and not in_use.may_create_extension:
        return (
            "this database has no pgvector yet, and this role may not create it: have an administrator run `CREATE "
            "EXTENSION vector` in it"
        )
    return None
