"""What the command shows: progress on stderr, results on stdout. Decides nothing."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from config.command import ERR

if TYPE_CHECKING:
    from types import TracebackType

    from flows.report import Report

OUT = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
SHOWN = 20


class Display:
    """A live line for a run: the stage, a bar over files, chunks and their rate. Silent without a terminal."""

    def __init__(self, *, shown: bool = True) -> None:
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            console=ERR,
            transient=True,
            disable=not (shown and ERR.is_terminal),
        )
        self._task = self._progress.add_task("starting", total=None, note="")
        self._chunks = 0
        self._began = 0.0

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def stage(self, text: str) -> None:
        self._progress.update(self._task, description=text, total=None, completed=0, note="")

    def begin(self, files: int) -> None:
        self._chunks, self._began = 0, time.monotonic()
        self._progress.reset(self._task, description="embedding and storing", total=files, note="")

    def advance(self, files: int, chunks: int) -> None:
        self._chunks += chunks
        rate = self._chunks / max(time.monotonic() - self._began, 1e-3)
        self._progress.update(self._task, advance=files, note=f"{self._chunks:,} chunks, {rate:,.0f}/s")


def show_json(value: Any) -> None:
    """One object on one line, the last thing on stdout."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, default=str) + "\n")
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
    chunks = report.chunks
    cost = f", ${report.cost_usd:.4f}" if report.cost_usd else ""
    OUT.print(
        f"{chunks.total:,} chunks; {chunks.embedded:,} embedded, {chunks.reused:,} reused; "
        f"{report.tokens:,} tokens{cost}; {report.seconds['total']:.2f} s: {report.status}"
    )
    if report.problems:
        show_problems([(p.path, p.stage, p.reason) for p in report.problems])


def show_problems(problems: list[tuple[str, str, str]]) -> None:
    table = Table("document", "stage", "reason", box=None, pad_edge=False, header_style="bold yellow")
    for problem in problems[:SHOWN]:
        table.add_row(*map(escape, problem))
    OUT.print(table)
    if len(problems) > SHOWN:
        OUT.print(f"... and {len(problems) - SHOWN:,} more: `pgfolio status --json` lists them all")


def show_status(status: dict[str, Any]) -> None:
    _show_rows(
        "source",
        status["sources"],
        ("name", "root", "collection", "documents", "chunks", "failed", "synced_at"),
    )
    _show_rows("space", status["generations"], ("space", "state", "vectors", "index", "index_mb"))
    _show_rows(
        "run", status["runs"], ("id", "flow", "started_by", "status", "started_at", "seconds", "error")
    )
    if status["problems"]:
        show_problems([(f"{p['source']}/{p['path']}", p["stage"], p["reason"]) for p in status["problems"]])


def _show_rows(title: str, rows: list[dict[str, Any]], columns: tuple[str, ...]) -> None:
    if not rows:
        OUT.print(f"no {title} yet")
        return
    table = Table(*columns, box=None, pad_edge=False, title=None, header_style="bold")
    for row in rows:
        table.add_row(*("" if row[column] is None else escape(str(row[column])) for column in columns))
    OUT.print(table)
    OUT.print()
