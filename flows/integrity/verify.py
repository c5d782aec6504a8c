"""Verifies: is what is stored what the ledger says, is each chunk its document's text, has each its vector, and do
the indexes find them. One snapshot of the whole database, so that syncs may go on; changes nothing (see repair.py).
"""

from __future__ import annotations

import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pgfolio.flows.execution.workforce import Workforce
from pgfolio.flows.integrity.comparison import ComparisonJob
from pgfolio.flows.integrity.model_sample import model_findings
from pgfolio.flows.run.progress import NullProgress
from pgfolio.schema.integrity import verify as stored
from pgfolio.schema.integrity.findings import Finding
from pgfolio.schema.operations.overview import list_incomplete
from pgfolio.schema.vectors import generations, segments

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pgfolio.config.settings import Settings
    from pgfolio.flows.run.progress import Progress
    from pgfolio.schema.database.connect import Connection
    from pgfolio.schema.records import Generation

CHUNK_WEIGHT = 50
"""Of one to be compared, in bytes of a file to be synced."""

MAX_REPORTED_PROBLEMS = 1000
"""A result names at most so many problems; its counts are complete."""


@dataclass
class Verification:
    """What was found. `counts` has every finding, `findings` the first ones."""

    checked: dict[str, int] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    unresolved: list[str] = field(default_factory=list)
    """What a repair could not do, in sentences."""
    repaired: dict[str, int] = field(default_factory=dict)
    embedded: int = 0
    reused: int = 0
    seconds: float = 0.0
    syncing: list[str] = field(default_factory=list)
    """Sources that a sync owned meanwhile."""
    incomplete: list[dict[str, Any]] = field(default_factory=list)
    """Documents of which not all could be read: nothing that a repair could mend."""

    @property
    def complete(self) -> bool:
        return not self.counts and not self.unresolved

    def add(self, finding: Finding) -> None:
        self.counts[finding.kind] += 1
        if len(self.findings) < MAX_REPORTED_PROBLEMS:
            self.findings.append(finding)

    def as_json(self) -> dict[str, Any]:
        """The shape that `pgfolio verify --json` promises."""
        problems = [
            {"kind": f.kind, "source": f.source, "path": f.path, "reason": f.reason} for f in self.findings
        ]
        unresolved = [
            {"kind": "repair", "source": None, "path": None, "reason": text} for text in self.unresolved
        ]
        return {
            "status": "complete" if self.complete else "partial",
            "checked": self.checked,
            "problems": [*unresolved, *problems],
            "counts": dict(self.counts),
            "repaired": self.repaired,
            "embedded": self.embedded,
            "reused": self.reused,
            "syncing": self.syncing,
            "seconds": round(self.seconds, 3),
            **({"incomplete": self.incomplete} if self.incomplete else {}),
        }


def run_verify(
    conninfo: str, settings: Settings | None = None, *, progress: Progress | None = None
) -> Verification:
    """Verify the whole database; syncs may run meanwhile. `settings`: who may help; without them nobody does."""
    began = time.perf_counter()
    result = Verification()
    with stored.snapshot(conninfo) as reader, closing(Workforce(settings)) as workforce:
        result.syncing = stored.syncing(reader)
        result.incomplete = list_incomplete(reader, None, MAX_REPORTED_PROBLEMS)
        for finding in examine(reader, conninfo, workforce, result, progress or NullProgress(), settings):
            result.add(finding)
    result.seconds = time.perf_counter() - began
    return result


def examine(
    reader: Connection,
    conninfo: str,
    workforce: Workforce,
    result: Verification,
    progress: Progress,
    settings: Settings | None,
) -> Iterator[Finding]:
    """Every finding, while it is found; counts what was checked. `reader` must not be used until it is done. Without
    settings no model is asked."""
    size = stored.size(reader)
    result.checked = {
        "sources": size.sources,
        "ledger": size.ledger,
        "documents": size.documents,
        "chunks": 0,
        "vectors": 0,
        "looked_up": 0,
        "not_found": 0,
    }
    generations, findings = stored.tables(reader)
    yield from findings
    progress.stage("comparing ledger, documents and chunks")
    yield from stored.rows(reader)
    executor = workforce.executor(size.chunks * CHUNK_WEIGHT)
    job = ComparisonJob(conninfo, stored.export_snapshot(reader))
    for done in executor.run(job, stored.document_ranges(reader)):
        yield from done.result.wrong
        result.checked["chunks"] += done.result.chunks
        progress.stage(
            f"comparing chunks with their documents: {result.checked['chunks']:,} of {size.chunks:,}"
        )
    progress.stage("comparing chunks and vectors")
    for generation in generations:
        result.checked["vectors"] += stored.count_vectors(reader, generation)
        yield from stored.vector_rows(reader, generation)
    if settings is not None:
        progress.stage("embedding a sample anew")
        for count, findings in model_findings(reader, settings, generations):
            result.checked["reembedded"] = result.checked.get("reembedded", 0) + count
            yield from findings
    progress.stage("looking into the indexes")
    yield from _indexes(reader, generations, result)


def _indexes(
    reader: Connection, all_generations: Sequence[Generation], result: Verification
) -> Iterator[Finding]:
    """The words' index and the active generation's. A first load that runs just now has not built its own yet."""
    if found := stored.lexemes_finding(reader):
        yield found
    for generation in all_generations:
        if generation.state != "active":
            continue
        sound = True
        for member in segments.members(reader, generation):
            found = stored.index_finding(reader, member)
            sound = sound and found is None
            if found is not None and not (found.kind == "index_missing" and result.syncing):
                yield found
        if sound and generations.has_any(reader, generation):
            sampled, lost = stored.look_up_sample(reader, generation)
            result.checked |= {"looked_up": sampled, "not_found": lost}
            if lost > stored.MAX_LOST_SHARE * sampled:
                yield Finding(
                    "index_incomplete",
                    path=generation.index,
                    generation_id=generation.id,
                    expected=str(sampled),
                    found=str(lost),
                )
