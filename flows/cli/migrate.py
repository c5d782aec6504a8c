"""`pgfolio migrate`."""

from __future__ import annotations

import click

from pgfolio.config.loading import load_settings
from pgfolio.flows.cli import render
from pgfolio.flows.cli.options import as_json
from pgfolio.schema.database.connect import database
from pgfolio.schema.database.migrate import FOLDER


@click.command()
@as_json
def migrate(*, as_json: bool) -> int:
    """Apply migrations to the database."""
    with database(load_settings()):
        names = sorted(path.stem for path in FOLDER.glob("*.sql"))
    if as_json:
        render.show_json({"migrations": names})
    else:
        render.OUT.print(f"up to date: {', '.join(names)}")
    return 0
