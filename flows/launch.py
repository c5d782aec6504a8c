"""Starts a flow: as a Prefect flow run where a Prefect API answers, else in this process at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pgfolio.config.environment import prefect_api_url, temporary_environment
from pgfolio.flows.index.tuning import run_tuning
from pgfolio.flows.ingest.pipeline import run_sync
from pgfolio.flows.ingest.requests import answer_requests
from pgfolio.flows.integrity.repair import run_repair
from pgfolio.flows.integrity.verify import run_verify
from pgfolio.flows.local.prefect_server import running_prefect
from pgfolio.flows.reembedding.run import run_reembed
from pgfolio.flows.run.options import BY_COMMAND
from pgfolio.flows.run.progress import NullProgress
from pgfolio.flows.run.report import Report
from pgfolio.schema.database.connect import connect

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from pgfolio.config.settings import Settings
    from pgfolio.flows.index.tuning import Tuning
    from pgfolio.flows.integrity.verify import Verification
    from pgfolio.flows.local.prefect_server import PrefectApi
    from pgfolio.flows.run.options import Options
    from pgfolio.flows.run.progress import Progress
    from pgfolio.schema.records import Source


class Launcher(NamedTuple):
    """Where flows are run: by this Prefect API, or, without one, in this process."""

    prefect: PrefectApi | None
    note: str = ""
    """What the user should know of that."""


def find_launcher(settings: Settings, options: Options) -> Launcher:
    """A plan is no run, and needs no Prefect."""
    if options.plan_only:
        return Launcher(None)
    prefect = running_prefect(settings.home)
    if prefect is None and (configured := prefect_api_url()):
        return Launcher(None, f"the Prefect API {configured} does not answer: running without it")
    return Launcher(prefect)


def launch_sync(
    launcher: Launcher,
    settings: Settings,
    conninfo: str,
    selected: Sequence[Source],
    options: Options,
    progress: Progress | None = None,
) -> Report:
    """Raises FailedError, or what the flow raises."""
    if launcher.prefect is None:
        report = run_sync(settings, conninfo, selected, options, progress=progress)
        if options.started_by == BY_COMMAND and not options.plan_only:
            _answer_requests(settings, conninfo, selected)
        return report

    reported: dict[str, Any] = _flow_run(
        launcher.prefect,
        "sync",
        progress,
        sources=[source.name for source in selected],
        full=options.full,
        approve_deletes=options.approve_deletes,
        max_cost=options.max_cost,
        batch=options.batch,
    )
    return Report.of_json(reported)


def _answer_requests(settings: Settings, conninfo: str, selected: Sequence[Source]) -> None:
    """What was asked over HTTP of these sources, where nobody listens."""

    def sync(source: Source, options: Options) -> Report:
        return run_sync(settings, conninfo, [source], options)

    with connect(conninfo, autocommit=True) as connection:
        answer_requests(connection, conninfo, settings, sync, {source.id for source in selected})


def launch_reembed(
    launcher: Launcher,
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
    """`space`: what of the settings' space the command line asks for, passed on to a flow run. Raises FailedError,
    or what the flow raises."""
    if launcher.prefect is None:
        return run_reembed(
            settings, conninfo, options, rollback=rollback, force=force, labelled=labelled, progress=progress
        )

    reported: dict[str, Any] = _flow_run(
        launcher.prefect,
        "reembed",
        progress,
        **space,
        rollback=rollback,
        force=force,
        eval_file=str(labelled.resolve()) if labelled else None,
        max_cost=options.max_cost,
        batch=options.batch,
    )
    return Report.of_json(reported)


def launch_index(
    launcher: Launcher,
    settings: Settings,
    conninfo: str,
    progress: Progress,
    target_recall: float,
    *,
    tune: bool,
    rebuild: bool,
) -> Tuning:
    """Raises FailedError, or what the flow raises."""
    if launcher.prefect is None:
        return run_tuning(settings, conninfo, target_recall, tune=tune, rebuild=rebuild, progress=progress)
    tuning: Tuning = _flow_run(
        launcher.prefect, "index", progress, tune=tune, rebuild=rebuild, target_recall=target_recall
    )
    return tuning


def launch_verify(
    launcher: Launcher, settings: Settings, conninfo: str, progress: Progress, *, repair: bool
) -> Verification:
    """Raises what a repair raises."""
    if launcher.prefect is not None:
        verification: Verification = _flow_run(launcher.prefect, "verify", progress, repair=repair)
        return verification
    if repair:
        return run_repair(settings, conninfo, progress=progress)
    return run_verify(conninfo, settings, progress=progress)


def _flow_run(
    prefect: PrefectApi,
    name: Literal["sync", "reembed", "index", "verify"],
    progress: Progress | None,
    **parameters: Any,
) -> Any:
    """What the flow's final state holds. Prefect reads its address when it is imported."""
    # What goes wrong is said by whoever asked; Prefect's own log of it, with its traceback, is on the server.
    console = {"PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL"}
    with temporary_environment(**prefect.environment, **console):
        from pgfolio.flows import checks, reembed, sync, tasks  # noqa: PLC0415

        flows: dict[str, Any] = {
            "sync": sync.sync,
            "reembed": reembed.reembed,
            "index": checks.index,
            "verify": checks.verify,
        }
        return tasks.run_displayed(flows[name], progress or NullProgress(), **parameters)
