"""Moves to a better space that go on in the background: how far the last one is, and what became of each."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from psycopg.types.json import Jsonb

from pgfolio.schema.database.statements import fetch_one, statement
from pgfolio.schema.records import Space
from pgfolio.schema.vectors import generations, hnsw

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgfolio.schema.database.connect import Connection

UpgradeState: TypeAlias = Literal["filling", "refused", "failed", "taken"]


@dataclass(frozen=True, slots=True)
class PastUpgrade:
    """What became of the last try. `tried`: of one that the gate refused, what was measured and by which settings."""

    state: UpgradeState
    reason: str
    tried: Mapping[str, Any]


def begin(connection: Connection, space: Space) -> None:
    connection.execute(statement("begin_upgrade"), {"space_id": _space_id(connection, space)})


def end(
    connection: Connection,
    space: Space,
    state: UpgradeState,
    reason: str = "",
    tried: Mapping[str, Any] | None = None,
) -> None:
    values = {"space_id": _space_id(connection, space), "state": state, "reason": reason}
    connection.execute(statement("end_upgrade"), {**values, "tried": Jsonb(dict(tried or {}))})


def past(connection: Connection, space: Space) -> PastUpgrade | None:
    row = connection.execute(statement("find_upgrade"), {"space_id": _space_id(connection, space)}).fetchone()
    return PastUpgrade(*row) if row else None


def record_speed(connection: Connection, space: Space, chunks_per_second: float) -> None:
    values = {"space_id": _space_id(connection, space), "speed": chunks_per_second}
    connection.execute(statement("record_upgrade_speed"), values)


def corpus_extent(connection: Connection) -> tuple[int, int]:
    """The number of chunks and the newest one's id: others whenever the texts that are stored have changed."""
    chunks, newest = fetch_one(connection, "corpus_extent")
    return int(chunks), int(newest)


def filled(connection: Connection, space: Space) -> int:
    """Chunks that have their vector in the newest generation of a space."""
    listed = generations.list_generations(connection, "building", "ready", "active")
    return max((hnsw.rows(connection, one) for one in listed if one.space == space), default=0)


def last(connection: Connection) -> dict[str, Any] | None:
    """The upgrade that changed last, ready for JSON. `state`: filling, stopped, refused, failed or taken;
    `seconds_left`: of one that is being filled, as fast as until now; None: not known."""
    row = connection.execute(statement("last_upgrade")).fetchone()
    if row is None:
        return None
    space, (state, reason, speed, changed_at) = Space(*row[:7]), row[7:]
    is_running = generations.is_reembedding(connection)
    chunks, total = filled(connection, space), generations.count_chunks(connection)
    is_filling = state == "filling" and is_running
    active = generations.active_generation(connection)
    if active is not None and active.space == space:
        state = "taken"
    return {
        "space": space.name,
        "state": "stopped" if state == "filling" and not is_running else state,
        "chunks": chunks,
        "chunks_total": total,
        "seconds_left": round(max(total - chunks, 0) / speed) if is_filling and speed else None,
        "reason": "" if state == "taken" else reason,
        "changed_at": changed_at.isoformat(timespec="seconds"),
    }


def _space_id(connection: Connection, space: Space) -> int:
    return int(fetch_one(connection, "upsert_space", asdict(space))[0])
