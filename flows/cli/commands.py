"""The command: `pgfolio`, also `python -m pgfolio.flows`. Reads arguments, starts the work, turns errors into a line.

The query side is started as a process (`python -m pgfolio.query_api`), never imported.
"""

from __future__ import annotations

import os
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pgfolio.config import command
from pgfolio.config.models.protocols import ModelError
from pgfolio.config.settings import ConfigError, child_environment, load_settings
from pgfolio.flows.cli import options, render
from pgfolio.flows.cli.keys import keys
from pgfolio.flows.discovery.sources import selected_sources
from pgfolio.flows.index.tuning import run_tuning
from pgfolio.flows.ingest.pipeline import run_sync
from pgfolio.flows.integrity.repair import run_repair
from pgfolio.flows.integrity.verify import run_verify
from pgfolio.flows.launch import find_launcher, launch_reembed, launch_sync
from pgfolio.flows.local import network, prefect_server, processes
from pgfolio.flows.reembedding.run import with_model
from pgfolio.flows.run.options import FailedError, Options
from pgfolio.schema.corpus.sources import SourceBusyError, has_documents
from pgfolio.schema.database.bundled import EmbeddedError
from pgfolio.schema.database.connect import DatabaseError, connect, database
from pgfolio.schema.operations.api_keys import NoKeyError, WrongKeyError, require_key
from pgfolio.schema.operations.overview import describe_generations, overview

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgfolio.config.settings import Settings
    from pgfolio.flows.launch import Launcher
    from pgfolio.flows.run.report import Report
    from pgfolio.schema.records import Source

EXPECTED = (DatabaseError, EmbeddedError, ModelError, FailedError, SourceBusyError, network.ChildError)
WRONG = (ConfigError, NoKeyError, WrongKeyError)
"""Errors whose message is made for the user."""

as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(version("pgfolio"), prog_name="pgfolio")
@click.option("--verbose", is_flag=True, help="Show the traceback of an error.")
def cli(*, verbose: bool) -> None:
    """Keeps folders of documents searchable and answerable on one PostgreSQL."""
    del verbose  # read by main


@cli.command()
@click.argument("sources", nargs=-1, metavar="[SOURCE_OR_FOLDER]...")
@click.option("--plan", is_flag=True, help="Show what would be done; change nothing.")
@click.option("--full", is_flag=True, help="Read every file, whatever its stat says.")
@click.option(
    "--approve-deletes", type=click.IntRange(0), default=0, metavar="N", help="Let up to N removals pass."
)
@click.option("--max-cost", type=command.Number(0), metavar="USD", help="Stop before spending more.")
@as_json
def sync(
    sources: tuple[str, ...],
    *,
    plan: bool,
    full: bool,
    approve_deletes: int,
    max_cost: float | None,
    as_json: bool,
) -> int:
    """Bring what is stored in line with the folders, now, and wait for it.

    Without arguments every known source is synced; a folder becomes a source and stays known.
    """
    settings = load_settings()
    options = Options(plan, full, approve_deletes, max_cost)
    launcher = _launcher(settings, options)
    with database(settings) as conninfo:
        with connect(conninfo) as connection:
            selected = selected_sources(connection, settings, sources)
            if plan:
                connection.rollback()  # a folder that is only looked at does not become known
        if not selected:
            raise click.UsageError("there is no source yet: name a folder, as in `pgfolio sync ~/Documents`")
        try:
            with render.Display(visible=not as_json) as display:
                report = launch_sync(launcher, settings, conninfo, selected, options, display)
        except FailedError as error:
            if as_json:
                render.show_json(error.report.as_json())
            raise
    _show(report, as_json=as_json)
    return command.PARTIAL if report.status == "partial" else 0


@cli.command()
@click.option("--provider", type=click.Choice(["local", "openai"]), help="Default: as the settings say.")
@click.option("--model", help="The provider's name of the model.")
@click.option(
    "--dimensions", type=click.IntRange(1, 4000), help="Fewer than the model's own, where it offers that."
)
@click.option(
    "--plan", is_flag=True, help="Show what would be embedded and what it would cost; change nothing."
)
@click.option("--rollback", is_flag=True, help="Go back to the vectors that were active before, at once.")
@click.option("--force", is_flag=True, help="Switch whatever is measured, and whatever is missing.")
@click.option(
    "--eval",
    "labelled",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Labelled queries, as `pgfolio eval` takes them: nDCG@10 must not fall.",
)
@click.option("--max-cost", type=command.Number(0), metavar="USD", help="Stop before spending more.")
@as_json
def reembed(
    provider: str | None,
    model: str | None,
    dimensions: int | None,
    *,
    plan: bool,
    rollback: bool,
    force: bool,
    labelled: Path | None,
    max_cost: float | None,
    as_json: bool,
) -> int:
    """Move the corpus to another embedding space while search and syncs go on.

    The space is the settings' one, or that of the options; a later sync goes on in the space that is active. The new
    vectors are measured before searches use them; the old ones stay for a time, for --rollback.
    """
    space = {"provider": provider, "model": model, "dimensions": dimensions}
    settings = with_model(load_settings(), provider, model, dimensions)
    options = Options(plan_only=plan, max_cost=max_cost)
    launcher = _launcher(settings, options)
    with database(settings) as conninfo:
        try:
            with render.Display(visible=not as_json) as display:
                report = launch_reembed(
                    launcher,
                    settings,
                    conninfo,
                    options,
                    display,
                    space=space,
                    rollback=rollback,
                    force=force,
                    labelled=labelled,
                )
        except FailedError as error:
            if as_json:
                render.show_json(error.report.as_json())
            raise
        if not as_json:
            with connect(conninfo) as connection:
                keep_days = settings.index.keep_generations_days
                render.show_move(report, describe_generations(connection, keep_days))
    if as_json:
        render.show_json(report.as_json())
    return command.PARTIAL if report.status == "partial" else 0


@cli.command()
@click.argument("folders", nargs=-1, metavar="[FOLDER]...")
@click.option("--host", help="Where the API listens.")
@click.option("--port", type=click.IntRange(0, 65535), help="Default: 8000.")
@click.option(
    "--every", type=options.Interval(), default="15m", show_default=True, help="Sync as often; 0: never."
)
def up(folders: tuple[str, ...], *, host: str | None, port: int | None, every: int) -> int:
    """Everything on one machine: Postgres, migrations, a sync, the API, the schedule. Ctrl-C stops it all."""
    settings = load_settings()
    host, port = host or settings.api.host, settings.api.port if port is None else port
    with database(settings) as conninfo, processes.children(settings.home) as started:
        with connect(conninfo) as connection:
            require_key(connection, host)
            port = network.free_port(host, port)
            selected = selected_sources(connection, settings, folders)
        if not selected:
            raise click.UsageError("there is no source yet: name a folder, as in `pgfolio up ~/Documents`")
        address = network.address(host, port)
        started.start("api", "query_api", "serve", "--host", host, "--port", str(port), own_output=True)
        started.wait_for(f"{address}/health/live", "the API")
        _first_sync(settings, conninfo, selected)
        render.say(f"\nThe API answers at {address}; its description is at {address}/schema")
        render.say(f'Try: curl -s {address}/search --json \'{{"query": "..."}}\', or `pgfolio ask "..."`')
        started.start("pushes", "pgfolio.flows.listen")
        try:
            if every:
                _schedule(started, settings, every)
            render.say("Ctrl-C stops everything.")
            while True:
                _report_ended(started)
                time.sleep(0.5)
        except KeyboardInterrupt:  # how it is meant to end
            render.say("stopping")
            return 0
        finally:
            prefect_server.forget_schedule(settings.home)


@cli.command()
@as_json
def status(*, as_json: bool) -> int:
    """Sources, spaces and their indexes, the last runs, files that could not be done."""
    settings = load_settings()
    with database(settings) as conninfo, connect(conninfo) as connection:
        status_overview = overview(
            connection,
            None,
            keep_generations_days=settings.index.keep_generations_days,
            ef_search=settings.index.ef_search,
        )
    (render.show_json if as_json else render.show_status)(status_overview)
    return 0


@cli.command()
@click.option("--repair", is_flag=True, help="Mend what can be mended; no sync may run meanwhile.")
@as_json
def verify(*, repair: bool, as_json: bool) -> int:
    """Does what is stored match what the ledger says: documents, chunks, vectors, indexes.

    A repair embeds only texts whose vector is stored nowhere, and makes documents anew from their files.
    """
    settings = load_settings()
    with database(settings) as conninfo, render.Display(visible=not as_json) as display:
        verification = (
            run_repair(settings, conninfo, progress=display)
            if repair
            else run_verify(conninfo, progress=display)
        )
    if as_json:
        render.show_json(verification.as_json())
    else:
        render.show_verification(verification)
    return 0 if verification.complete else command.PARTIAL


@cli.command("index")
@click.option(
    "--tune", is_flag=True, help="Measure recall and latency, choose the cheapest settings that do."
)
@click.option("--rebuild", is_flag=True, help="Build the index anew, whether it pays or not.")
@click.option(
    "--target-recall", type=command.Number(0.5, 1.0), help="recall@10 to be met. Default: the settings'."
)
@as_json
def index_(*, tune: bool, rebuild: bool, target_recall: float | None, as_json: bool) -> int:
    """Measure, tune, rebuild the HNSW index of the active space.

    Without options it only measures. Searches go on all the time, and have an index.
    """
    settings = load_settings()
    target = target_recall or settings.index.target_recall
    with database(settings) as conninfo, render.Display(visible=not as_json) as display:
        tuning = run_tuning(settings, conninfo, target, tune=tune, rebuild=rebuild, progress=display)
    if as_json:
        render.show_json(tuning.as_json())
    else:
        render.show_tuning(tuning)
    return 0 if tuning.met else command.PARTIAL


@cli.command()
@as_json
def migrate(*, as_json: bool) -> int:
    """Apply migrations to the database."""
    from pgfolio.schema.database.migrate import FOLDER  # noqa: PLC0415

    with database(load_settings()):
        names = sorted(path.stem for path in FOLDER.glob("*.sql"))
    if as_json:
        render.show_json({"migrations": names})
    else:
        render.OUT.print(f"up to date: {', '.join(names)}")
    return 0


cli.add_command(keys)


def _passed_on(name: str, text: str) -> None:
    """A command of the query side, with its own options."""

    @cli.command(
        name,
        help=text,
        add_help_option=False,
        context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    )
    def passed_on() -> None:
        # In this process's place, so that signals and the exit code are its own. As they were given: click takes away
        # the `--` before a text that begins with a dash.
        verbose = ["--verbose"] if "--verbose" in sys.argv else []
        arguments_given = [argument for argument in sys.argv[1:] if argument != "--verbose"]
        arguments = [
            sys.executable,
            "-m",
            "pgfolio.query_api",
            *verbose,
            *arguments_given[arguments_given.index(name) :],
        ]
        os.execve(sys.executable, arguments, child_environment())  # noqa: S606


_passed_on("search", "Search, as the API does, in the terminal.")
_passed_on("ask", "Ask a question, answered from the documents.")
_passed_on("eval", "Measure retrieval on labelled queries: nDCG@10, MRR@10, recall@10, latency.")
_passed_on("serve", "Run the HTTP API alone.")


def _first_sync(settings: Settings, conninfo: str, selected: Sequence[Source]) -> None:
    """What is stored can be searched, whatever becomes of it. Raises FailedError where nothing is."""
    try:
        with render.Display() as display:
            report = run_sync(settings, conninfo, selected, Options(started_by="up"), progress=display)
    except FailedError as error:
        with connect(conninfo) as connection:
            if not has_documents(connection):
                raise
        render.show_note(f"{error}; what is stored can be searched")
    else:
        render.show_report(report)


def _schedule(started: processes.Children, settings: Settings, every: int) -> None:
    """Search is worth more than a schedule: without one `up` goes on."""
    try:
        url = prefect_server.start_schedule(started, settings.home, every)
    except network.ChildError as error:
        if lost := started.ended().get("api"):
            raise network.ChildError(lost) from error
        render.show_note(f"{error}; there is no schedule: run `pgfolio sync` yourself")
    else:
        render.say(f"Syncing again every {every} s; Prefect shows the runs at {url.removesuffix('/api')}")


def _report_ended(started: processes.Children) -> None:
    """Raises ChildError when the API has ended; says so when another child has."""
    for name, sentence in started.ended().items():
        if name == "api":
            raise network.ChildError(sentence)
        lost = "pushed documents wait for the next sync" if name == "pushes" else "the schedule is over"
        render.show_note(f"{sentence}; {lost}: run `pgfolio sync` yourself, or start again")


def _launcher(settings: Settings, options: Options) -> Launcher:
    launcher = find_launcher(settings, options)
    if launcher.note:
        render.show_note(launcher.note)
    return launcher


def _show(report: Report, *, as_json: bool) -> None:
    if as_json:
        render.show_json(report.as_json())
    else:
        render.show_report(report)


def main() -> None:
    """Run the command and leave with its exit code: 0 done, 1 failed, 2 wrong usage, 3 partial."""
    command.run(cli, expected=EXPECTED, wrong=WRONG)
