"""Fills a better space in the background, then has searches use it: `python -m pgfolio.flows.upgrade`, which
`pgfolio up` starts. Ends by itself when that is done or cannot be."""

from __future__ import annotations

import click
from rich.markup import escape

from pgfolio.config import command
from pgfolio.config.loading import load_settings
from pgfolio.config.terminal import ERR
from pgfolio.flows.reembedding.target import upgrade_target
from pgfolio.flows.reembedding.upgrade import run_upgrade
from pgfolio.schema.database import priority
from pgfolio.schema.database.connect import database


@click.command()
@click.option("--provider")
@click.option("--model")
@click.option("--dimensions", type=int)
@click.option("--max-cost", type=float)
def main(*, provider: str | None, model: str | None, dimensions: int | None, max_cost: float | None) -> None:
    """Move to a better space in the background."""
    settings = upgrade_target(load_settings(), provider, model, dimensions, max_cost)
    if settings is None:
        raise click.UsageError("name a model")
    priority.lower(settings.upgrade.niceness)
    with database(settings) as conninfo:
        run_upgrade(settings, conninfo, _say)


def _say(sentence: str) -> None:
    ERR.print(escape(f"upgrade: {sentence}"))


if __name__ == "__main__":
    command.run(main)
