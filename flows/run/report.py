"""What a sync did: counted while it runs, then shown as JSON, as Markdown and in the runs table."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from pgfolio.schema.records import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

STAGES = ("crawl", "extract", "chunk", "embed", "store", "index")
MAX_REPORTED_PROBLEMS = 1000
"""A report names at most so many problems; `pgfolio status` and the ledger have them all."""


@dataclass
class DocumentCounts:
    added: int = 0
    changed: int = 0
    moved: int = 0
    removed: int = 0
    unchanged: int = 0
    failed: int = 0
    held: int = 0


@dataclass
class ChunkCounts:
    total: int = 0
    embedded: int = 0
    reused: int = 0


@dataclass
class WorkerCounts:
    """What one worker of a run did; `seconds`: in all stages, by its threads together."""

    batches: int = 0
    documents: int = 0
    chunks: int = 0
    seconds: float = 0.0


@dataclass
class Estimate:
    """`sampled`: reckoned from some of the files, or from the sizes of all. `batch_cost_usd`: handed in to the
    server's Batch API; None: there is none."""

    tokens: int = 0
    cost_usd: float = 0.0
    seconds: float = 0.0
    sampled: bool = True
    batch_cost_usd: float | None = None


@dataclass
class Report:
    """Counts of one run. `seconds` of a stage is the time spent in it by all threads, `total` the run's."""

    run_id: int | None = None
    status: Literal["complete", "partial", "failed", "planned"] = "complete"
    documents: DocumentCounts = field(default_factory=DocumentCounts)
    chunks: ChunkCounts = field(default_factory=ChunkCounts)
    tokens: int = 0
    cost_usd: float = 0.0
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(("total", *STAGES), 0.0))
    problems: list[Problem] = field(default_factory=list)
    incomplete: int = 0
    """Documents that were stored, though not all of their files could be read."""
    skipped: int = 0
    """Files that were found to be none that we read; later runs pass over them silently."""
    error: str = ""
    space: str = ""
    """Where vectors were embedded."""
    sources: list[str] = field(default_factory=list)
    """That a sync went over."""
    estimate: Estimate | None = None
    """Before anything was embedded; of a plan the same as `tokens` and `cost_usd`."""
    embedding: dict[str, float] = field(default_factory=dict)
    """Seconds with a request under way or due; of these waiting for the rate limit; waiting for a retry."""
    batch: dict[str, Any] = field(default_factory=dict)
    """Of texts handed in at half the price: those whose vectors came in this run, with their tokens and cost, which
    are counted above as well; and how many still wait."""
    index: dict[str, Any] = field(default_factory=dict)
    """What each way of indexing the new vectors was predicted to take, in seconds, and what it took."""
    workers: dict[str, WorkerCounts] = field(default_factory=dict)
    """Where others than the run's own process did the work: by whom."""
    notes: list[str] = field(default_factory=list)
    """What went well and could go better, with what to do."""
    plan: list[dict[str, Any]] | None = None
    """Of a plan: what would become of each document that does not stay as it is."""
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the time inside to a stage. Safe to use from several threads."""
        start = time.perf_counter()
        try:
            yield
        finally:
            with self._lock:
                self.seconds[stage] += time.perf_counter() - start

    def problem(self, problem: Problem) -> None:
        self.problems.append(problem)
        if self.status == "complete":
            self.status = "partial"

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def as_json(self) -> dict[str, Any]:
        """The shape that `pgfolio sync --json` promises."""
        return {
            "run_id": self.run_id,
            "status": self.status,
            "documents": asdict(self.documents),
            "chunks": asdict(self.chunks),
            "tokens": self.tokens,
            "cost_usd": round(self.cost_usd, 6),
            "seconds": {stage: round(seconds, 4) for stage, seconds in self.seconds.items()},
            "problems": [asdict(problem) for problem in self.problems[:MAX_REPORTED_PROBLEMS]],
            **({"incomplete": self.incomplete} if self.incomplete else {}),
            **({"skipped": self.skipped} if self.skipped else {}),
            **({"error": self.error} if self.error else {}),
            **({"batch": self._batch()} if self.batch else {}),
            **({"workers": self._workers()} if self.workers else {}),
            **({"notes": self.notes} if self.notes else {}),
            **({"plan": self.plan, **self._estimate()} if self.plan is not None else {}),
        }

    def as_record(self) -> dict[str, Any]:
        """What the run's row keeps: also what was expected, and what the model server was waited for."""
        return {
            **self.as_json(),
            **self._estimate(),
            **({"space": self.space} if self.space else {}),
            **({"sources": self.sources} if self.sources else {}),
            **({"index": self.index} if self.index else {}),
            **({"embedding": {k: round(v, 3) for k, v in self.embedding.items()}} if self.embedding else {}),
        }

    def _batch(self) -> dict[str, Any]:
        counts = {"texts": 0, "tokens": 0, "cost_usd": 0.0, "waiting": 0, **self.batch}
        return {**counts, "cost_usd": round(counts["cost_usd"], 6)}

    def _workers(self) -> list[dict[str, Any]]:
        return [
            {"worker": name, **asdict(counts), "seconds": round(counts.seconds, 4)}
            for name, counts in sorted(self.workers.items())
        ]

    def _estimate(self) -> dict[str, Any]:
        return {"estimate": asdict(self.estimate)} if self.estimate else {}

    @classmethod
    def of_json(cls, value: dict[str, Any]) -> Report:
        """The report that `as_json` gave."""
        return cls(
            run_id=value["run_id"],
            status=value["status"],
            documents=DocumentCounts(**value["documents"]),
            chunks=ChunkCounts(**value["chunks"]),
            tokens=value["tokens"],
            cost_usd=value["cost_usd"],
            seconds=value["seconds"],
            problems=[Problem(**problem) for problem in value["problems"]],
            incomplete=value.get("incomplete", 0),
            skipped=value.get("skipped", 0),
            error=value.get("error", ""),
            batch=value.get("batch", {}),
            workers={
                counts["worker"]: WorkerCounts(**{k: v for k, v in counts.items() if k != "worker"})
                for counts in value.get("workers", [])
            },
            notes=value.get("notes", []),
        )

    def as_markdown(self, title: str) -> str:
        """For the Prefect artifact."""
        documents = " | ".join(str(count) for count in asdict(self.documents).values())
        lines = [
            f"# {title}: {self.status}",
            "",
            "| " + " | ".join(asdict(self.documents)) + " |",
            "|" + "---|" * len(asdict(self.documents)),
            f"| {documents} |",
            "",
            (
                f"Chunks: {self.chunks.total} in all, {self.chunks.embedded} embedded, {self.chunks.reused} reused. "
                f"Tokens: {self.tokens}, cost ${self.cost_usd:.4f}. Seconds: {self.seconds['total']:.2f}."
            ),
        ]
        if self.error:
            lines += ["", f"**{self.error}**"]
        lines += [f"\nNote: {note}" for note in self.notes]
        if self.workers:
            lines += ["", "| worker | batches | documents | chunks | seconds |", "|---|---|---|---|---|"]
            lines += [
                f"| {_cell(name)} | {counts.batches} | {counts.documents} | {counts.chunks} | {counts.seconds:.1f} |"
                for name, counts in sorted(self.workers.items())
            ]
        if self.problems:
            lines += ["", "| document | stage | reason |", "|---|---|---|"]
            lines += [
                f"| {_cell(p.path)} | {p.stage} | {_cell(p.reason)} |"
                for p in self.problems[:MAX_REPORTED_PROBLEMS]
            ]
        return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
