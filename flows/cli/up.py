"""`pgfolio up`: everything on one machine, as processes that end with it."""

from __future__ import annotations

import time
from collections import defaultdict
from typing import TYPE_CHECKING, NoReturn

import click

from pgfolio.config import command, models
from pgfolio.config.errors import ConfigError
from pgfolio.config.loading import load_settings
from pgfolio.config.machine import cores
from pgfolio.flows.cli import render
from pgfolio.flows.cli.options import Interval
from pgfolio.flows.cli.progress import Display
from pgfolio.flows.discovery.sources import selected_sources
from pgfolio.flows.discovery.watching import sort_out
from pgfolio.flows.ingest.pipeline import run_sync
from pgfolio.flows.local import network, prefect_server, processes
from pgfolio.flows.local.restarts import Restarts
from pgfolio.flows.reembedding.target import before_upgrade, upgrade_target
from pgfolio.flows.run.options import MAX_COST_USD, MAX_DIMENSIONS, FailedError, Options
from pgfolio.schema.corpus.sources import has_documents
from pgfolio.schema.database.connect import connect, database
from pgfolio.schema.operations.api_keys import require_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgfolio.config.settings import Settings
    from pgfolio.schema.records import Source

LISTENER = ("pushes", "pgfolio.flows.listen")
"""What makes documents of pushes: its name, and its module."""

UPGRADE = ("upgrade", "pgfolio.flows.upgrade")
"""What moves to a better space in the background."""

WATCH = ("watch", "pgfolio.flows.watch")
"""What syncs a folder when something changes in it."""


@click.command()
@click.argument("folders", nargs=-1, metavar="[FOLDER]...")
@click.option("--host", help="Where the API listens.")
@click.option("--port", type=click.IntRange(0, 65535), help="Default: 8000.")
@click.option("--every", type=Interval(), default="15m", show_default=True, help="Sync as often; 0: never.")
@click.option("--watch", is_flag=True, help="Sync a folder as soon as something changes in it, too.")
@click.option("--model", help="A better model, whose vectors are made in the background, then searched.")
@click.option(
    "--provider",
    type=click.Choice(["local", "transformers", "openai"]),
    help="Its provider. Default: by its name.",
)
@click.option(
    "--dimensions",
    type=click.IntRange(1, MAX_DIMENSIONS),
    help="Fewer than that model's own, where it offers that.",
)
@click.option(
    "--max-cost",
    type=command.Number(0, MAX_COST_USD),
    metavar="USD",
    help="What its vectors may cost, all tries together.",
)
def up(
    folders: tuple[str, ...],
    *,
    host: str | None,
    port: int | None,
    every: int,
    watch: bool,
    model: str | None,
    provider: str | None,
    dimensions: int | None,
    max_cost: float | None,
) -> int:
    """Everything on one machine: Postgres, migrations, a sync, the API, the schedule. Ctrl-C stops it all.

    With --model, or the settings' [upgrade], the first sync has the space of [embedding], so that search works in
    seconds; the better space is filled in the background, and searched once it is measured to be good.
    """
    settings = load_settings()
    if watch:
        sort_out({})
    target = upgrade_target(settings, provider, model, dimensions, max_cost)
    if target is not None:
        _check_target(target)
    host, port = host or settings.api.host, settings.api.port if port is None else port
    with database(settings) as conninfo, processes.children(settings.home) as started:
        with connect(conninfo) as connection:
            require_key(connection, host)
            port = network.free_port(host, port)
            selected = selected_sources(connection, settings, folders, note=render.show_note)
        if not selected:
            raise click.UsageError("there is no source yet: name a folder, as in `pgfolio up ~/Documents`")
        address = network.address(host, port)
        started.start(
            "api", "pgfolio.query_api", "serve", "--host", host, "--port", str(port), own_output=True
        )
        started.wait_for("api", f"{address}/health/live")
        _first_sync(before_upgrade(settings, target), conninfo, selected)
        render.say(f"\nOpen {address} in a browser to ask and to search.")
        render.say(f"The API answers at {address}; its description is at {address}/schema")
        render.say(f'Try: curl -s {address}/search --json \'{{"query": "..."}}\', or `pgfolio ask "..."`')
        started.start(*LISTENER)
        if watch:
            started.start(*WATCH, own_output=True)
        if target is not None:
            _start_upgrade(started, target)
        try:
            _keep_running(started, settings, every)
        except KeyboardInterrupt:  # how it is meant to end
            render.say("stopping")
            return 0
        finally:
            prefect_server.forget_schedule(settings.home)


def _keep_running(started: processes.Children, settings: Settings, every: int) -> NoReturn:
    """What ends is started again. Raises ChildError when the API has ended."""
    restarts: defaultdict[str, Restarts] = defaultdict(Restarts)
    if every:
        _schedule(started, restarts, settings, every)
    render.say("Ctrl-C stops everything.")
    while True:
        _report_ended(started, restarts)
        for name in [name for name, restart in restarts.items() if restart.due()]:
            if name == prefect_server.SCHEDULE and not started.knows(name):
                _schedule(started, restarts, settings, every)
            else:
                started.start_again(name)
        time.sleep(0.5)


def _check_target(target: Settings) -> None:
    """What can be known of it before anything is started. Raises ConfigError."""
    try:
        models.check_configured(target)
    except ConfigError as error:
        raise ConfigError(f"the better model cannot be used: {error}") from error


def _start_upgrade(started: processes.Children, target: Settings) -> None:
    """It speaks for itself. Libraries of half the cores leave the others to searches, whatever its priority."""
    embedding, max_cost = target.embedding, target.upgrade.max_cost
    options = {
        "--provider": None if embedding.provider == "auto" else embedding.provider,
        "--model": embedding.model or None,
        "--dimensions": embedding.dimensions,
        "--max-cost": max_cost,
    }
    arguments = [f"{name}={value}" for name, value in options.items() if value is not None]
    threads = {"OMP_NUM_THREADS": str(max(cores() // 2, 1)), "TOKENIZERS_PARALLELISM": "false"}
    started.start(*UPGRADE, *arguments, environment=threads, own_output=True)


def _first_sync(settings: Settings, conninfo: str, selected: Sequence[Source]) -> None:
    """What is stored can be searched, whatever becomes of it. Raises FailedError where nothing is."""
    try:
        with Display() as display:
            report = run_sync(settings, conninfo, selected, Options(started_by="up"), progress=display)
    except FailedError as error:
        with connect(conninfo) as connection:
            if not has_documents(connection):
                raise
        render.show_note(f"{error}; what is stored can be searched")
    else:
        render.show_report(report)


def _schedule(
    started: processes.Children, restarts: defaultdict[str, Restarts], settings: Settings, every: int
) -> None:
    """Search is worth more than a schedule: while none can be had `up` goes on, and tries again."""
    try:
        prefect = prefect_server.start_schedule(started, settings.home, every)
    except network.ChildError as error:
        started.forget(prefect_server.SERVER)
        _report_ended(started, restarts)
        pause = restarts[prefect_server.SCHEDULE].ended()
        render.show_note(f"there is no schedule yet: {error}; it is tried again in {pause:.0f} s")
    else:
        render.say(
            f"Syncing again every {every} s; Prefect shows the runs at {prefect.url.removesuffix('/api')}"
        )
        if prefect.password:
            render.say(f'Its page asks for a password: "auth" in {prefect_server.state_file(settings.home)}')


def _report_ended(started: processes.Children, restarts: defaultdict[str, Restarts]) -> None:
    """Raises ChildError when the API has ended; says so when another child has, and when it comes back: what makes
    documents of pushes, Prefect's server, and the schedule, whose runs a killed one leaves behind."""
    for name, child in started.ended().items():
        if name == "api":
            raise network.ChildError(child.sentence)
        if name == UPGRADE[0] and not child.code:
            continue  # it is done, and has said so
        render.show_note(f"{child.sentence}; it is started again in {restarts[name].ended():.0f} s")
