"""Artifacts of a run: its report, tables of what failed and of removals that are held, a picture of recall.

What cannot be published is said in the run's log and harms nothing else: the work itself is in the database.
"""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any, Final

from prefect.artifacts import create_image_artifact, create_markdown_artifact, create_table_artifact
from prefect.runtime import flow_run

from pgfolio.flows.orchestration.recall_picture import recall_picture

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pgfolio.flows.index.tuning import Tuning
    from pgfolio.flows.integrity.verify import Verification
    from pgfolio.flows.run.report import Report
    from pgfolio.schema.corpus.sources import BlockedDeletions

LOG = logging.getLogger("pgfolio.flows.orchestration")
MAX_ROWS: Final = 500
"""Of a table: a page that draws more takes seconds."""


def publish_report(name: str, report: Report) -> None:
    _publish(
        create_markdown_artifact,
        report.as_markdown(name),
        key=f"{name}-report",
        description=f"run {report.run_id}: {report.status}",
    )


def publish_problems(name: str, report: Report, public_url: str) -> None:
    """What could not be done, if anything."""
    rows = [
        {
            "document": _linked(problem.path, public_url),
            "stage": problem.stage,
            "reason": _plain(problem.reason),
        }
        for problem in report.problems[:MAX_ROWS]
    ]
    if rows:
        more = f", the first {MAX_ROWS}" if len(report.problems) > MAX_ROWS else ""
        description = f"{len(report.problems):,} problems{more}; `pgfolio status` lists what is still open"
        _publish(create_table_artifact, rows, key=f"{name}-problems", description=description)


def publish_blocked_deletions(blocked: Sequence[BlockedDeletions], public_url: str) -> None:
    """Removals that wait for somebody to say that they are meant, if any."""
    rows = [
        {
            "source": _linked(waiting.source, public_url),
            "documents": waiting.count,
            "to let them pass": f"run with approve_deletes {waiting.count}",
            "for example": _plain(", ".join(waiting.paths[:3])),
            "reason": _plain(waiting.reason),
        }
        for waiting in blocked
    ]
    if rows:
        description = "documents that are gone from their source, more than pass unasked: they are kept"
        _publish(create_table_artifact, rows, key="sync-held", description=description)


def publish_tuning(tuning: Tuning) -> None:
    """What was measured of the index, as a table and as a picture."""
    rows = [
        {
            "m": one.parameters.m,
            "ef_construction": one.parameters.ef_construction,
            "ef_search": one.ef_search,
            "recall@10": round(one.recall, 4),
            "p50 ms": round(one.p50_ms, 2),
            "vectors": one.vectors,
        }
        for one in tuning.measured
    ]
    summary = f"ef_search {tuning.ef_search}: recall@10 {tuning.recall:.4f}, target {tuning.target:g}"
    if rows:
        _publish(create_table_artifact, rows, key="index-measured", description=summary)
        _publish(create_image_artifact, recall_picture(tuning), key="index-recall", description=summary)


def publish_verification(verification: Verification) -> None:
    """What was compared, and what is not as it should be."""
    checked = [f"- {count:,} {name.replace('_', ' ')}" for name, count in verification.checked.items()]
    repaired = [f"- {count:,} {name.replace('_', ' ')}" for name, count in verification.repaired.items()]
    text = ["# verify", "", f"{sum(verification.counts.values()):,} findings. Checked:", "", *checked]
    text += ["", "Repaired:", "", *repaired] if repaired else []
    _publish(create_markdown_artifact, "\n".join(text), key="verify-report", description="what was compared")
    problems = verification.as_json()["problems"]
    if problems:
        rows = [
            {name: _plain(str(value or "")) for name, value in problem.items()}
            for problem in problems[:MAX_ROWS]
        ]
        description = f"{len(problems):,} findings; run verify with repair to mend what can be mended"
        _publish(create_table_artifact, rows, key="verify-problems", description=description)


def _linked(name: str, public_url: str) -> str:
    """A link to the page's list of sources, where what failed and what is held stands; the name alone without a
    public URL, or where it has brackets of its own."""
    if not public_url or not name or re.search(r"[\[\]()]", name):
        return _plain(name)
    return f"[{name}]({public_url.rstrip('/')}/sources)"


def _plain(text: str) -> str:
    """Somebody's text for a table's cell, where Prefect makes a link of `[words](address)` and of nothing else."""
    return text.replace("](", "] (")


def _publish(create: Callable[..., Any], content: Any, *, key: str, description: str) -> None:
    if not flow_run.get_id():
        return
    try:
        create(content, key=key, description=description)
    except Exception as error:  # noqa: BLE001 -- the work is done, and stored
        LOG.warning("the artifact %s could not be published: %s", key, error)
