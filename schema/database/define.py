"""Defining functions/*.sql: today's text of every SQL function, each in the file that is named after it.

Functions change there, and nowhere else: migrations that made the first ones stay as they are. At each start those
whose text is another than the database has are defined anew, after the migrations and under their lock.

- Each file is `create or replace function`, which keeps the function's signature and what depends on it. Where a
  signature or a return type is to change, or a function to go, a new migration drops the function.
- What is stored of results stays as it was: chunks.lexemes and documents.names. A change of what makes them comes
  with a migration that makes them anew and that has the function's new text too, because migrations come first.

Which text a database has stands in its table `functions`, as digests of the files: PostgreSQL keeps a body as it
parsed it, and some files make the body from what the database has. With each stands the version of pgfolio that
brought it: an older one that starts beside a newer one must not put its own text back, for the two would take turns.
"""

from __future__ import annotations

import re
from graphlib import TopologicalSorter
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pgfolio.schema.database.statements import fetch_one, statement

if TYPE_CHECKING:
    from collections.abc import Mapping

    import psycopg

FUNCTIONS = Path(__file__).parents[1] / "functions"


def define(connection: psycopg.Connection[Any]) -> None:
    """Define what is outdated, in the caller's transaction."""
    for name, text in outdated(connection).items():
        connection.execute(text.encode())
        connection.execute(
            statement("function_defined"), {"name": name, "digest": _digest(text), "version": _version()}
        )


def outdated(connection: psycopg.Connection[Any]) -> dict[str, str]:
    """The texts that this database lacks, by name and each after those that it calls; none where a later version of
    pgfolio defined any."""
    current = texts()
    defined = {name: rest for name, *rest in connection.execute(statement("defined_functions"))}
    lacking = [name for name, text in current.items() if defined.get(name, [b""])[0] != _digest(text)]
    if not lacking or any(by > _version() for _, by in defined.values()):
        return {}
    return {name: current[name] for name in ordered(current) if name in lacking}


def has_own_table(connection: psycopg.Connection[Any], name: str) -> bool:
    """Whether the schema in use has it: one that search_path names behind it may be another application's, or hold
    another pgfolio's tables."""
    return bool(fetch_one(connection, "own_table", {"name": name})[0])


def newest_version(connection: psycopg.Connection[Any]) -> str | None:
    """Of the pgfolios that defined functions here."""
    if not has_own_table(connection, "functions"):
        return None
    versions: list[list[int]] = [by for _, _, by in connection.execute(statement("defined_functions"))]
    newest = max(versions, default=_version())
    return ".".join(map(str, newest)) if newest > _version() else None


def texts() -> dict[str, str]:
    """What each file says, by the name of its function."""
    return {path.stem: path.read_text(encoding="utf-8") for path in sorted(FUNCTIONS.glob("*.sql"))}


def ordered(functions: Mapping[str, str]) -> list[str]:
    """Their names, each after those whose call its text shows: PostgreSQL looks them up when it defines it."""
    calls = {
        name: [other for other in functions if other != name and re.search(rf"\b{other}\(", text)]
        for name, text in functions.items()
    }
    return list(TopologicalSorter(calls).static_order())


def _digest(text: str) -> bytes:
    return sha256(text.encode()).digest()


def _version() -> list[int]:
    """The release's numbers: 0.3.0rc1 is as old as 0.3.0."""
    release = re.split(r"[^\d.]", version("pgfolio"))[0]
    return [int(number) for number in release.split(".") if number]
