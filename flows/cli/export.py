"""`pgfolio export`: moves what is stored to another database."""

from __future__ import annotations

import time

import click

from pgfolio.config.loading import load_settings
from pgfolio.flows.cli import render
from pgfolio.flows.cli.options import as_json
from pgfolio.flows.cli.progress import Display
from pgfolio.schema.database.connect import database, without_password
from pgfolio.schema.operations.export import export


@click.command("export")
@click.option("--to", "target", metavar="URL", required=True, help="An empty database; also a schema of one.")
@as_json
def export_database(*, target: str, as_json: bool) -> int:
    """Copy the database in use to another one, without embedding anything again.

    The bundled Postgres to a server of yours, or one server to another; the copy is one moment's state, which syncs
    meanwhile do not change. It is all or nothing, compared with the original at the end. Then set
    PGFOLIO_DATABASE_URL.
    """
    settings, began = load_settings(), time.perf_counter()
    with database(settings) as conninfo, Display(visible=not as_json) as display:
        rows = export(conninfo, target, settings.index.m, settings.index.ef_construction, display.stage)
    seconds = round(time.perf_counter() - began, 1)
    if as_json:
        render.show_json({"rows": rows, "seconds": seconds})
    else:
        render.say(
            f"copied {rows['documents']:,} documents and {rows['chunks']:,} chunks in {seconds} s; set "
            f"PGFOLIO_DATABASE_URL to {without_password(target)}"
        )
    return 0
