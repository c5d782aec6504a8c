"""What both flows share: a part of a run as a task, progress and report as artifacts, the final state."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from prefect import task
from prefect.artifacts import create_markdown_artifact, create_progress_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE
from prefect.context import FlowRunContext
from prefect.states import Completed

from pgfolio.flows.run.options import FailedError
from pgfolio.flows.run.progress import NullProgress, Progress, ShowsBuild, ShowsSpending, displayed_on
from pgfolio.flows.run.report import Report

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from uuid import UUID

    from prefect.client.schemas.objects import State


Result = TypeVar("Result")


def as_task(name: str, work: Callable[..., Result], *args: Any) -> Result:
    """A part of the pipeline as a Prefect task. Its arguments (connections, clients) cannot be pickled, and it
    is not retried as a whole: retries belong to the request that failed."""
    # A plain task: its result is what `work` returns, which mypy cannot see through prefect's overloads.
    task_: Any = task(name=name, cache_policy=NO_CACHE, persist_result=False)(work)
    result: Result = task_(*args)
    return result


class PrefectProgress:
    """A run's progress: passed on to the command's display, if there is one, and the build of an index also to
    Prefect, as a progress artifact."""

    def __init__(self, name: str, display: Progress | None) -> None:
        self._key = f"{name}-index"
        self._display = display or NullProgress()
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
            artifact: Any = create_progress_artifact(percent, key=self._key, description=self._stage)
            self._artifact = artifact
        else:
            update_progress_artifact(self._artifact, percent)


def run_displayed(flow: Any, display: Progress, **parameters: Any) -> Report:
    """Run a flow in this process, with the command's display. Raises what the flow raises."""
    with displayed_on(display):
        state = flow(**parameters, return_state=True)
    result: dict[str, Any] = state.result(raise_on_failure=True)
    return Report.of_json(result)


@contextmanager
def published_failure(name: str) -> Iterator[None]:
    """The report of a run that cannot go on is published as well."""
    try:
        yield
    except FailedError as error:
        publish(name, error.report)
        raise


def is_scheduled() -> bool:
    """Whether a schedule made the flow run that this is."""
    context = FlowRunContext.get()
    return bool(context and context.flow_run and context.flow_run.auto_scheduled)


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
