"""Counts what a sync plans and does into its report, and says of each document that is not as it should be why."""

from __future__ import annotations

from dataclasses import asdict
from operator import attrgetter
from typing import TYPE_CHECKING

from pgfolio.flows.run.report import Estimate
from pgfolio.schema.records import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pgfolio.flows.discovery.survey import Survey
    from pgfolio.flows.ingest.forecast import Forecast
    from pgfolio.flows.ingest.prepare import Failed, Left
    from pgfolio.flows.ingest.store import Ready
    from pgfolio.flows.run.report import Report
    from pgfolio.schema.records import Source


def surveyed(report: Report, source: Source, found: Survey) -> None:
    """What the plan says without a file being read."""
    plan, counts = found.plan, report.documents
    counts.moved += len(plan.moved)
    counts.unchanged += plan.unchanged
    counts.held += len(plan.held) + len(plan.detached) + len(plan.unknown)
    counts.failed += len(plan.quarantined)
    for problem in (*found.crawl.unreadable, *found.crawl.too_large):
        report.problem(problem)
    for known in plan.quarantined:
        report.problem(Problem(known.path, known.stage, known.reason))
    for known in plan.unknown:
        report.problem(Problem(known.path, "crawl", "cannot be seen now: what is stored of it is kept"))
    for problem in _held(source, found):
        report.problem(problem)


def forecast(report: Report, found: Forecast) -> None:
    """What would be done."""
    counts = report.documents
    for planned in found.documents:
        counts.added += planned.action == "add"
        counts.changed += planned.action == "change"
        counts.removed += planned.action == "remove"
    counts.unchanged += found.unchanged
    _failed(report, found.failed, found.left)
    report.plan = (report.plan or []) + [
        {key: value for key, value in asdict(planned).items() if value is not None}
        for planned in sorted(found.documents, key=attrgetter("path"))
    ]


def estimated(
    report: Report, tokens: int, usd_per_million_tokens: float, seconds: float, *, sampled: bool
) -> Estimate:
    """The run's estimate with a source's share added."""
    before = report.estimate or Estimate(sampled=False)
    report.estimate = Estimate(
        before.tokens + tokens,
        before.cost_usd + tokens * usd_per_million_tokens / 1_000_000,
        before.seconds + seconds,
        before.sampled or sampled,
    )
    return report.estimate


def stored(report: Report, item: Ready) -> None:
    """A parcel that is in the database."""
    counts = report.documents
    for storable in item.storables:
        counts.added += storable.document_id is None
        counts.changed += storable.document_id is not None
    counts.unchanged += len(item.parcel.touched)
    _failed(report, [*item.parcel.failed, *item.failed], item.parcel.left)
    report.chunks.embedded += item.embedded
    report.chunks.reused += item.reused


def postponed(report: Report, source: Source, documents: int, max_cost: float | None) -> None:
    if documents:
        reason = f"{documents} documents wait: the ${max_cost or 0:.2f} allowed are spent; the next sync takes them"
        report.problem(Problem(source.name, "embed", reason))


def _failed(report: Report, failed: Sequence[Failed], left: Sequence[Left]) -> None:
    for item in failed:
        report.documents.failed += 1
        report.problem(Problem(item.todo.entry.path, item.stage, item.reason))
    for waiting in left:
        report.problem(Problem(waiting.todo.entry.path, "crawl", waiting.reason))


def _held(source: Source, found: Survey) -> Iterator[Problem]:
    """Why removals are not done, and the command that approves them."""
    held, detached = len(found.plan.held), len(found.plan.detached)
    approve = f"if they are meant to go, run `pgfolio sync {source.name} --approve-deletes {held + detached}`"
    if held:
        reason = f"{held} documents are gone from their folder, more than pass unasked: they are kept"
        yield Problem("", "plan", f"{reason}; {approve}")
    if detached:
        reason = f"{detached} documents lie on a disk that is not mounted now: they are kept"
        yield Problem("", "plan", f"{reason}; {approve}")
