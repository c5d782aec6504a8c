"""The Prefect flow `sync`: the pipeline's parts as tasks, the report as a Markdown artifact.

Deployed by prefect.yaml as `pgfolio.flows.sync:sync`. A run that did its work with something missing ends
as Completed under the name Degraded, so that it can be seen, filtered and alerted on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact, create_progress_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE
from prefect.runtime import flow_run
from prefect.states import Completed

from pgfolio.config.settings import load_settings
from pgfolio.flows.discovery.sources import chosen_sources
from pgfolio.flows.index.build import ShowsBuild
from pgfolio.flows.ingest.pipeline import run_sync
from pgfolio.flows.reembedding.backfill import ShowsSpending
from pgfolio.flows.run.context import FailedError, Options, Progress, Quiet, watched_by, watcher
from pgfolio.flows.run.report import Report
from pgfolio.schema.database.connect import connect, database

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from prefect.client.schemas.objects import State

Result = TypeVar("Result")


def as_task(name: str, work: Callable[..., Result], *args: Any) -> Result:
    """A part of the pipeline as a Prefect task. Its arguments (connections, clients) cannot be pickled, and it
    is not retried as a whole: retries belong to the request that failed."""
    # A plain task: its result is what `work` returns, which mypy cannot see through prefect's overloads.
    made: Any = task(name=name, cache_policy=NO_CACHE, persist_result=False)(work)
    result: Result = made(*args)
    return result


class Published:
    """A run's progress: told to the command's display, if there is one, and the build of an index also to Prefect, as
    a progress artifact."""

    def __init__(self, name: str, display: Progress | None) -> None:
        self._key = f"{name}-index"
        self._display = display or Quiet()
        self._stage = ""
        self._artifact: UUID | None = None

    def stage(self, text: str) -> None:
        self._stage, self._artifact = text, None
        self._display.stage(text)

    def begin(self, files: int) -> None:
        self._display.begin(files)

    def advance(self, files: int, chunks: int) -> None:
        self._display.advance(files, chunks)

    def spent(self, tokens: int, cost_usd: float) -> None:
        if isinstance(self._display, ShowsSpending):
            self._display.spent(tokens, cost_usd)

    def built(self, part: float) -> None:
        if isinstance(self._display, ShowsBuild):
            self._display.built(part)
        percent = round(part * 100, 1)
        if self._artifact is None:
            made: Any = create_progress_artifact(percent, key=self._key, description=self._stage)
            self._artifact = made
        else:
            update_progress_artifact(self._artifact, percent)


def run_name() -> str:
    """For the person who reads the list of runs."""
    named = flow_run.get_parameters().get("sources")
    return f"sync {', '.join(named)}" if named else "sync all sources"


@flow(name="sync", flow_run_name=run_name, persist_result=False)
def sync(
    sources: list[str] | None = None,
    *,
    full: bool = False,
    approve_deletes: int = 0,
    max_cost: float | None = None,
) -> State[Any]:
    """Bring what is stored in line with the folders.

    Args:
        sources: names of sources, or folders; none means all that are known.
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
            chosen = chosen_sources(connection, settings, sources or [])
        try:
            report = run_sync(
                settings, conninfo, chosen, options, progress=Published("sync", watcher()), step=as_task
            )
        except FailedError as error:
            publish("sync", error.report)
            raise
    publish("sync", report)
    return ended(report)


def run_watched(made: Any, display: Progress, **parameters: Any) -> Report:
    """Run a flow in this process, with the command's display. Raises what the flow raises."""
    with watched_by(display):
        state = made(**parameters, return_state=True)
    found: dict[str, Any] = state.result(raise_on_failure=True)
    return Report.of_json(found)


def publish(name: str, report: Report) -> None:
    create_markdown_artifact(
        key=f"{name}-report",
        markdown=report.as_markdown(name),
        description=f"run {report.run_id}: {report.status}",
    )


def ended(report: Report) -> State[Any]:
    """The flow run's final state, with the report as its data."""
    counts = report.documents
    message = (
        f"{counts.added} added, {counts.changed} changed, {counts.moved} moved, {counts.removed} removed, "
        f"{counts.unchanged} unchanged, {counts.failed} failed, {counts.held} held; {len(report.problems)} problems"
    )
    name = "Completed" if report.status == "complete" else "Degraded"
    return Completed(name=name, message=message, data=report.as_json())
