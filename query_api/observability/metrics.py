"""What /metrics shows, by prometheus_client: of litestar's own plugin only the requests would be of use.

With several workers each writes to files in the folder that PROMETHEUS_MULTIPROC_DIR names, and whichever is asked
adds them up. No question, path, key or trace id is ever a label.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

import psutil
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, multiprocess
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.values import ValueClass

from pgfolio.config.environment import variables

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pgfolio.query_api.observability.timings import RequestRecord
    from pgfolio.schema.operations.gauges import IndexGauge, RunsOverview, SourceGauge
    from pgfolio.schema.operations.heartbeats import Heartbeat
    from pgfolio.schema.operations.replicas import ReplicaGauge
    from pgfolio.schema.search.catalog import StoredCollection
    from pgfolio.schema.search.pool import Pool

CONTENT_TYPE: Final = "text/plain; version=0.0.4"
"""With the charset that litestar adds."""
BUCKETS_SECONDS: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120)
REJECTION_REASONS: Final = {401: "unauthenticated", 403: "forbidden", 429: "rate_limited"}
METHODS: Final = {"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"}
SAMPLE_SECONDS: Final = 1.0
"""Seconds between two looks at the pool."""

Metric = TypeVar("Metric", Counter, Histogram)
StoredMetric: TypeAlias = CounterMetricFamily | GaugeMetricFamily

REGISTRY: Final = CollectorRegistry()
REQUESTS: Final = Counter(
    "pgfolio_requests", "Requests answered.", ("method", "route", "status"), registry=REGISTRY
)
SECONDS: Final = Histogram(
    "pgfolio_request_seconds",
    "Time to the end of the answer.",
    ("method", "route"),
    registry=REGISTRY,
    buckets=BUCKETS_SECONDS,
)
STAGES: Final = Histogram(
    "pgfolio_stage_seconds",
    "Of it: the question's embedding, reading the database with the wait for a connection, the chat model.",
    ("stage",),
    registry=REGISTRY,
    buckets=BUCKETS_SECONDS,
)
VECTORS: Final = Counter(
    "pgfolio_question_vectors",
    "Vectors of questions that were kept from before or made.",
    ("origin",),
    registry=REGISTRY,
)
REJECTED_REQUESTS: Final = Counter(
    "pgfolio_refused", "Requests turned away, by the reason.", ("reason",), registry=REGISTRY
)
POOL: Final = Gauge(
    "pgfolio_pool_connections",
    "Database connections of the pool.",
    ("state",),
    registry=REGISTRY,
    multiprocess_mode="livesum",
)
WAITING: Final = Gauge(
    "pgfolio_pool_waiting",
    "Requests that wait for their turn with a connection.",
    registry=REGISTRY,
    multiprocess_mode="livesum",
)


@dataclass(frozen=True, slots=True)
class StoredGauges:
    """What the database tells, as far as who asks may see it."""

    collections: Sequence[StoredCollection]
    sources: Sequence[SourceGauge]
    index: IndexGauge | None
    runs: RunsOverview
    heartbeats: Sequence[Heartbeat]
    waiting_requests: int
    replica: ReplicaGauge | None


def observe(method: str, route: str, status: int, seconds: float, record: RequestRecord) -> None:
    """One request that was answered."""
    method = method if method in METHODS else "other"
    _with_labels(REQUESTS, method, route, str(status)).inc()
    _with_labels(SECONDS, method, route).observe(seconds)
    for name, took in record.seconds.items():
        _with_labels(STAGES, name).observe(took)
    if cached := record.counts["embedding_cached"]:
        _with_labels(VECTORS, "cache").inc(cached)
    if computed := record.counts["embedding_computed"]:
        _with_labels(VECTORS, "model").inc(computed)
    if status in REJECTION_REASONS:
        _with_labels(REJECTED_REQUESTS, REJECTION_REASONS[status]).inc()


def sample(pool: Pool) -> None:
    stats = pool.get_stats()
    size, idle = stats.get("pool_size", 0), stats.get("pool_available", 0)
    POOL.labels("idle").set(idle)
    POOL.labels("used").set(max(size - idle, 0))
    WAITING.set(pool.turns.waiting)


def mark_process_dead() -> None:
    """This process ends: what it had of the pool is no more."""
    if _is_multiprocess():
        multiprocess.mark_process_dead(os.getpid())  # type: ignore[no-untyped-call]


def render(stored: StoredGauges, *, with_requests: bool) -> bytes:
    """In Prometheus's text format. `with_requests`: also what this API did, whoever asked."""
    gauges = CollectorRegistry()
    gauges.register(_DatabaseGauges(stored))
    if not with_requests:
        return generate_latest(gauges)
    registry = REGISTRY
    if _is_multiprocess():
        _forget_killed()
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry) + generate_latest(gauges)


@lru_cache(1000)
def _with_labels(metric: Metric, *labels: str) -> Metric:
    """`labels` itself, 4 times for each request, takes longer than to count."""
    return metric.labels(*labels)


class _DatabaseGauges:
    """Told by the database, and made for one answer. A Gauge would be kept in the files of several workers: each
    scrape would show the values of all others, and what other keys may see."""

    def __init__(self, stored: StoredGauges) -> None:
        self._stored = stored

    def collect(self) -> Iterator[StoredMetric]:
        yield from self._collections()
        yield from self._sources()
        yield from _runs(self._stored.runs)
        yield from _quotas(self._stored.runs)
        yield from self._index()
        beats = _gauge(
            "heartbeat_age_seconds", "Since a process of this kind last said it is alive.", "process"
        )
        for beat in self._stored.heartbeats:
            beats.add_metric([beat.process], beat.age)
        waiting = _gauge("waiting_requests", "Requests to the flows that nobody has begun.")
        waiting.add_metric([], self._stored.waiting_requests)
        yield from (beats, waiting)
        if self._stored.replica is not None:
            yield from _replica(self._stored.replica)

    def _collections(self) -> Iterator[GaugeMetricFamily]:
        documents = _gauge("documents", "Documents stored.", "collection")
        chunks = _gauge("chunks", "Chunks stored.", "collection")
        for each in self._stored.collections:
            documents.add_metric([each.name], each.documents)
            chunks.add_metric([each.name], each.chunks)
        yield from (documents, chunks)

    def _sources(self) -> Iterator[GaugeMetricFamily]:
        age = _gauge(
            "source_age_seconds", "Since a sync last went through all of it without a problem.", "source"
        )
        known = _gauge("source_known_seconds", "Since the source was made.", "source", "kind")
        failed = _gauge("source_failed_files", "Files in quarantine: they could not be read.", "source")
        held = _gauge("source_held_removals", "Removals that wait for an approval.", "source")
        pending = _gauge("source_pending_pushes", "Pushes that are no documents yet.", "source")
        pending_age = _gauge("source_pending_age_seconds", "Since the oldest of them was pushed.", "source")
        for source in self._stored.sources:
            known.add_metric([source.name, source.kind], source.known_seconds)
            if source.age is not None:
                age.add_metric([source.name], source.age)
            failed.add_metric([source.name], source.failed)
            held.add_metric([source.name], source.held)
            pending.add_metric([source.name], source.pending)
            pending_age.add_metric([source.name], source.pending_seconds or 0.0)
        yield from (age, known, failed, held, pending, pending_age)

    def _index(self) -> Iterator[GaugeMetricFamily]:
        if (index := self._stored.index) is not None:
            recall = _gauge("index_recall", "Recall@10 as last measured.", "space")
            recall.add_metric([index.space], index.recall)
            yield recall
        if (indexed := self._stored.runs.indexed) is not None:
            valid = _gauge("index_valid", "1: all vectors of the active space have an index.", "space")
            valid.add_metric([indexed.space], indexed.is_indexed)
            yield valid


def _replica(stored: ReplicaGauge) -> Iterator[GaugeMetricFamily]:
    follows = _gauge("replica_follows", "1: the replica answers, and follows its primary.")
    follows.add_metric([], stored.follows)
    lag = _gauge("replica_lag_seconds", "Since the last transaction that it has; 0 where it has them all.")
    if stored.lag is not None:
        lag.add_metric([], stored.lag)
    yield from (follows, lag)


def _runs(stored: RunsOverview) -> Iterator[StoredMetric]:
    names = ("flow", "status")
    ended = CounterMetricFamily("pgfolio_runs", "Runs that ended.", labels=names)
    tokens = CounterMetricFamily("pgfolio_run_tokens", "Tokens that runs were billed for.", labels=names)
    cost = CounterMetricFamily("pgfolio_run_cost_usd", "US dollars that they cost.", labels=names)
    last = _gauge("run_ended_timestamp_seconds", "When the last such run ended, since 1970.", *names)
    took = _gauge("run_duration_seconds", "What the last such run took.", *names)
    for run in stored.runs:
        labels = [run.flow, run.status]
        ended.add_metric(labels, run.runs)
        tokens.add_metric(labels, run.tokens)
        cost.add_metric(labels, run.cost_usd)
        if run.finished_at is not None and run.seconds is not None:
            last.add_metric(labels, run.finished_at)
            took.add_metric(labels, run.seconds)
    documents = _gauge("last_sync_documents", "What the last sync that ended did with documents.", "outcome")
    for outcome, number in stored.documents.items():
        documents.add_metric([outcome], number)
    yield from (ended, tokens, cost, last, took, documents)


def _quotas(stored: RunsOverview) -> Iterator[GaugeMetricFamily]:
    remaining = _gauge("quota_remaining", "What the model server last said remains.", "model", "kind")
    quota = _gauge("quota_limit", "Of so many.", "model", "kind")
    age = _gauge("quota_age_seconds", "Since it said so.", "model", "kind")
    for reported in stored.quotas:
        labels = [reported.model, reported.kind]
        remaining.add_metric(labels, reported.remaining)
        age.add_metric(labels, reported.age)
        if reported.quota:
            quota.add_metric(labels, reported.quota)
    yield from (remaining, quota, age)


def _gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"pgfolio_{name}", text, labels=labels)


def _forget_killed() -> None:
    """A worker that was killed could not say so: what it had of the pool would be counted beside its successor's."""
    files = Path(variables()["PROMETHEUS_MULTIPROC_DIR"]).glob("gauge_live*_*.db")
    for process in {int(file.stem.rpartition("_")[2]) for file in files}:
        if not psutil.pid_exists(process):
            multiprocess.mark_process_dead(process)  # type: ignore[no-untyped-call]


def _is_multiprocess() -> bool:
    """Whether several processes count together: prometheus_client decides that when it is imported."""
    return bool(getattr(ValueClass, "_multiprocess", False))
