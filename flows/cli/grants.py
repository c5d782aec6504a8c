"""`pgfolio grants`: the SQL for an owner, a writer and a reader of the database in use."""

from __future__ import annotations

import click

from pgfolio.config.loading import load_settings
from pgfolio.schema.database.connect import connect, database
from pgfolio.schema.database.grants import Roles, grants


@click.command("grants")
@click.option("--owner", metavar="NAME", help="Who migrates. Default: whoever owns the tables.")
@click.option("--writer", metavar="NAME", default=Roles().writer, show_default=True, help="The flows' role.")
@click.option("--reader", metavar="NAME", default=Roles().reader, show_default=True, help="The API's role.")
def print_grants(*, owner: str | None, writer: str, reader: str) -> int:
    """Print the SQL that lets three roles share the database, each with no more than it needs.

    It changes nothing: look at it, then `pgfolio grants | psql URL` as an administrator. Again after an upgrade.
    """
    with database(load_settings(), pooled=True) as conninfo, connect(conninfo) as connection:
        text = grants(connection, Roles(owner, writer, reader))
    click.echo(text, nl=False)
    return 0
