"""The Prefect flows `index` and `verify`: started by hand or on a schedule of yours; searches and syncs go on."""

# Annotations are values here: Prefect makes the schema of the parameters of them, and checks what it is given.
import logging
from typing import TYPE_CHECKING, Any

from prefect import flow
from prefect.runtime import flow_run

from pgfolio.config.loading import load_settings
from pgfolio.flows.index.tuning import run_tuning
from pgfolio.flows.integrity.repair import run_repair
from pgfolio.flows.integrity.verify import run_verify
from pgfolio.flows.orchestration.artifacts import publish_tuning, publish_verification
from pgfolio.flows.orchestration.progress import PrefectProgress
from pgfolio.flows.orchestration.run_log import logged_to_run
from pgfolio.flows.run.options import TargetRecall
from pgfolio.flows.run.progress import current_display
from pgfolio.flows.tasks import close_lost_runs, completed, started_by
from pgfolio.schema.database.connect import database

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State


def index_run_name() -> str:
    """For the person who reads the list of runs."""
    actions = [name for name in ("tune", "rebuild") if flow_run.get_parameters().get(name)]
    return f"index: {' and '.join(actions) or 'measure'}"


@flow(
    name="index",
    flow_run_name=index_run_name,
    persist_result=False,
    on_crashed=[close_lost_runs],
    on_cancellation=[close_lost_runs],
)
def index(
    *, tune: bool = False, rebuild: bool = False, target_recall: TargetRecall | None = None
) -> "State[Any]":
    """Measure, tune, rebuild the HNSW index of the active space. Without parameters it only measures.

    Args:
        tune: measure recall and latency, and choose the cheapest settings that meet the target.
        rebuild: build the index anew, beside the old one, whether it pays or not.
        target_recall: recall@10 to be met; none: the settings'.
    """
    settings = load_settings()
    target = target_recall or settings.index.target_recall
    with database(settings) as conninfo, logged_to_run() as run_log:
        tuning = run_tuning(
            settings,
            conninfo,
            target,
            tune=tune,
            rebuild=rebuild,
            progress=PrefectProgress("index", run_log, current_display()),
            started_by=started_by(),
        )
        publish_tuning(tuning)
        message = f"recall@10 {tuning.recall:.4f} with ef_search {tuning.ef_search}, target {target:g}"
        run_log.info("%s", message)
        return completed(message, tuning, is_complete=tuning.met)


def verify_run_name() -> str:
    """For the person who reads the list of runs."""
    return "verify and repair" if flow_run.get_parameters().get("repair") else "verify"


@flow(name="verify", flow_run_name=verify_run_name, persist_result=False)
def verify(*, repair: bool = False) -> "State[Any]":
    """Does what is stored match what the ledger says: documents, chunks, vectors, indexes.

    Args:
        repair: mend what can be mended, while no sync runs; embeds only texts whose vector is stored nowhere.
    """
    settings = load_settings()
    with database(settings) as conninfo, logged_to_run() as run_log:
        progress = PrefectProgress("verify", run_log, current_display())
        verification = (
            run_repair(settings, conninfo, progress=progress)
            if repair
            else run_verify(conninfo, settings, progress=progress)
        )
        publish_verification(verification)
        found = sum(verification.counts.values()) + len(verification.unresolved)
        message = f"{found:,} findings in {verification.checked.get('chunks', 0):,} chunks"
        run_log.log(logging.INFO if verification.complete else logging.WARNING, "%s", message)
        return completed(message, verification, is_complete=verification.complete)
