"""What the database tells of itself for monitoring."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgfolio.schema.database.rows import read_record, read_records
from pgfolio.schema.database.statements import array, statement

if TYPE_CHECKING:
    from pgfolio.schema.database.connect import AsyncConnection
    from pgfolio.schema.search.access import Permitted


@dataclass(frozen=True, slots=True)
class SourceGauge:
    """`age`: seconds since a sync last went through all of it without a problem; None: never."""

    name: str
    age: float | None
    failed: int


@dataclass(frozen=True, slots=True)
class IndexGauge:
    space: str
    recall: float


async def source_gauges(connection: AsyncConnection, permitted: Permitted) -> list[SourceGauge]:
    values = {"permitted": array(permitted)}
    return await read_records(connection, SourceGauge, statement("source_gauges"), values)


async def index_gauge(connection: AsyncConnection, permitted: Permitted, ef_search: int) -> IndexGauge | None:
    """None where nothing was measured, and for who may not see every collection. `ef_search`: what is searched with
    where nothing was tuned."""
    values = {"permitted": array(permitted), "ef_search": ef_search}
    return await read_record(connection, IndexGauge, statement("index_gauge"), values)
