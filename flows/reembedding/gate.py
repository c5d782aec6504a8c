"""The gate that a new generation passes before searches use it: recall of its index against an exact scan, and nDCG
on labelled queries against the old generation. That every chunk has its vector is for the switch itself to see."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pgfolio.config.environment import child_environment
from pgfolio.flows.index.tuning import MAX_EF_SEARCH
from pgfolio.schema.vectors.recall import SAMPLE_QUERIES, EvaluationQueries

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np

    from pgfolio.config.settings import Index
    from pgfolio.schema.database.connect import Connection
    from pgfolio.schema.records import Generation

MAX_TRIED_EF_SEARCH = 800
"""Looking farther than this makes a search slow: a better index is the remedy then."""


class GateError(Exception):
    """The new generation is not as good as it must be; the old one stays active."""


class GateEvaluationError(Exception):
    """The labelled queries could not be evaluated."""


@dataclass(frozen=True, slots=True)
class GateMeasurement:
    """None: not measured."""

    recall: float | None = None
    ef_search: int | None = None
    """What recall was measured with, and what searches use then."""
    enough: int | None = None
    """Where that was too little: what would have been enough."""
    ndcg_before: float | None = None
    ndcg: float | None = None


def measure(
    connection: Connection,
    conninfo: str,
    index_settings: Index,
    generation: Generation,
    active: Generation | None,
    labelled: Path | None,
    query_vectors: Sequence[np.ndarray] = (),
) -> GateMeasurement:
    """Recall is that of `query_vectors`, each of shape (dimensions,), or else of stored vectors. Raises
    GateEvaluationError. Commits: nothing stays open while the model is asked."""
    measured = _recall(connection, index_settings, generation, query_vectors)
    if labelled is None:
        return measured
    before = ndcg(conninfo, labelled, active) if active is not None else None
    return replace(measured, ndcg_before=before, ndcg=ndcg(conninfo, labelled, generation))


def _recall(
    connection: Connection, index_settings: Index, generation: Generation, query_vectors: Sequence[np.ndarray]
) -> GateMeasurement:
    """With the settings' ef_search, or the least doubling of it within reason that reaches the wanted recall."""
    evaluation = EvaluationQueries(connection, generation, SAMPLE_QUERIES, queries=query_vectors)
    recall, _ = evaluation.measure(index_settings.ef_search)
    if recall is None or recall >= index_settings.gate_recall:
        return GateMeasurement(recall, index_settings.ef_search)
    ef_search = index_settings.ef_search * 2
    while ef_search <= MAX_TRIED_EF_SEARCH:
        larger_recall, _ = evaluation.measure(ef_search)
        if larger_recall is not None and larger_recall >= index_settings.gate_recall:
            affordable = ef_search <= MAX_EF_SEARCH
            return (
                GateMeasurement(larger_recall, ef_search)
                if affordable
                else GateMeasurement(recall, index_settings.ef_search, ef_search)
            )
        ef_search *= 2
    return GateMeasurement(recall, index_settings.ef_search)


def objections(measured: GateMeasurement, index_settings: Index) -> list[str]:
    """What was measured and is not enough, each with what was wanted. Pure."""
    reasons = []
    if measured.recall is not None and measured.recall < index_settings.gate_recall:
        remedy = (
            f"PGFOLIO_INDEX__EF_SEARCH={measured.enough} reaches it"
            if measured.enough
            else f"no PGFOLIO_INDEX__EF_SEARCH up to {MAX_TRIED_EF_SEARCH} reaches it: try a larger PGFOLIO_INDEX__M"
        )
        reasons.append(
            f"recall@10 is {measured.recall:.3f} at ef_search {measured.ef_search}, wanted "
            f"{index_settings.gate_recall:.3f} (PGFOLIO_INDEX__GATE_RECALL; {remedy})"
        )
    if measured.ndcg is not None and measured.ndcg_before is not None:
        min_ndcg = measured.ndcg_before - index_settings.gate_ndcg_loss
        if measured.ndcg < min_ndcg:
            reasons.append(
                f"nDCG@10 is {measured.ndcg:.3f}, with the old space {measured.ndcg_before:.3f}, wanted at least "
                f"{min_ndcg:.3f} (PGFOLIO_INDEX__GATE_NDCG_LOSS)"
            )
    return reasons


def ndcg(conninfo: str, labelled: Path, generation: Generation) -> float:
    """nDCG@10 of one generation, by the query side's own command. Raises EvaluationError."""
    command = [sys.executable, "-m", "pgfolio.query_api", "eval", str(labelled), "--json"]
    completed = subprocess.run(
        [*command, "--generation", str(generation.id)],
        env=child_environment(PGFOLIO_DATABASE_URL=conninfo),
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        if completed.returncode == 0:
            return float(json.loads(completed.stdout.splitlines()[-1])["ndcg@10"])
    except (ValueError, LookupError, TypeError):
        pass
    output = " ".join((completed.stderr or completed.stdout).split())[-400:]
    raise GateEvaluationError(
        f"the queries of {labelled} could not be evaluated in {generation.space.name}: {output}"
    )
