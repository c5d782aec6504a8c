"""Counts what a sync plans and does into its report, and says of each document that is not as it should be why."""

from __future__ import annotations

from dataclasses import asdict
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from pgfolio.flows.discovery.rules import LITTER
from pgfolio.flows.run.report import Estimate, WorkerCounts
from pgfolio.schema.records import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pgfolio.flows.discovery.survey import Survey
    from pgfolio.flows.ingest.forecast import Forecast
    from pgfolio.flows.ingest.outcome import Outcome
    from pgfolio.flows.ingest.prepare import Deferred, Failed
    from pgfolio.flows.run.report import Report
    from pgfolio.schema.records import Source

MAX_NAMED = 5
MAX_BLOCKED_PATHS = 200
EXCLUDING = "a rule now (crawl.include, crawl.exclude, an ignore file, or a default rule)"


def count_survey(report: Report, source: Source, survey: Survey) -> None:
    """What the plan says without a file being read."""
    plan, counts = survey.plan, report.documents
    counts.moved += len(plan.moved)
    counts.unchanged += plan.unchanged
    counts.held += len(plan.blocked_deletions) + len(plan.unmounted) + len(plan.unknown)
    counts.failed += len(plan.quarantined)
    for problem in (*survey.crawl.unreadable, *survey.crawl.too_large):
        report.problem(problem)
    for known in plan.quarantined:
        report.problem(Problem(known.path, known.stage, known.reason))
    for known in plan.unknown:
        report.problem(Problem(known.path, "crawl", "cannot be seen now: what is stored of it is kept"))
    for problem in _blocked_deletions(source, survey):
        report.problem(problem)
    excluded = sum(known.path in survey.ruled_out for known in plan.removed)
    if excluded:
        report.note(f"{excluded} documents of {source.name} are excluded by {EXCLUDING}: they are removed")


def count_forecast(report: Report, forecast: Forecast) -> None:
    """What would be done."""
    counts = report.documents
    for planned in forecast.documents:
        counts.added += planned.action == "add"
        counts.changed += planned.action == "change"
        counts.removed += planned.action == "remove"
    counts.unchanged += forecast.unchanged
    report.skipped += forecast.skipped
    _count_failed(report, forecast.failed, forecast.deferred)
    report.plan = (report.plan or []) + [
        {key: value for key, value in asdict(planned).items() if value is not None}
        for planned in sorted(forecast.documents, key=attrgetter("path"))
    ]


def count_estimate(
    report: Report,
    tokens: int,
    usd_per_million_tokens: float,
    seconds: float,
    *,
    sampled: bool,
    batch_usd_per_million_tokens: float | None = None,
) -> Estimate:
    """The run's estimate with a source's share added."""
    before = report.estimate or Estimate(sampled=False)
    batch_price = batch_usd_per_million_tokens
    report.estimate = Estimate(
        before.tokens + tokens,
        before.cost_usd + tokens * usd_per_million_tokens / 1_000_000,
        before.seconds + seconds,
        before.sampled or sampled,
        None if batch_price is None else (before.batch_cost_usd or 0.0) + tokens * batch_price / 1_000_000,
    )
    return report.estimate


def count_outcome(report: Report, outcome: Outcome) -> None:
    """A batch that is in the database."""
    counts = report.documents
    counts.added += outcome.added
    counts.changed += outcome.changed
    counts.unchanged += outcome.unchanged
    counts.failed += len(outcome.failed)
    for problem in (*outcome.failed, *outcome.deferred):
        report.problem(problem)
    for path, reason in outcome.incomplete:
        report.incomplete += 1
        _note_first(report, report.incomplete, f"{path} is incomplete: {reason}", "incomplete")
    for path, reason in outcome.skipped:
        report.skipped += 1
        _note_first(report, report.skipped, f"{path} is skipped: {reason}", "skipped")
    report.chunks.embedded += outcome.embedded
    report.chunks.reused += outcome.reused
    for stage, seconds in outcome.seconds.items():
        report.seconds[stage] += seconds


def count_worker(report: Report, worker: str, outcome: Outcome) -> None:
    """What was done by whom."""
    counts = report.workers.setdefault(worker, WorkerCounts())
    counts.batches += 1
    counts.documents += outcome.added + outcome.changed
    counts.chunks += outcome.embedded + outcome.reused
    counts.seconds += sum(outcome.seconds.values())


def _note_first(report: Report, number: int, sentence: str, kind: str) -> None:
    """The first ones by name; `pgfolio status` lists them all."""
    if number <= MAX_NAMED:
        report.note(sentence)
    elif number == MAX_NAMED + 1:
        report.note(f"more files are {kind}: `pgfolio status` lists them")


def count_postponed(report: Report, source: Source, documents: int, max_cost: float | None) -> None:
    if documents:
        reason = f"{documents} documents wait: the ${max_cost or 0:.2f} allowed are spent; the next sync takes them"
        report.problem(Problem(source.name, "embed", reason))


def count_waiting(report: Report, source: Source, documents: int) -> None:
    if documents:
        reason = (
            f"{documents:,} documents wait for vectors that are handed in at half the price: `pgfolio sync --batch` "
            "waits for them, or the next sync takes what is ready"
        )
        report.problem(Problem(source.name, "embed", reason))


def _count_failed(report: Report, failed: Sequence[Failed], deferred: Sequence[Deferred]) -> None:
    for item in failed:
        report.documents.failed += 1
        report.problem(Problem(item.work_item.entry.path, item.stage, item.reason))
    for waiting in deferred:
        report.problem(Problem(waiting.work_item.entry.path, "crawl", waiting.reason))


def note_litter(report: Report, source: Source, survey: Survey) -> None:
    """What the default rules keep out: a plan says so."""
    if survey.crawl.litter:
        report.note(
            f"{survey.crawl.litter:,} of the files of {source.name} are left out by default rules "
            f"({', '.join(LITTER)}); `!` and a name in .pgfolioignore has such a file read"
        )


def blocked_deletions(survey: Survey) -> dict[str, Any] | None:
    """Removals that wait for an approval, for `status`: how many documents, some of them, why; None: none."""
    waiting = (*survey.plan.blocked_deletions, *survey.plan.unmounted)
    paths = [known.path for known in waiting if known.document_id is not None]
    if not paths:
        return None
    reason = "; ".join(_reasons(survey))
    return {"count": len(paths), "paths": sorted(paths)[:MAX_BLOCKED_PATHS], "reason": reason}


def _blocked_deletions(source: Source, survey: Survey) -> Iterator[Problem]:
    """Why removals are not done, and the command that approves them."""
    number = len(survey.plan.blocked_deletions) + len(survey.plan.unmounted)
    approve = f"if they are meant to go, run `pgfolio sync {source.name} --approve-deletes {number}`"
    for reason in _reasons(survey):
        yield Problem("", "plan", f"{reason}; {approve}")


def _reasons(survey: Survey) -> Iterator[str]:
    unmounted = len(survey.plan.unmounted)
    excluded = sum(known.path in survey.ruled_out for known in survey.plan.blocked_deletions)
    gone = len(survey.plan.blocked_deletions) - excluded
    if gone:
        yield f"{gone} documents are gone from their folder, more than pass unasked: they are kept"
    if excluded:
        yield f"{excluded} documents are excluded by {EXCLUDING}, more than pass unasked: they are kept"
    if unmounted:
        yield f"{unmounted} documents lie on a disk that is not mounted now: they are kept"
