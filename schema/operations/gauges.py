"""What the database tells of itself for monitoring."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pgfolio.schema.database.rows import fetch_records, read_record, read_records
from pgfolio.schema.database.statements import array, fetch_one, statement

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pgfolio.schema.database.connect import AsyncConnection, Connection
    from pgfolio.schema.search.access import Permitted


@dataclass(frozen=True, slots=True)
class SourceGauge:
    """`age`: seconds since a sync last went through all of it without a problem; None: never. `known_seconds`: since
    it was made. `failed`: files in quarantine; `held`: removals that wait for an approval; `pending`: pushes that
    are no documents yet, the oldest of them for `pending_seconds`."""

    name: str
    kind: str
    age: float | None
    known_seconds: float
    failed: int
    held: int
    pending: int
    pending_seconds: float | None


@dataclass(frozen=True, slots=True)
class IndexGauge:
    space: str
    recall: float


@dataclass(frozen=True, slots=True)
class RunGauge:
    """Runs of a flow that ended with a status. Of the last one: when it ended, in seconds since 1970, and what it
    took; None: there is none."""

    flow: str
    status: str
    runs: int
    tokens: int
    cost_usd: float
    finished_at: float | None
    seconds: float | None


@dataclass(frozen=True, slots=True)
class QuotaGauge:
    """Of a model's `kind`, requests or tokens: what its server said remains of `quota`, 0 where it did not say of how
    many; `age`: seconds since then."""

    model: str
    kind: str
    remaining: float
    quota: float
    age: float


@dataclass(frozen=True, slots=True)
class IndexedGauge:
    """Of the active space."""

    space: str
    is_indexed: bool


@dataclass(frozen=True, slots=True)
class RunsOverview:
    """What runs did, for who may see every collection; else there is nothing in it."""

    runs: Sequence[RunGauge] = ()
    documents: Mapping[str, int] = field(default_factory=dict)
    quotas: Sequence[QuotaGauge] = ()
    indexed: IndexedGauge | None = None


async def source_gauges(connection: AsyncConnection, permitted: Permitted) -> list[SourceGauge]:
    values = {"permitted": array(permitted)}
    return await read_records(connection, SourceGauge, statement("source_gauges"), values)


def fetch_source_gauges(connection: Connection) -> list[SourceGauge]:
    """Of all sources."""
    return fetch_records(connection, SourceGauge, statement("source_gauges"), {"permitted": None})


async def index_gauge(connection: AsyncConnection, permitted: Permitted, ef_search: int) -> IndexGauge | None:
    """None where nothing was measured, and for who may not see every collection. `ef_search`: what is searched with
    where nothing was tuned."""
    values = {"permitted": array(permitted), "ef_search": ef_search}
    return await read_record(connection, IndexGauge, statement("index_gauge"), values)


async def runs_overview(connection: AsyncConnection, permitted: Permitted) -> RunsOverview:
    values = {"permitted": array(permitted)}
    documents = await connection.execute(statement("last_sync_documents"), values)
    return RunsOverview(
        await read_records(connection, RunGauge, statement("run_gauges"), values),
        dict(await documents.fetchall()),
        await read_records(connection, QuotaGauge, statement("quota_gauges"), values),
        await read_record(connection, IndexedGauge, statement("is_indexed"), values),
    )


async def waiting_requests(connection: AsyncConnection, permitted: Permitted) -> int:
    """Requests of the flows over HTTP that nobody has begun."""
    rows = await connection.execute(statement("waiting_requests"), {"permitted": array(permitted)})
    row = await rows.fetchone()
    return row[0] if row else 0


def oldest_request_seconds(connection: Connection) -> float | None:
    """For how long the oldest request waits that nobody has begun; None: there is none."""
    seconds: float | None = fetch_one(connection, "waiting_requests", {"permitted": None})[1]
    return seconds
