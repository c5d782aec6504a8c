"""What is found fault with, how badly, and in which words; nothing is read here."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from pgfolio.config.loading import load_settings
from pgfolio.flows.cli.health import Facts, assess
from pgfolio.flows.cli.health import HealthState as State
from pgfolio.schema.operations.gauges import SourceGauge
from pgfolio.schema.operations.replicas import ReplicaGauge
from pgfolio.schema.operations.runs import DEAD, Run

LIMITS = load_settings().monitoring.model_copy(
    update={"sync_age_minutes": 60.0, "listener_age_seconds": 60.0, "replica_lag_seconds": 60.0}
)
DOCS = SourceGauge("docs", "folder", 120.0, 9000.0, 0, 0, 0, None)
PUSHED = SourceGauge("pushed", "pushed", 99_999.0, 99_999.0, 0, 0, 0, None)


def run(number: int, status: str, error: str = "", started_by: str = "command", **report: Any) -> Run:
    now = datetime.now(UTC)
    return Run(number, "sync", started_by, status, now, None if status == "running" else now, report, error)


DONE = run(1, "complete")
WELL = Facts(sources=[DOCS, PUSHED], last_runs=[DONE], latest_syncs=[DONE], sync_age=120.0, listener_age=3.0)


def partial_run(number: int, *reasons: str) -> Run:
    problems = [{"path": "a.md", "stage": "extract", "reason": reason} for reason in reasons]
    return run(number, "partial", problems=problems)


@pytest.mark.parametrize(
    ("facts", "state", "said"),
    [
        (WELL, State.OK, None),
        (Facts(), State.UNKNOWN, "no source yet"),
        (replace(WELL, latest_syncs=[run(2, "failed", "disk full")]), State.CRITICAL, "run 2) failed: disk full"),
        (replace(WELL, latest_syncs=[partial_run(2, "bad")]), State.WARNING, "is partial: a.md: bad"),
        (replace(WELL, latest_syncs=[partial_run(2, "bad", "x")]), State.WARNING, "bad (and 1 more)"),
        (
            replace(WELL, latest_syncs=[DONE, run(2, "failed", "no", "push")]),
            State.CRITICAL,
            "the last sync of pushes (run 2) failed: no",
        ),
        (replace(WELL, latest_syncs=[run(3, "failed", "x", "push"), run(4, "complete", "", "push")]), State.OK, None),
        (replace(WELL, last_runs=[run(2, "failed", DEAD)]), State.CRITICAL, DEAD),
        (replace(WELL, last_runs=[run(1, "failed", DEAD)], latest_syncs=[run(2, "complete")]), State.OK, None),
        (replace(WELL, sources=[replace(DOCS, age=3601.0)]), State.WARNING, "docs was not synced in full for 60 min"),
        (replace(WELL, sources=[replace(DOCS, age=14_401.0)]), State.CRITICAL, "for 4.0 h"),
        (replace(WELL, sources=[replace(DOCS, age=None)]), State.WARNING, "docs was made and never synced in full"),
        (replace(WELL, sources=[replace(DOCS, held=3)]), State.WARNING, "pgfolio sync docs --approve-deletes 3"),
        (replace(WELL, sources=[replace(DOCS, failed=2)]), State.WARNING, "docs: 2 files could not be read"),
        (replace(WELL, sources=[replace(DOCS, failed=2, age=99_999.0)]), State.WARNING, "2 files"),
        (
            replace(WELL, sources=[replace(DOCS, failed=2, age=99_999.0)], sync_age=None),
            State.CRITICAL,
            "docs was not synced in full",
        ),
        (replace(WELL, unindexed="local/x/256"), State.WARNING, "local/x/256 have no index"),
        (replace(WELL, unindexed="local/x/256", last_runs=[run(2, "running")]), State.OK, None),
        (replace(WELL, listener_age=61.0), State.CRITICAL, "is silent for 61 s"),
        (replace(WELL, listener_age=None), State.OK, None),
        (replace(WELL, replica=ReplicaGauge(follows=True, lag=59.0)), State.OK, None),
        (replace(WELL, replica=ReplicaGauge(follows=True, lag=61.0)), State.WARNING, "is 61 s behind"),
        (replace(WELL, replica=ReplicaGauge(follows=False, lag=None)), State.WARNING, "does not answer"),
        (replace(WELL, listener_age=None, request_age=61.0), State.CRITICAL, "no listener"),
        (
            replace(WELL, listener_age=None, sources=[replace(PUSHED, pending=1, pending_seconds=90.0)]),
            State.CRITICAL,
            "waits for 90 s",
        ),
    ],
)  # fmt: skip
def test_the_worst_thing_is_said_with_its_reason(facts: Facts, state: State, said: str | None) -> None:
    health = assess(facts, LIMITS)
    assert (health.state, bool(health.findings)) == (state, said is not None)
    if said:
        assert said in health.findings[0].reason


def test_what_is_critical_comes_before_warnings_and_all_is_listed() -> None:
    facts = replace(WELL, sources=[replace(DOCS, failed=1, held=1)], listener_age=999.0)
    assert [finding.check for finding in assess(facts, LIMITS).findings] == [
        "listener",
        "held",
        "quarantined",
    ]


def test_limits_of_nought_judge_nothing() -> None:
    off = {"sync_age_minutes": 0.0, "listener_age_seconds": 0.0, "replica_lag_seconds": 0.0}
    limits = LIMITS.model_copy(update=off)
    gone = ReplicaGauge(follows=False, lag=None)
    facts = replace(WELL, sources=[replace(DOCS, age=1e9)], listener_age=1e9, replica=gone)
    assert assess(facts, limits).state == State.OK
