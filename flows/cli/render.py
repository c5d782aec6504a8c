"""What the command shows: notes on stderr, results on stdout. Decides nothing."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from pgfolio.config.terminal import ERR, Terminal, printable_json
from pgfolio.flows.integrity.remedies import REMEDIES
from pgfolio.flows.run.progress import duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgfolio.flows.index.tuning import Tuning
    from pgfolio.flows.integrity.verify import Verification
    from pgfolio.flows.run.report import Report

OUT = Terminal(width=None if sys.stdout.isatty() else 160)
MAX_ROWS = 20
ACTION_ORDER = ("remove", "hold", "fail", "change", "add", "move", "skip")
"""What a plan shows first."""


def show_json(value: Any) -> None:
    """One object on one line, the last thing on stdout."""
    sys.stdout.write(printable_json(json.dumps(value, ensure_ascii=False, default=str)) + "\n")
    sys.stdout.flush()


def show_note(message: str) -> None:
    ERR.print(f"[yellow]note:[/] {escape(message)}")


def say(message: str) -> None:
    ERR.print(escape(message))


def show_report(report: Report) -> None:
    """The counts in a table, then the problems."""
    table = Table(box=None, pad_edge=False)
    counts = report.as_json()
    for name in counts["documents"]:
        table.add_column(name, justify="right")
    table.add_row(*(f"{count:,}" for count in counts["documents"].values()))
    OUT.print(table)
    if report.plan is not None:
        _show_plan(report.plan, report)
    else:
        _show_done(report)
    for note in report.notes:
        show_note(note)
    if report.problems:
        show_problems([(p.path, p.stage, p.reason) for p in report.problems])


def show_move(report: Report, generations: list[dict[str, Any]]) -> None:
    """What a move to another space did, or would do, and the spaces that there are now."""
    if report.plan is not None:
        OUT.print(f"{report.chunks.total:,} chunks to {report.space}")
        _show_plan(report.plan, report)
        return
    _show_done(report)
    for note in report.notes:
        show_note(note)
    _show_generations(generations)
    if report.problems:
        show_problems([(p.path, p.stage, p.reason) for p in report.problems])


def _show_generations(generations: list[dict[str, Any]]) -> None:
    columns = ["space", "state", "vectors", "index", "index_mb"]
    rows = [{**row, **_measured(row)} for row in generations]
    extra = ("vector_weight", "recall", "ndcg_before", "ndcg", "kept_until")
    columns += [name for name in extra if any(name in row for row in rows)]
    _show_rows("space", rows, tuple(columns))


def _measured(generation: dict[str, Any]) -> dict[str, float]:
    """What was measured last: of the index in use, or before the switch."""
    recall = generation.get("recall", {})
    measured = {**generation.get("measured", {}), **({"recall": recall["recall"]} if recall else {})}
    return {name: round(value, 3) for name, value in measured.items() if isinstance(value, float)}


def _show_done(report: Report) -> None:
    chunks = report.chunks
    cost = f", ${report.cost_usd:.4f}" if report.cost_usd else ""
    OUT.print(
        f"{chunks.total:,} chunks; {chunks.embedded:,} embedded, {chunks.reused:,} reused; "
        f"{report.tokens:,} tokens{cost}; {report.seconds['total']:.2f} s: {report.status}"
    )
    if batch := report.as_json().get("batch"):
        OUT.print(
            f"by batch: {batch['texts']:,} texts, {batch['tokens']:,} tokens, ${batch['cost_usd']:.4f}; "
            f"{batch['waiting']:,} texts wait"
        )
    if report.workers:
        shares = sorted(counts.documents for counts in report.workers.values())
        OUT.print(
            f"{len(shares)} workers: {shares[0]:,} to {shares[-1]:,} documents each (`--json` has them one by one)"
        )


def _show_plan(plan: list[dict[str, Any]], report: Report) -> None:
    """What would become of which document, then what it would cost."""
    if plan:
        table = Table("would", "document", "tokens", box=None, pad_edge=False, header_style="bold")
        table.columns[2].justify = "right"
        for planned in sorted(plan, key=lambda planned: ACTION_ORDER.index(planned["action"]))[:MAX_ROWS]:
            was = f" (from {planned['moved_from']})" if "moved_from" in planned else ""
            was += f" ({planned['reason']})" if "reason" in planned else ""
            tokens = f"{planned['tokens']:,}" if planned.get("tokens") is not None else ""
            table.add_row(planned["action"], escape(planned["path"] + was), tokens)
        OUT.print(table)
    if len(plan) > MAX_ROWS:
        OUT.print(f"... and {len(plan) - MAX_ROWS:,} more: `--json` lists them all")
    estimate = report.estimate
    if estimate is not None:
        about = "about " if estimate.sampled else ""
        cheaper = estimate.batch_cost_usd
        by_batch = f" (${cheaper:.4f} by `--batch`, within a day)" if cheaper else ""
        OUT.print(
            f"{about}{estimate.tokens:,} tokens to embed, "
            f"{f'${estimate.cost_usd:.4f}' if estimate.cost_usd else 'free'}{by_batch}, "
            f"about {duration(estimate.seconds)}; nothing was changed"
        )


def show_problems(problems: list[tuple[str, str, str]]) -> None:
    _show_first(problems, "document", "stage", "reason")


def show_incomplete(incomplete: list[dict[str, str]]) -> None:
    rows = [(f"{row['source']}/{row['path']}", row["reason"]) for row in incomplete]
    _show_first(rows, "incomplete document", "what lacks")


def _show_first(rows: Sequence[tuple[str, ...]], *columns: str) -> None:
    table = Table(*columns, box=None, pad_edge=False, header_style="bold yellow")
    for row in rows[:MAX_ROWS]:
        table.add_row(*map(escape, row))
    OUT.print(table)
    if len(rows) > MAX_ROWS:
        OUT.print(f"... and {len(rows) - MAX_ROWS:,} more: `pgfolio status --json` lists them all")


def show_status(status: dict[str, Any]) -> None:
    _show_rows(
        "source",
        status["sources"],
        ("name", "root", "collection", "documents", "chunks", "failed", "pending", "synced_at"),
    )
    _show_generations(status["generations"])
    for generation in status["generations"]:
        if prefixes := generation.get("prefixes"):
            OUT.print(escape(prefixes))
            OUT.print()
        if recall := generation.get("recall"):
            grown = f", {recall['grown']:g} times as many now" if recall["grown"] > 1 else ""
            OUT.print(
                f"{escape(generation['space'])}: recall@10 {recall['recall']:.3f} at ef_search {recall['ef_search']} "
                f"over {recall['vectors']:,} vectors{grown}; "
                "`pgfolio index --tune` measures again"
            )
            OUT.print()
    if upgrade := status["upgrade"]:
        _show_upgrade(upgrade)
    _show_rows(
        "batch",
        [row for row in status["batches"] if not row["ended_at"]] or status["batches"][:1],
        ("space", "state", "texts", "texts_done", "tokens", "cost_usd", "handed_in_at", "reason"),
    )
    _show_rows(
        "run", status["runs"], ("id", "flow", "started_by", "status", "started_at", "seconds", "reason")
    )
    if status["problems"]:
        show_problems([(f"{p['source']}/{p['path']}", p["stage"], p["reason"]) for p in status["problems"]])
    if status["skipped"]:
        OUT.print(
            f"{len(status['skipped']):,} files are skipped, being none that are read: `--json` lists them"
        )
    if status["incomplete"]:
        show_incomplete(status["incomplete"])


def _show_upgrade(upgrade: dict[str, Any]) -> None:
    """How far the last one is, or what became of it."""
    left = upgrade["seconds_left"]
    OUT.print(
        escape(
            f"upgrade to {upgrade['space']}: {upgrade['state']}, {upgrade['chunks']:,} of "
            f"{upgrade['chunks_total']:,} chunks"
            + (f", about {duration(left)} left" if left is not None else "")
            + (f": {upgrade['reason']}" if upgrade["reason"] else "")
        )
    )
    OUT.print()


def show_tuning(tuning: Tuning) -> None:
    """What was measured, as a table and as a picture of recall over latency, and what is in use now."""
    table = Table(
        "m", "ef_construction", "ef_search", "recall@10", "p50 ms", "over", box=None, pad_edge=False
    )
    for measured in tuning.measured:
        table.add_row(
            str(measured.parameters.m),
            str(measured.parameters.ef_construction),
            str(measured.ef_search),
            f"{measured.recall:.4f}",
            f"{measured.p50_ms:.2f}",
            f"{measured.vectors:,}{' (sample)' if measured.sampled else ''}",
        )
    OUT.print(table)
    OUT.print()
    OUT.print("\n".join(_picture(tuning)))
    parameters = tuning.parameters
    if parameters is not None:
        OUT.print(
            f"\nm {parameters.m}, ef_construction {parameters.ef_construction}, ef_search {tuning.ef_search}: "
            f"recall@10 {tuning.recall:.4f}, target {tuning.target:g} {'met' if tuning.met else 'not met'}"
            + ("; the index was built anew" if tuning.rebuilt else "")
        )


def _picture(tuning: Tuning) -> list[str]:
    """A line for each measurement in the order of its latency, its recall as a bar from 0.5 to 1."""
    lines = [f"{'p50 ms':>8}  recall@10"]
    for measured in sorted(tuning.measured, key=lambda measured: measured.p50_ms):
        length = round(max(measured.recall - 0.5, 0) * 100)
        mark = "█" if measured.recall >= tuning.target else "░"
        lines.append(
            f"{measured.p50_ms:8.2f}  {mark * length} {measured.recall:.3f} "
            f"(m {measured.parameters.m}, ef_search {measured.ef_search})"
        )
    return lines


def show_verification(verification: Verification) -> None:
    """What was compared, the findings by kind with what a repair does about each, then the findings."""
    checked = verification.checked
    OUT.print(
        f"{checked['documents']:,} documents, {checked['chunks']:,} chunks and {checked['vectors']:,} vectors "
        f"verified in {verification.seconds:.2f} s: {'all well' if verification.complete else 'not as they must be'}"
    )
    if verification.repaired:
        repaired = ", ".join(f"{count:,} {kind}" for kind, count in verification.repaired.items())
        OUT.print(
            f"mended: {repaired}; {verification.embedded:,} chunks embedded, {verification.reused:,} reused"
        )
    for sentence in verification.unresolved:
        show_note(sentence)
    if verification.syncing:
        show_note(
            f"a sync of {', '.join(verification.syncing)} is running: a missing index of the vectors is not judged"
        )
    if verification.incomplete:
        show_incomplete(verification.incomplete)
    if not verification.counts:
        return
    table = Table(
        "kind", "findings", "what --repair does", box=None, pad_edge=False, header_style="bold yellow"
    )
    for kind, count in verification.counts.most_common():
        table.add_row(kind, f"{count:,}", REMEDIES[kind])
    OUT.print(table)
    _show_findings(verification)


def _show_findings(verification: Verification) -> None:
    table = Table("document", "reason", box=None, pad_edge=False, header_style="bold yellow")
    for finding in verification.findings[:MAX_ROWS]:
        table.add_row(*map(escape, ("/".join(filter(None, (finding.source, finding.path))), finding.reason)))
    OUT.print(table)
    if (further := verification.counts.total() - MAX_ROWS) > 0:
        OUT.print(f"... and {further:,} more: `pgfolio verify --json` lists them")


def _show_rows(title: str, rows: list[dict[str, Any]], columns: tuple[str, ...]) -> None:
    if not rows:
        OUT.print(f"no {title} yet")
        return
    table = Table(*columns, box=None, pad_edge=False, title=None, header_style="bold")
    for row in rows:
        table.add_row(*("" if row.get(name) is None else escape(str(row[name])) for name in columns))
    OUT.print(table)
    OUT.print()
