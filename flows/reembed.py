"""The Prefect flow `reembed`: started by hand, moves the corpus to another embedding space."""

# Annotations are values here: Prefect makes the schema of the parameters of them, and checks what it is given.
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from prefect import flow
from prefect.runtime import flow_run

from pgfolio.config.loading import load_settings
from pgfolio.flows.orchestration.artifacts import publish_problems, publish_report
from pgfolio.flows.orchestration.progress import PrefectProgress
from pgfolio.flows.orchestration.run_log import logged_to_run
from pgfolio.flows.reembedding.run import run_reembed
from pgfolio.flows.reembedding.target import reembed_target
from pgfolio.flows.run.options import Dimensions, MaxCost, Options
from pgfolio.flows.run.progress import current_display
from pgfolio.flows.tasks import as_task, close_lost_runs, ended, published_failure, started_by
from pgfolio.schema.database.connect import database

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State


def run_name() -> str:
    """For the person who reads the list of runs."""
    parameters = flow_run.get_parameters()
    if parameters.get("rollback"):
        return "reembed: back"
    names = [str(parameters[name]) for name in ("provider", "model", "dimensions") if parameters.get(name)]
    return f"reembed to {'/'.join(names)}" if names else "reembed"


@flow(
    name="reembed",
    flow_run_name=run_name,
    persist_result=False,
    on_crashed=[close_lost_runs],
    on_cancellation=[close_lost_runs],
)
def reembed(
    provider: Literal["local", "transformers", "openai"] | None = None,
    model: str | None = None,
    dimensions: Dimensions | None = None,
    *,
    rollback: bool = False,
    force: bool = False,
    eval_file: str | None = None,
    max_cost: MaxCost | None = None,
    batch: bool | None = None,
) -> "State[Any]":
    """Embed every stored chunk with another model, measure the new vectors, then switch.

    Args:
        provider: local, transformers, or openai for any OpenAI-compatible server; none of these three: as the
            settings say.
        model: the provider's name of the model.
        dimensions: fewer than the model's own, where it offers that.
        rollback: go back to the vectors that were active before; the three above do not matter then.
        force: switch whatever was measured.
        eval_file: labelled queries of `pgfolio eval` on this worker's disk; with them nDCG@10 may not fall.
        max_cost: stop before spending more, in US dollars.
        batch: hand texts in to OpenAI's Batch API and wait, a day at most; none: as embedding.batch says, without
            waiting.
    """
    settings = reembed_target(load_settings(), provider, model, dimensions)
    options = Options(max_cost=max_cost, started_by=started_by(), batch=batch)
    with database(settings) as conninfo, logged_to_run() as run_log:
        with published_failure("reembed"):
            report = run_reembed(
                settings,
                conninfo,
                options,
                rollback=rollback,
                force=force,
                labelled=Path(eval_file) if eval_file else None,
                progress=PrefectProgress("reembed", run_log, current_display()),
                step=as_task,
            )
        publish_report("reembed", report)
        publish_problems("reembed", report, settings.api.public_url)
        message = f"{report.chunks.total:,} chunks in {report.space}; {len(report.problems)} problems"
        return ended(run_log, report, message)
