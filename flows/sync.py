"""The Prefect flow `sync`: the pipeline's parts as tasks, the report as artifacts.

Deployed by prefect.yaml as `pgfolio.flows.sync:sync`. A run that did its work with something missing ends
as Completed under the name Degraded, so that it can be seen, filtered and alerted on; one of the schedule that finds
another at work, or its work done since it was due, as Completed under the name Skipped.
"""

# Annotations are values here: Prefect makes the schema of the parameters of them, and checks what it is given.
from functools import partial
from typing import TYPE_CHECKING, Any

from prefect import flow
from prefect.runtime import flow_run
from prefect.states import Completed

from pgfolio.config.loading import load_settings
from pgfolio.flows.discovery.sources import selected_sources
from pgfolio.flows.ingest.pipeline import run_sync
from pgfolio.flows.ingest.requests import answer_requests
from pgfolio.flows.orchestration.artifacts import (
    publish_blocked_deletions,
    publish_problems,
    publish_report,
)
from pgfolio.flows.orchestration.progress import PrefectProgress
from pgfolio.flows.orchestration.run_log import logged_to_run
from pgfolio.flows.run.options import ApprovedDeletes, FailedError, MaxCost, Options
from pgfolio.flows.run.progress import current_display
from pgfolio.flows.tasks import (
    as_task,
    close_lost_runs,
    ended,
    published_failure,
    scheduled_for,
    started_by,
)
from pgfolio.schema.corpus import sources as stored_sources
from pgfolio.schema.corpus.sources import SourceBusyError
from pgfolio.schema.database.connect import connect, database
from pgfolio.schema.operations import heartbeats, runs

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from prefect.client.schemas.objects import State

    from pgfolio.config.settings import Settings
    from pgfolio.flows.orchestration.run_log import RunLog
    from pgfolio.flows.run.report import Report
    from pgfolio.schema.records import Source


def run_name() -> str:
    """For the person who reads the list of runs."""
    named = flow_run.get_parameters().get("sources")
    return f"sync {', '.join(named)}" if named else "sync all sources"


@flow(
    name="sync",
    flow_run_name=run_name,
    persist_result=False,
    on_crashed=[close_lost_runs],
    on_cancellation=[close_lost_runs],
)
def sync(
    sources: list[str] | None = None,
    *,
    full: bool = False,
    approve_deletes: ApprovedDeletes = 0,
    max_cost: MaxCost | None = None,
    batch: bool | None = None,
) -> "State[Any]":
    """Bring what is stored in line with the folders.

    Args:
        sources: names of known sources; none means all of them. A folder becomes known by `pgfolio sync FOLDER`.
        full: read every file, whatever its stat says.
        approve_deletes: let up to so many removals pass.
        max_cost: stop before spending more, in US dollars.
        batch: hand texts in to OpenAI's Batch API and wait, a day at most; none: as embedding.batch says, without
            waiting.
    """
    settings = load_settings()
    options = Options(False, full, approve_deletes, max_cost, started_by=started_by(), batch=batch)
    due = scheduled_for()
    with database(settings) as conninfo, logged_to_run() as run_log:
        selected = _selected(settings, conninfo, sources or [], due)
        if due and _is_done_since(conninfo, selected, due):
            return _skipped("another sync, which began after this one was due, has gone over its sources")
        try:
            report = _synced(settings, conninfo, selected, options, run_log)
        except FailedError as error:
            if due and isinstance(error.__cause__, SourceBusyError):
                return _skipped(str(error))  # what runs does what it would have done
            raise
        if due or not sources:
            with connect(conninfo, autocommit=True) as connection:
                answer_requests(connection, conninfo, settings, partial(_sync_one, settings, conninfo))
        with connect(conninfo) as connection:
            blocked = stored_sources.list_blocked_deletions(connection, selected)
        publish_report("sync", report)
        publish_problems("sync", report, settings.api.public_url)
        publish_blocked_deletions(blocked, settings.api.public_url)
        return ended(run_log, report, _counts(report))


def _selected(
    settings: "Settings", conninfo: str, names: "Sequence[str]", due: "datetime | None"
) -> "list[Source]":
    with connect(conninfo) as connection:
        if due:
            heartbeats.beat(connection, "schedule")
        return selected_sources(connection, settings, names, add=False)


def _is_done_since(conninfo: str, selected: "Sequence[Source]", due: "datetime") -> bool:
    """Runs that came due while no worker took them are all late together: the first does the work of all."""
    with connect(conninfo) as connection:
        return runs.are_synced_since(connection, [source.name for source in selected], due)


def _skipped(why: str) -> "State[Any]":
    return Completed(name="Skipped", message=why)


def _synced(
    settings: "Settings", conninfo: str, selected: "list[Source]", options: Options, run_log: "RunLog"
) -> "Report":
    run_log.info(
        "syncing %s", ", ".join(f"{source.name} ({source.root})" for source in selected) or "nothing"
    )
    progress = PrefectProgress("sync", run_log, current_display())
    with published_failure("sync"):
        return run_sync(settings, conninfo, selected, options, progress=progress, step=as_task)


def _counts(report: "Report") -> str:
    counts = report.documents
    return (
        f"{counts.added} added, {counts.changed} changed, {counts.moved} moved, {counts.removed} removed, "
        f"{counts.unchanged} unchanged, {counts.failed} failed, {counts.held} held; {len(report.problems)} problems"
    )


def _sync_one(settings: "Settings", conninfo: str, source: "Source", options: Options) -> "Report":
    """What was asked of the flows over HTTP, where nobody listened."""
    return run_sync(settings, conninfo, [source], options)
