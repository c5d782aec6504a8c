"""The Prefect flow `sync`: the pipeline's parts as tasks, the report as a Markdown artifact.

Deployed by prefect.yaml as `pgfolio.flows.sync:sync`. A run that did its work with something missing ends
as Completed under the name Degraded, so that it can be seen, filtered and alerted on; one of the schedule that finds
another at work as Completed under the name Skipped.
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
from pgfolio.flows.run.options import ApprovedDeletes, FailedError, MaxCost, Options
from pgfolio.flows.run.progress import current_display
from pgfolio.flows.tasks import PrefectProgress, as_task, ended, is_scheduled, publish, published_failure
from pgfolio.schema.corpus.sources import SourceBusyError
from pgfolio.schema.database.connect import connect, database
from pgfolio.schema.operations import heartbeats

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State

    from pgfolio.config.settings import Settings
    from pgfolio.flows.run.report import Report
    from pgfolio.schema.records import Source


def run_name() -> str:
    """For the person who reads the list of runs."""
    named = flow_run.get_parameters().get("sources")
    return f"sync {', '.join(named)}" if named else "sync all sources"


@flow(name="sync", flow_run_name=run_name, persist_result=False)
def sync(
    sources: list[str] | None = None,
    *,
    full: bool = False,
    approve_deletes: ApprovedDeletes = 0,
    max_cost: MaxCost | None = None,
) -> "State[Any]":
    """Bring what is stored in line with the folders.

    Args:
        sources: names of known sources; none means all of them. A folder becomes known by `pgfolio sync FOLDER`.
        full: read every file, whatever its stat says.
        approve_deletes: let up to so many removals pass.
        max_cost: stop before spending more, in US dollars.
    """
    settings = load_settings()
    options = Options(
        False, full, approve_deletes, max_cost, started_by=f"prefect {flow_run.get_name() or ''}".strip()
    )
    with database(settings) as conninfo:
        with connect(conninfo) as connection:
            if is_scheduled():
                heartbeats.beat(connection, "schedule")
            selected = selected_sources(connection, settings, sources or [], add=False)
        try:
            with published_failure("sync"):
                report = run_sync(
                    settings,
                    conninfo,
                    selected,
                    options,
                    progress=PrefectProgress("sync", current_display()),
                    step=as_task,
                )
        except FailedError as error:
            if is_scheduled() and isinstance(error.__cause__, SourceBusyError):
                return Completed(name="Skipped", message=str(error))  # what runs does what it would have done
            raise
        if is_scheduled() or not sources:
            with connect(conninfo, autocommit=True) as connection:
                answer_requests(connection, conninfo, settings, partial(_sync_one, settings, conninfo))
    publish("sync", report)
    return ended(report)


def _sync_one(settings: "Settings", conninfo: str, source: "Source", options: Options) -> "Report":
    """What was asked of the flows over HTTP, where nobody listened."""
    return run_sync(settings, conninfo, [source], options)
