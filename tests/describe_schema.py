"""`python -m tests.describe_schema` writes schema/schema.sql: today's schema, as a database that is new has it.

Read from the catalog: pg_dump would scatter what belongs to a table. Functions stand there by their signatures alone,
for their text is functions/*.sql.
"""

from __future__ import annotations

import re
import tempfile
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import aiosql

from pgfolio.config.loading import load_settings
from pgfolio.schema.database.bundled import bundled_postgres
from pgfolio.schema.database.connect import connect, prepare

if TYPE_CHECKING:
    from pgfolio.schema.database.connect import Connection

FILE = Path(__file__).resolve().parents[1] / "schema" / "schema.sql"
COMMAND = "python -m tests.describe_schema"
TOP = f"""\
-- Today's schema, to be read; nothing runs it. Made by `{COMMAND}`: what it says changes by
-- migrations/*.sql and functions/*.sql.
"""
CATALOG = aiosql.from_path(Path(__file__).with_suffix(".sql"), "psycopg", mandatory_parameters=False)


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="pgfolio-schema-") as folder:
        home = Path(folder)
        home.chmod(0o755)  # as root, Postgres runs under a user of its own
        memory = {"shared_buffers_mb": 64, "maintenance_work_mem_mb": 64}
        with bundled_postgres(home, load_settings(home=home, postgres=memory).postgres) as conninfo:
            prepare(conninfo)
            with connect(conninfo) as connection:
                FILE.write_text(description(connection), encoding="utf-8")


def description(connection: Connection) -> str:
    """The schema of a database of which nobody has made anything else."""
    extensions = [_ended(text) for (text,) in CATALOG.extensions(connection)]
    configurations = [
        _comment(f"Text search configurations through the dictionary {dictionary}: {names}.")
        for dictionary, names in CATALOG.configurations(connection)
    ]
    tables = [_table(connection, *row) for row in CATALOG.tables(connection)]
    signatures = "".join(f"--   {_quiet(signature)}\n" for _, signature in CATALOG.functions(connection))
    functions = f"-- Functions, whose text is functions/*.sql:\n{signatures}"
    return "\n".join([TOP, *extensions, *configurations, *tables, functions])


def functions(connection: Connection) -> set[str]:
    """The names of all functions that no extension brought."""
    return {name for name, _ in CATALOG.functions(connection)}


def _table(connection: Connection, oid: int, name: str, comment: str | None, options: str | None) -> str:
    columns = list(CATALOG.columns(connection, table=oid))
    lines = [*columns, *((text, None) for (text,) in CATALOG.constraints(connection, table=oid))]
    afterwards = [
        _ended(text)
        for read in (CATALOG.statistics, CATALOG.indexes, CATALOG.triggers)
        for (text,) in read(connection, table=oid)
    ]
    return "".join(
        [_comment(comment), f"create table {name} (\n", _listed(lines), f"){options or ''};\n", *afterwards]
    )


def _listed(lines: list[tuple[str, str | None]]) -> str:
    last = len(lines) - 1
    return "".join(
        f"    {_quiet(text)}{'' if number == last else ','}{f'  -- {comment}' if comment else ''}\n"
        for number, (text, comment) in enumerate(lines)
    )


def _ended(text: str) -> str:
    return f"{_quiet(text)};\n"


def _quiet(text: str) -> str:
    """What the server's words say, as one would write it."""
    text = re.sub(r"'[^']*'|[A-Z]+", lambda found: found[0] if found[0][0] == "'" else found[0].lower(), text)
    for servers, ours in (
        (r"('[^']*')::(text|jsonb)(\[\])?", r"\1"),
        (r"'\n'", r"E'\\n'"),
        (r"= any \(array\[(.*?)\]\)", r"in (\1)"),
        (r"timestamp with time zone", "timestamptz"),
        (r"(?= for each statement)", "\n   "),
    ):
        text = re.sub(servers, ours, text)
    return text


def _comment(text: str | None) -> str:
    return "".join(f"-- {line}\n" for line in textwrap.wrap(text or "", 115))


if __name__ == "__main__":
    main()
