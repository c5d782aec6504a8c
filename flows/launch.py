"""Starts a sync or a reembed: as a Prefect flow run where a Prefect API answers, else in this process at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pgfolio.config.settings import environment, prefect_api_url
from pgfolio.flows.cli import render
from pgfolio.flows.ingest.pipeline import run_sync
from pgfolio.flows.local.processes import QUIET, running_prefect
from pgfolio.flows.reembedding.run import run_reembed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from pgfolio.config.settings import Settings
    from pgfolio.flows.run.context import Options, Progress
    from pgfolio.flows.run.report import Report
    from pgfolio.schema.records import Source


def started_sync(
    settings: Settings,
    conninfo: str,
    chosen: Sequence[Source],
    options: Options,
    progress: Progress | None = None,
) -> Report:
    """Raises FailedError, or what the flow raises."""
    url = None if options.plan_only else running_prefect(settings.home)
    if url is None:
        if not options.plan_only and (configured := prefect_api_url()):
            render.show_note(f"the Prefect API {configured} does not answer: running without it")
        return run_sync(settings, conninfo, chosen, options, progress=progress)
    with environment(PREFECT_API_URL=url, **QUIET):
        from pgfolio.flows.run.context import Quiet  # noqa: PLC0415
        from pgfolio.flows.sync import run_watched  # noqa: PLC0415 -- it loads prefect
        from pgfolio.flows.sync import sync as flow  # noqa: PLC0415

        return run_watched(
            flow,
            progress or Quiet(),
            sources=[source.name for source in chosen],
            full=options.full,
            approve_deletes=options.approve_deletes,
            max_cost=options.max_cost,
        )


def started_reembed(
    settings: Settings,
    conninfo: str,
    options: Options,
    progress: Progress,
    *,
    space: Mapping[str, Any],
    rollback: bool,
    force: bool,
    labelled: Path | None,
) -> Report:
    """`space`: what of the settings' space the command line asks for, which a flow run is told. Raises FailedError,
    or what the flow raises."""
    url = None if options.plan_only else running_prefect(settings.home)
    if url is None:
        return run_reembed(
            settings, conninfo, options, rollback=rollback, force=force, labelled=labelled, progress=progress
        )
    with environment(PREFECT_API_URL=url, **QUIET):
        from pgfolio.flows.reembed import reembed as flow  # noqa: PLC0415
        from pgfolio.flows.sync import run_watched  # noqa: PLC0415 -- it loads prefect

        return run_watched(
            flow,
            progress,
            **space,
            rollback=rollback,
            force=force,
            eval_file=str(labelled.resolve()) if labelled else None,
            max_cost=options.max_cost,
        )
