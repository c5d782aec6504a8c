"""The command: `pgfolio`, also `python -m pgfolio.flows`. Finds what was called, and turns errors into a line.

A command's module is imported when it is called: all of them take longer than most commands do. The query side is
started as a process (`python -m pgfolio.query_api`), never imported.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from importlib.metadata import version
from typing import Final

import click

from pgfolio.config import command
from pgfolio.config.environment import child_environment

COMMANDS: Final = {
    "deploy": "deploy:deploy",
    "export": "export:export_database",
    "grants": "grants:print_grants",
    "index": "runs:index_",
    "keys": "keys:keys",
    "migrate": "migrate:migrate",
    "reembed": "runs:reembed",
    "sources": "sources:sources",
    "status": "status:status",
    "sync": "runs:sync",
    "up": "up:up",
    "verify": "runs:verify",
    "worker": "deploy:worker",
}
"""Each with its module beside this one, and its name there."""

OF_THE_QUERY_SIDE: Final = {
    "search": "Search, as the API does, in the terminal.",
    "ask": "Ask a question, answered from the documents.",
    "eval": "Measure retrieval on labelled queries: nDCG@10, MRR@10, recall@10, latency.",
    "serve": "Run the HTTP API alone.",
    "mcp": "Let an assistant search and read: the Model Context Protocol on standard input and output.",
}


class LazyGroup(click.Group):
    """Knows its commands by name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return sorted({*COMMANDS, *OF_THE_QUERY_SIDE})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name in OF_THE_QUERY_SIDE:
            return _passed_on(cmd_name, OF_THE_QUERY_SIDE[cmd_name])
        if cmd_name not in COMMANDS:
            return None
        module, name = COMMANDS[cmd_name].split(":")
        imported: click.Command = getattr(import_module(f"pgfolio.flows.cli.{module}"), name)
        return imported


@click.group(
    cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(version("pgfolio"), prog_name="pgfolio")
@click.option("--verbose", is_flag=True, help="Show the traceback of an error.")
def cli(*, verbose: bool) -> None:
    """Keeps folders of documents searchable and answerable on one PostgreSQL."""
    del verbose  # read by main


def _passed_on(name: str, text: str) -> click.Command:
    """A command of the query side, with its own options."""

    @click.command(
        name,
        help=text,
        add_help_option=False,
        context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    )
    def passed_on() -> None:
        # In this process's place, so that signals and the exit code are its own. As they were given: click takes away
        # the `--` before a text that begins with a dash.
        verbose = ["--verbose"] if "--verbose" in sys.argv else []
        given = [argument for argument in sys.argv[1:] if argument != "--verbose"]
        arguments = [sys.executable, "-m", "pgfolio.query_api", *verbose, *given[given.index(name) :]]
        os.execve(sys.executable, arguments, child_environment())  # noqa: S606

    return passed_on


def main() -> None:
    """Run the command and leave with its exit code: 0 done, 1 failed, 2 wrong usage, 3 partial."""
    command.run(cli)
