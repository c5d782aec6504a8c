"""`pgfolio sync`, `reembed`, `verify`, `index`: the commands that start a flow."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pgfolio.config import command
from pgfolio.config.loading import load_settings
from pgfolio.flows.batches.choice import refuse_elsewhere
from pgfolio.flows.cli import render
from pgfolio.flows.cli.options import as_json, batch
from pgfolio.flows.cli.progress import Display
from pgfolio.flows.discovery.sources import selected_sources
from pgfolio.flows.launch import find_launcher, launch_index, launch_reembed, launch_sync, launch_verify
from pgfolio.flows.reembedding.target import reembed_target
from pgfolio.flows.run.options import (
    MAX_APPROVED_DELETES,
    MAX_COST_USD,
    MAX_DIMENSIONS,
    MIN_TARGET_RECALL,
    FailedError,
    Options,
)
from pgfolio.schema.database.connect import connect, database
from pgfolio.schema.operations.overview import describe_generations
from pgfolio.schema.vectors.generations import active_generation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgfolio.config.settings import Settings
    from pgfolio.flows.launch import Launcher
    from pgfolio.flows.run.report import Report


@click.command()
@click.argument("sources", nargs=-1, metavar="[SOURCE_OR_FOLDER]...")
@click.option("--plan", is_flag=True, help="Show what would be done; change nothing.")
@click.option("--full", is_flag=True, help="Read every file, whatever its stat says.")
@click.option(
    "--approve-deletes",
    type=click.IntRange(0, MAX_APPROVED_DELETES),
    default=0,
    metavar="N",
    help="Let up to N removals pass.",
)
@click.option(
    "--max-cost", type=command.Number(0, MAX_COST_USD), metavar="USD", help="Stop before spending more."
)
@batch
@as_json
def sync(
    sources: tuple[str, ...],
    *,
    plan: bool,
    full: bool,
    approve_deletes: int,
    max_cost: float | None,
    batch: bool | None,
    as_json: bool,
) -> int:
    """Bring what is stored in line with the folders, now, and wait for it.

    Without arguments every known source is synced; a folder becomes a source and stays known.
    """
    settings = load_settings()
    options = Options(plan, full, approve_deletes, max_cost, batch=batch)
    launcher = _launcher(settings, options)
    with database(settings) as conninfo:
        with connect(conninfo) as connection:
            active = active_generation(connection)
            refuse_elsewhere(settings, active.space if active else None, batch=batch)
            selected = selected_sources(connection, settings, sources, note=render.show_note)
            if plan:
                connection.rollback()  # a folder that is only looked at does not become known
        if not selected:
            raise click.UsageError("there is no source yet: name a folder, as in `pgfolio sync ~/Documents`")
        with _failure_shown(as_json=as_json), Display(visible=not as_json) as display:
            report = launch_sync(launcher, settings, conninfo, selected, options, progress=display)
    _show(report, as_json=as_json)
    return command.PARTIAL if report.status == "partial" else 0


@click.command()
@click.option(
    "--provider", type=click.Choice(["local", "transformers", "openai"]), help="Default: as the settings say."
)
@click.option("--model", help="The provider's name of the model.")
@click.option(
    "--dimensions",
    type=click.IntRange(1, MAX_DIMENSIONS),
    help="Fewer than the model's own, where it offers that.",
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
@click.option(
    "--max-cost", type=command.Number(0, MAX_COST_USD), metavar="USD", help="Stop before spending more."
)
@batch
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
    batch: bool | None,
    as_json: bool,
) -> int:
    """Move the corpus to another embedding space while search and syncs go on.

    The space is that of the options, or the settings' ([upgrade], or else [embedding]); a later sync goes on in the
    space that is active. The new vectors are measured before searches use them; the old ones stay for a time, for
    --rollback.
    """
    space = {"provider": provider, "model": model, "dimensions": dimensions}
    settings = reembed_target(load_settings(), provider, model, dimensions)
    refuse_elsewhere(settings, None, batch=batch)
    options = Options(plan_only=plan, max_cost=max_cost, batch=batch)
    launcher = _launcher(settings, options)
    with database(settings) as conninfo:
        with _failure_shown(as_json=as_json), Display(visible=not as_json) as display:
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
        if not as_json:
            with connect(conninfo) as connection:
                keep_days = settings.index.keep_generations_days
                render.show_move(report, describe_generations(connection, keep_days))
    if as_json:
        render.show_json(report.as_json())
    return command.PARTIAL if report.status == "partial" else 0


@click.command()
@click.option("--repair", is_flag=True, help="Mend what can be mended; no sync may run meanwhile.")
@as_json
def verify(*, repair: bool, as_json: bool) -> int:
    """Does what is stored match what the ledger says: documents, chunks, vectors, indexes.

    A repair embeds only texts whose vector is stored nowhere, and makes documents anew from their files.
    """
    settings = load_settings()
    launcher = _launcher(settings, Options())
    with database(settings) as conninfo, Display(visible=not as_json) as display:
        verification = launch_verify(launcher, settings, conninfo, display, repair=repair)
    if as_json:
        render.show_json(verification.as_json())
    else:
        render.show_verification(verification)
    return 0 if verification.complete else command.PARTIAL


@click.command("index")
@click.option(
    "--tune", is_flag=True, help="Measure recall and latency, choose the cheapest settings that do."
)
@click.option("--rebuild", is_flag=True, help="Build the index anew, whether it pays or not.")
@click.option(
    "--target-recall",
    type=command.Number(MIN_TARGET_RECALL, 1.0),
    help="recall@10 to be met. Default: the settings'.",
)
@as_json
def index_(*, tune: bool, rebuild: bool, target_recall: float | None, as_json: bool) -> int:
    """Measure, tune, rebuild the HNSW index of the active space.

    Without options it only measures. Searches go on all the time, and have an index.
    """
    settings = load_settings()
    target = target_recall or settings.index.target_recall
    launcher = _launcher(settings, Options())
    with database(settings) as conninfo, Display(visible=not as_json) as display:
        tuning = launch_index(launcher, settings, conninfo, display, target, tune=tune, rebuild=rebuild)
    if as_json:
        render.show_json(tuning.as_json())
    else:
        render.show_tuning(tuning)
    return 0 if tuning.met else command.PARTIAL


def _launcher(settings: Settings, options: Options) -> Launcher:
    launcher = find_launcher(settings, options)
    if launcher.note:
        render.show_note(launcher.note)
    return launcher


@contextmanager
def _failure_shown(*, as_json: bool) -> Iterator[None]:
    """With --json the object comes last also of a run that cannot go on."""
    try:
        yield
    except FailedError as error:
        if as_json:
            render.show_json(error.report.as_json())
        raise


def _show(report: Report, *, as_json: bool) -> None:
    if as_json:
        render.show_json(report.as_json())
    else:
        render.show_report(report)
