"""The command: `pgfolio`, also `python -m flows`. Reads arguments, starts the work, turns errors into a line.

The query side is started as a process (`python -m query_api`), never imported.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import click

from config.models.base import ModelError
from config.settings import ConfigError, child_environment, load_settings
from flows import console
from flows.choose import chosen_sources
from flows.pipeline import FailedError, Options, run_sync
from schema.connect import DatabaseError, connect, database
from schema.embedded import EmbeddedError
from schema.overview import overview
from schema.sources import SourceBusyError

if TYPE_CHECKING:
    from flows.report import Report

FAILED, WRONG_USAGE, PARTIAL, INTERRUPTED = 1, 2, 3, 130
EXPECTED = (DatabaseError, EmbeddedError, ModelError, FailedError, SourceBusyError)
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
@click.option("--approve-deletes", type=click.IntRange(0), default=0, metavar="N", help="Let up to N removals pass.")
@click.option("--max-cost", type=click.FloatRange(0), metavar="USD", help="Stop before spending more.")
@as_json
def sync(
    sources: tuple[str, ...], *, plan: bool, full: bool, approve_deletes: int, max_cost: float | None, as_json: bool
) -> int:
    """Bring what is stored in line with the folders, now, and wait for it.

    Without arguments every known source is synced; a folder becomes a source and stays known.
    """
    settings = load_settings()
    options = Options(plan, full, approve_deletes, max_cost)
    with database(settings) as conninfo:
        with connect(conninfo) as connection:
            chosen = chosen_sources(connection, settings, sources)
        if not chosen:
            raise click.UsageError("there is no source yet: name a folder, as in `pgfolio sync ~/Documents`")
        try:
            with console.Display(shown=not as_json) as display:
                report = _run(settings, conninfo, chosen, options, display)
        except FailedError as error:
            if as_json:
                console.show_json(error.report.as_json())
            raise
    _show(report, as_json=as_json)
    return PARTIAL if report.status == "partial" else 0


@cli.command()
@as_json
def status(*, as_json: bool) -> int:
    """Sources, spaces and their indexes, the last runs, files that could not be done."""
    with database(load_settings()) as conninfo, connect(conninfo) as connection:
        found = overview(connection)
    (console.show_json if as_json else console.show_status)(found)
    return 0


@cli.command()
@as_json
def migrate(*, as_json: bool) -> int:
    """Apply migrations to the database."""
    from schema.migrate import FOLDER  # noqa: PLC0415

    with database(load_settings()):
        names = sorted(path.stem for path in FOLDER.glob("*.sql"))
    if as_json:
        console.show_json({"migrations": names})
    else:
        console.OUT.print(f"up to date: {', '.join(names)}")
    return 0


def _passed_on(name: str, text: str) -> None:
    """A command of the query side, with its own options."""

    @cli.command(
        name,
        help=text,
        add_help_option=False,
        context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    )
    @click.pass_context
    def passed_on(context: click.Context) -> int:
        arguments = [sys.executable, "-m", "query_api", name, *context.args]
        child = subprocess.Popen(arguments, env=child_environment())
        return _wait(child)


_passed_on("search", "Search, as the API does, in the terminal.")
_passed_on("ask", "Ask a question, answered from the documents.")
_passed_on("serve", "Run the HTTP API alone.")


def _run(settings: Any, conninfo: str, chosen: Any, options: Options, display: console.Display) -> Report:
    return run_sync(settings, conninfo, chosen, options, progress=display)


def _show(report: Report, *, as_json: bool) -> None:
    if as_json:
        console.show_json(report.as_json())
    else:
        console.show_report(report)


def _wait(child: subprocess.Popen[bytes]) -> int:
    """The child gets the terminal's Ctrl-C itself; we only wait until it is done."""
    while True:
        try:
            return child.wait()
        except KeyboardInterrupt:
            continue
        except SystemExit:
            child.terminate()
            raise


def main() -> None:
    """Run the command and leave with its exit code: 0 done, 1 failed, 2 wrong usage, 3 partial."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    arguments = [argument for argument in sys.argv[1:] if argument != "--verbose"]
    verbose = len(arguments) < len(sys.argv) - 1
    sys.exit(_guarded(arguments, verbose=verbose))


def _guarded(arguments: list[str], *, verbose: bool) -> int:
    try:
        return int(cli.main(arguments, prog_name="pgfolio", standalone_mode=False) or 0)
    except click.Abort:
        code, message = INTERRUPTED, "interrupted"
    except (KeyboardInterrupt, EOFError):
        code, message = INTERRUPTED, "interrupted; what was done until then is stored"
    except click.ClickException as error:
        error.show()
        return WRONG_USAGE
    except ConfigError as error:
        code, message = WRONG_USAGE, str(error)
    except EXPECTED as error:
        code, message = FAILED, str(error)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:  # noqa: BLE001 -- the last line of defence
        code, message = FAILED, f"{type(error).__name__}: {error} (--verbose shows where)"
    if verbose:
        console.ERR.print_exception()
    console.show_error(message)
    return code
