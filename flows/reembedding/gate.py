"""The gate that a new generation passes before searches use it: recall of its index against an exact scan, and nDCG
on labelled queries against the old generation. That every chunk has its vector is for the switch itself to see."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pgfolio.config.settings import child_environment
from pgfolio.flows.index.tuning import REASONABLE
from pgfolio.schema.vectors.recall import SAMPLE, Questions

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np

    from pgfolio.config.settings import Index
    from pgfolio.schema.database.connect import Connection
    from pgfolio.schema.records import Generation


MOST = 800
"""Looking farther than this makes a search slow: a better index is the remedy then."""


class GateError(Exception):
    """The new generation is not as good as it must be; the old one stays active."""


class EvaluationError(Exception):
    """The labelled queries could not be evaluated."""


@dataclass(frozen=True, slots=True)
class Measured:
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
    wanted: Index,
    generation: Generation,
    active: Generation | None,
    labelled: Path | None,
    asked: Sequence[np.ndarray] = (),
) -> Measured:
    """Recall is that of the questions `asked`, vectors of shape (dimensions,), or else of stored vectors. Raises
    EvaluationError. Commits: nothing stays open while the model is asked."""
    found = _recall(connection, wanted, generation, asked)
    if labelled is None:
        return found
    before = ndcg(conninfo, labelled, active) if active is not None else None
    return replace(found, ndcg_before=before, ndcg=ndcg(conninfo, labelled, generation))


def _recall(
    connection: Connection, wanted: Index, generation: Generation, asked: Sequence[np.ndarray]
) -> Measured:
    """With the settings' ef_search, or the least doubling of it within reason that reaches the wanted recall."""
    to_ask = Questions(connection, generation, SAMPLE, asked=asked)
    found, _ = to_ask.measure(wanted.ef_search)
    if found is None or found >= wanted.gate_recall:
        return Measured(found, wanted.ef_search)
    ef_search = wanted.ef_search * 2
    while ef_search <= MOST:
        farther, _ = to_ask.measure(ef_search)
        if farther is not None and farther >= wanted.gate_recall:
            within = ef_search <= REASONABLE
            return Measured(farther, ef_search) if within else Measured(found, wanted.ef_search, ef_search)
        ef_search *= 2
    return Measured(found, wanted.ef_search)


def objections(measured: Measured, wanted: Index) -> list[str]:
    """What was measured and is not enough, each with what was wanted. Pure."""
    found = []
    if measured.recall is not None and measured.recall < wanted.gate_recall:
        remedy = (
            f"PGFOLIO_INDEX__EF_SEARCH={measured.enough} reaches it"
            if measured.enough
            else f"no PGFOLIO_INDEX__EF_SEARCH up to {MOST} reaches it: try a larger PGFOLIO_INDEX__M"
        )
        found.append(
            f"recall@10 is {measured.recall:.3f} at ef_search {measured.ef_search}, wanted "
            f"{wanted.gate_recall:.3f} (PGFOLIO_INDEX__GATE_RECALL; {remedy})"
        )
    if measured.ndcg is not None and measured.ndcg_before is not None:
        least = measured.ndcg_before - wanted.gate_ndcg_loss
        if measured.ndcg < least:
            found.append(
                f"nDCG@10 is {measured.ndcg:.3f}, with the old space {measured.ndcg_before:.3f}, wanted at least "
                f"{least:.3f} (PGFOLIO_INDEX__GATE_NDCG_LOSS)"
            )
    return found


def ndcg(conninfo: str, labelled: Path, generation: Generation) -> float:
    """nDCG@10 of one generation, by the query side's own command. Raises EvaluationError."""
    command = [sys.executable, "-m", "pgfolio.query_api", "eval", str(labelled), "--json"]
    done = subprocess.run(
        [*command, "--generation", str(generation.id)],
        env=child_environment(PGFOLIO_DATABASE_URL=conninfo),
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        if done.returncode == 0:
            return float(json.loads(done.stdout.splitlines()[-1])["ndcg@10"])
    except (ValueError, LookupError, TypeError):
        pass
    said = " ".join((done.stderr or done.stdout).split())[-400:]
    raise EvaluationError(
        f"the queries of {labelled} could not be evaluated in {generation.space.name}: {said}"
    )
