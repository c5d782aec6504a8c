"""`python -m tests.bench.moods` runs a sync against the model server in each of its bad moods and prints what came
of it as a Markdown table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from psycopg import sql
from rich.console import Console

from pgfolio.config.loading import load_settings
from pgfolio.schema.database.connect import connect, database
from tests.bench.room import new_room
from tests.environment import without_settings
from tests.fakes.openai_server import FakeOpenAI
from tests.flows.ingest.fault_scenarios import CHUNKS, FILES, cases, observe

if TYPE_CHECKING:
    from tests.flows.ingest.fault_scenarios import Case, Observed

ERR = Console(stderr=True, highlight=False)


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--down", type=float, default=30.0, show_default=True, help="Seconds that the server is away.")
def main(*, down: float) -> None:
    """Uses a Postgres of its own and removes everything it made."""
    without_settings()
    room = new_room()
    settings = load_settings(home=room / "home")
    settings.home.mkdir()
    print(f"A first sync of {FILES} documents, {CHUNKS} chunks in one batch.\n")
    print("| the model server | what the run does | outcome | requests | s |\n|---|---|---|---|---|")
    with database(settings) as conninfo:
        for number, case in enumerate(cases(down)):
            emptied(conninfo)
            with ERR.status(case.name), FakeOpenAI() as server:
                seen = observe(case, server, conninfo, room / f"pages{number}")
            print(_row(case, seen), flush=True)


def emptied(conninfo: str) -> None:
    with connect(conninfo) as connection:
        connection.execute("truncate sources, spaces, documents, ledger, runs, rate_limits cascade")
        tables = connection.execute("select tablename from pg_tables where tablename ~ '^vectors_'")
        for (table,) in tables.fetchall():
            connection.execute(sql.SQL("drop table {}").format(sql.Identifier(table)))


def _row(case: Case, seen: Observed) -> str:
    outcome: list[str] = [seen.report.status]
    if seen.report.documents.added:
        outcome.append(f"{seen.report.documents.added} of {FILES} documents stored")
    outcome += [f"{path}: {reason}" for path, reason in seen.failed.items()]
    if seen.report.error:
        outcome.append(f"“{seen.report.error}”")
    return f"| {case.name} | {case.does} | {'; '.join(outcome)} | {seen.requests} | {seen.seconds:.1f} |"


if __name__ == "__main__":
    main()
