"""What /metrics shows, by prometheus_client: of litestar's own plugin only the requests would be of use.

With several workers each writes to files in the folder that PROMETHEUS_MULTIPROC_DIR names, and whichever is asked
adds them up. No question, path, key or trace id is ever a label.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, multiprocess
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.values import ValueClass

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pgfolio.query_api.observability.timings import RequestRecord
    from pgfolio.schema.operations.gauges import IndexGauge, SourceGauge
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

    def collect(self) -> Iterator[GaugeMetricFamily]:
        documents = GaugeMetricFamily("pgfolio_documents", "Documents stored.", labels=["collection"])
        chunks = GaugeMetricFamily("pgfolio_chunks", "Chunks stored.", labels=["collection"])
        for each in self._stored.collections:
            documents.add_metric([each.name], each.documents)
            chunks.add_metric([each.name], each.chunks)
        age = GaugeMetricFamily(
            "pgfolio_source_age_seconds",
            "Since a sync last went through all of the source without a problem.",
            labels=["source"],
        )
        failed = GaugeMetricFamily(
            "pgfolio_source_failed_files", "Files that could not be read.", labels=["source"]
        )
        for source in self._stored.sources:
            failed.add_metric([source.name], source.failed)
            if source.age is not None:
                age.add_metric([source.name], source.age)
        yield from (documents, chunks, age, failed)
        if (index := self._stored.index) is not None:
            recall = GaugeMetricFamily(
                "pgfolio_index_recall", "Recall@10 as last measured.", labels=["space"]
            )
            recall.add_metric([index.space], index.recall)
            yield recall


def _is_multiprocess() -> bool:
    """Whether several processes count together: prometheus_client decides that when it is imported."""
    return bool(getattr(ValueClass, "_multiprocess", False))
