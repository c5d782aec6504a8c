"""What the flows share: a part of a run as a task, what a run that failed still publishes, the final state."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.context import FlowRunContext
from prefect.runtime import flow_run
from prefect.states import Completed

from pgfolio.config.loading import load_settings
from pgfolio.flows.orchestration.artifacts import publish_problems, publish_report
from pgfolio.flows.orchestration.run_log import log_report
from pgfolio.flows.run.options import FailedError
from pgfolio.flows.run.progress import displayed_on
from pgfolio.schema.database.connect import connect, database
from pgfolio.schema.operations import runs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from prefect.client.schemas.objects import State

    from pgfolio.flows.orchestration.run_log import RunLog
    from pgfolio.flows.run.progress import Progress
    from pgfolio.flows.run.report import Report


Result = TypeVar("Result")


def as_task(name: str, work: Callable[..., Result], *args: Any) -> Result:
    """A part of the pipeline as a Prefect task. Its arguments (connections, clients) cannot be pickled, and it
    is not retried as a whole: retries belong to the request that failed."""
    # A plain task: its result is what `work` returns, which mypy cannot see through prefect's overloads.
    task_: Any = task(name=name, cache_policy=NO_CACHE, persist_result=False)(work)
    result: Result = task_(*args)
    return result


def run_displayed(flow: Any, display: Progress, **parameters: Any) -> Any:
    """Run a flow in this process, with the command's display: its final state's data. Raises what the flow raises."""
    with displayed_on(display):
        state = flow(**parameters, return_state=True)
    return state.result(raise_on_failure=True)


@contextmanager
def published_failure(name: str) -> Iterator[None]:
    """The report of a run that cannot go on is published as well."""
    try:
        yield
    except FailedError as error:
        publish_report(name, error.report)
        publish_problems(name, error.report, load_settings().api.public_url)
        raise


def started_by() -> str:
    """Who started the run, for its row in `runs`."""
    return f"prefect {flow_run.get_name() or ''}".strip()


def scheduled_for() -> datetime | None:
    """When the schedule that made this flow run meant it to begin; None: somebody started it."""
    context = FlowRunContext.get()
    if context is None or context.flow_run is None or not context.flow_run.auto_scheduled:
        return None
    return context.flow_run.expected_start_time


def close_lost_runs(flow: Any, flow_run: Any, state: State[Any]) -> None:
    """A hook of flow runs that crashed or were cancelled: what their process could not say any more stands in `runs`
    at once, and not with the next run."""
    del flow, flow_run, state
    with database(load_settings()) as conninfo, connect(conninfo, autocommit=True) as connection:
        runs.bury(connection)


def ended(run_log: RunLog, report: Report, message: str) -> State[Any]:
    """The flow run's final state, with the report as its data."""
    log_report(run_log, report, message)
    return completed(message, report.as_json(), is_complete=report.status == "complete")


def completed(message: str, data: Any, *, is_complete: bool) -> State[Any]:
    """Degraded is Completed under another name: it can be seen, filtered and alerted on, and fails nothing."""
    return Completed(name="Completed" if is_complete else "Degraded", message=message, data=data)
