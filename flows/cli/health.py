"""Decides how well the service is, by what the database says of itself: `pgfolio status --check`. Reads nothing.

States and exit codes are those of the Nagios plugin API.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from pgfolio.flows.run.progress import duration
from pgfolio.schema.operations import runs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pgfolio.config.settings import Monitoring
    from pgfolio.schema.operations.gauges import SourceGauge
    from pgfolio.schema.operations.replicas import ReplicaGauge
    from pgfolio.schema.operations.runs import Run

CRITICAL_AGES: Final = 4
"""So many times the age that is a warning is critical."""

PUSHED: Final = "pushed"
"""The kind of a source that is synced when something is pushed, and not by a schedule."""


CHECKS: Final = ("run", "age", "listener", "index", "held", "quarantined", "replica")
"""What is judged, by the names that findings have."""


class HealthState(IntEnum):
    """The value is the exit code."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


WORST_FIRST: Final = (HealthState.CRITICAL, HealthState.WARNING, HealthState.UNKNOWN, HealthState.OK)


@dataclass(frozen=True, slots=True)
class HealthFinding:
    """`check`: the name of what was looked at."""

    check: str
    state: HealthState
    reason: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What the database said. `last_runs`: the newest ones, also those that run; `latest_syncs`: the newest sync of
    pushes that ended, and of anything else. `unindexed`: the space whose vectors lack an index. Ages in seconds:
    `sync_age` since a sync of anything but pushes came to an end, `request_age` of the oldest that nobody began."""

    sources: Sequence[SourceGauge] = ()
    last_runs: Sequence[Run] = ()
    latest_syncs: Sequence[Run] = ()
    sync_age: float | None = None
    unindexed: str = ""
    listener_age: float | None = None
    request_age: float | None = None
    replica: ReplicaGauge | None = None


@dataclass(frozen=True, slots=True)
class Health:
    """Findings, the worst first."""

    findings: Sequence[HealthFinding]
    facts: Facts = field(default_factory=Facts)

    @property
    def state(self) -> HealthState:
        return self.findings[0].state if self.findings else HealthState.OK


def assess(facts: Facts, limits: Monitoring, only: str | None = None) -> Health:
    """`only`: of CHECKS, what alone is judged."""
    if not facts.sources and not only:
        nothing = "there is no source yet: `pgfolio sync FOLDER` makes one"
        return Health([HealthFinding("sources", HealthState.UNKNOWN, nothing)], facts)
    every = (
        *_runs(facts),
        *_ages(facts, limits),
        *_listener(facts, limits),
        *_index(facts),
        *_blocked_deletions(facts),
        *_quarantined(facts),
        *_replica(facts, limits),
    )
    judged = [finding for finding in every if only in {None, finding.check}]
    return Health(sorted(judged, key=lambda finding: WORST_FIRST.index(finding.state)), facts)


def failed(state: HealthState, check: str, reason: str) -> Health:
    """Of what could not be looked at."""
    return Health([HealthFinding(check, state, reason)])


def _runs(facts: Facts) -> Iterator[HealthFinding]:
    """Of pushes and of anything else the last one that ended, killed ones included."""
    killed = [run for run in facts.last_runs if run.error == runs.DEAD]
    newest: dict[bool, Run] = {}
    for run in sorted((*facts.latest_syncs, *killed), key=lambda run: run.id):
        if run.flow == "sync":
            newest[run.started_by == "push"] = run
    for is_pushed, run in newest.items():
        if run.status in ("failed", "partial"):
            name = "the last sync of pushes" if is_pushed else "the last sync"
            state = HealthState.CRITICAL if run.status == "failed" else HealthState.WARNING
            yield HealthFinding("run", state, f"{name} (run {run.id}) {_ended(run)}: {runs.reason(run)}")


def _ended(run: Run) -> str:
    return "failed" if run.status == "failed" else "is partial"


def _ages(facts: Facts, limits: Monitoring) -> Iterator[HealthFinding]:
    """A file in quarantine or a removal that is held keeps a source from ever being synced in full, and is said
    beside this: such a source is too old only where no sync came to an end either."""
    limit = limits.sync_age_minutes * 60
    for source in facts.sources if limit else ():
        if source.kind == PUSHED:
            continue
        never = source.age is None
        age = source.known_seconds if source.age is None else source.age
        if (source.failed or source.held) and facts.sync_age is not None:
            age = min(age, facts.sync_age)
        if age > limit:
            state = HealthState.CRITICAL if age > CRITICAL_AGES * limit else HealthState.WARNING
            what = "was made and never synced in full" if never else "was not synced in full"
            yield HealthFinding("age", state, f"{source.name} {what} for {duration(age)}")


def _listener(facts: Facts, limits: Monitoring) -> Iterator[HealthFinding]:
    """One that was never there lacks only where something waits for it."""
    limit = limits.listener_age_seconds
    if not limit:
        return
    if facts.listener_age is not None:
        if facts.listener_age > limit:
            silent = duration(facts.listener_age)
            yield HealthFinding(
                "listener",
                HealthState.CRITICAL,
                f"the listener (python -m pgfolio.flows.listen) is silent for {silent}",
            )
        return
    waits = [source.pending_seconds for source in facts.sources if source.pending_seconds is not None]
    if facts.request_age is not None:
        waits.append(facts.request_age)
    if waits and max(waits) > limit:
        yield HealthFinding(
            "listener",
            HealthState.CRITICAL,
            f"what was pushed or asked for waits for {duration(max(waits))}, and no listener "
            "(python -m pgfolio.flows.listen) was ever started",
        )


def _index(facts: Facts) -> Iterator[HealthFinding]:
    """One that a sync is building is on its way."""
    if facts.unindexed and not any(run.status == "running" for run in facts.last_runs):
        yield HealthFinding(
            "index",
            HealthState.WARNING,
            f"vectors of {facts.unindexed} have no index, and searches read them all: `pgfolio index --rebuild`",
        )


def _blocked_deletions(facts: Facts) -> Iterator[HealthFinding]:
    for source in facts.sources:
        if source.held:
            yield HealthFinding(
                "held",
                HealthState.WARNING,
                f"{source.name}: {source.held:,} removals wait for an approval: "
                f"`pgfolio sync {source.name} --approve-deletes {source.held}`",
            )


def _quarantined(facts: Facts) -> Iterator[HealthFinding]:
    for source in facts.sources:
        if source.failed:
            yield HealthFinding(
                "quarantined",
                HealthState.WARNING,
                f"{source.name}: {source.failed:,} files could not be read: `pgfolio status` names them",
            )


def _replica(facts: Facts, limits: Monitoring) -> Iterator[HealthFinding]:
    """Searches go on without it, from the primary."""
    limit, replica = limits.replica_lag_seconds, facts.replica
    if replica is None or not limit:
        return
    if not replica.follows:
        reason = "the replica (PGFOLIO_API__DATABASE_URL) does not answer, or follows its primary no longer"
        yield HealthFinding("replica", HealthState.WARNING, reason)
    elif replica.lag is not None and replica.lag > limit:
        reason = f"the replica (PGFOLIO_API__DATABASE_URL) is {duration(replica.lag)} behind its primary"
        yield HealthFinding("replica", HealthState.WARNING, reason)
