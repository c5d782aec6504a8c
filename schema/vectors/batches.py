"""Texts that are handed in to a model server's Batch API: which batch each is in, how far the batches are, and their
answers, which are kept as vectors that are paid for. A text that is handed in is nobody else's to pay for."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeAlias

from pgfolio.schema.database import locks
from pgfolio.schema.database.rows import fetch_record, fetch_records
from pgfolio.schema.database.statements import fetch_one, statement
from pgfolio.schema.records import Space
from pgfolio.schema.vectors.reuse import VectorArray, with_vector_arrays
from pgfolio.schema.vectors.storage import space_statement, value

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    import numpy as np

    from pgfolio.schema.database.connect import Connection
    from pgfolio.schema.records import Generation

BatchState: TypeAlias = Literal["preparing", "uploaded", "handed_in", "done", "lost"]
TextState: TypeAlias = Literal["returned", "failed"]

MAX_LISTED: Final = 50
"""Batches that `status` names."""


@dataclass(frozen=True, slots=True)
class HandedInBatch:
    """A row of what was handed in. `key`: ours, in the batch's metadata at the server; `batch_id`: the server's."""

    id: int
    key: str
    space_id: int
    server: str
    state: BatchState
    file_id: str | None
    batch_id: str | None
    texts: int
    texts_done: int
    tokens_estimated: int
    tokens_billed: int
    usd_per_million_tokens: float
    attempts: int
    made_at: datetime
    handed_in_at: datetime | None

    @property
    def estimated_usd(self) -> float:
        """What it costs, as far as is known."""
        return max(self.tokens_estimated, self.tokens_billed) * self.usd_per_million_tokens / 1_000_000


class StoredAnswers(NamedTuple):
    """Texts that had no vector until now, and their tokens: as billed, and by our own count."""

    texts: int = 0
    billed: int = 0
    counted: int = 0


class Totals(NamedTuple):
    """`texts`: handed in; `returned`: that came back undone, to be handed in again."""

    batches: int
    texts: int
    returned: int


@contextmanager
def alone(connection: Connection) -> Iterator[bool]:
    """True: inside, nobody else hands in, or looks for what was. False: somebody does."""
    with locks.session_lock(connection, *locks.BATCHES) as is_locked:
        yield is_locked


def space_id(connection: Connection, space: Space) -> int:
    return int(fetch_one(connection, "upsert_space", asdict(space))[0])


def begin(
    connection: Connection, space_id: int, server: str, run_id: int | None, usd_per_million_tokens: float
) -> HandedInBatch:
    """A row for what is about to be uploaded."""
    values = {"space_id": space_id, "server": server, "run_id": run_id}
    row = fetch_one(connection, "begin_batch", {**values, "usd_per_million_tokens": usd_per_million_tokens})
    batch = fetch_record(connection, HandedInBatch, statement("find_batch"), {"id": row[0]})
    if batch is None:
        raise LookupError(f"no batch {row[0]}")
    return batch


def open_batches(connection: Connection, space_id: int) -> list[HandedInBatch]:
    """Those that are not at their end."""
    return fetch_records(connection, HandedInBatch, statement("open_batches"), {"space_id": space_id})


def claim(connection: Connection, batch: HandedInBatch, texts: Sequence[tuple[bytes, int]]) -> set[bytes]:
    """Of texts, as (hash of the text as embedded, tokens by our count), those that are this batch's from now on."""
    values = {"id": batch.id, "hashes": [text[0] for text in texts], "tokens": [text[1] for text in texts]}
    return {row[0] for row in connection.execute(statement("claim_batch_texts"), values, binary=True)}


def note_uploaded(connection: Connection, batch: HandedInBatch, file_id: str, tokens: int) -> None:
    values = {"id": batch.id, "file_id": file_id, "tokens": tokens}
    connection.execute(statement("note_uploaded"), values)


def note_handed_in(connection: Connection, batch: HandedInBatch, batch_id: str) -> None:
    connection.execute(statement("note_handed_in"), {"id": batch.id, "batch_id": batch_id})


def note_queue_full(
    connection: Connection, batch: HandedInBatch, reason: str, queue_tokens: int | None
) -> None:
    values = {"id": batch.id, "reason": reason, "queue_tokens": queue_tokens}
    connection.execute(statement("note_queue_full"), values)


def queue_tokens(connection: Connection, space_id: int, server: str) -> int | None:
    """How many tokens the server's queue takes at once, where it refused some lately."""
    values = {"space_id": space_id, "server": server}
    row = connection.execute(statement("queue_tokens"), values).fetchone()
    return row[0] if row else None


def discard(connection: Connection, batch: HandedInBatch) -> None:
    """One of which nothing was ever handed in, with its texts."""
    connection.execute(statement("discard_batch"), {"id": batch.id})


def store(
    connection: Connection,
    batch: HandedInBatch,
    space: Space,
    answers: Sequence[tuple[bytes, np.ndarray, int]],
) -> StoredAnswers:
    """Keep vectors of shape (dimensions,), float32, by the hash of the text as embedded, with the tokens billed.
    Storing the same ones again changes nothing."""
    values = {
        "id": batch.id,
        "space_id": batch.space_id,
        "hashes": [key for key, _, _ in answers],
        "embeddings": VectorArray(value(space, vector) for _, vector, _ in answers),
        "tokens": [tokens for _, _, tokens in answers],
    }
    cursor = with_vector_arrays(connection)
    row = cursor.execute(space_statement("store_batch_vectors", space), values).fetchone()
    return StoredAnswers(*map(int, row)) if row else StoredAnswers()


def fail(connection: Connection, batch: HandedInBatch, hashes: Sequence[bytes]) -> None:
    """Texts whose lines the server refused: they are asked for directly."""
    values = {"id": batch.id, "space_id": batch.space_id, "hashes": list(hashes)}
    connection.execute(statement("fail_batch_texts"), values)


def end(
    connection: Connection,
    batch: HandedInBatch,
    state: Literal["done", "lost"],
    *,
    texts_state: TextState = "returned",
    reason: str = "",
    queue_tokens: int | None = None,
) -> int:
    """Nothing more comes of it. Returns how many texts have no answer; they get `texts_state`."""
    values = {"id": batch.id, "state": state, "texts_state": texts_state, "reason": reason}
    return int(fetch_one(connection, "end_batch", {**values, "queue_tokens": queue_tokens})[0])


def waiting(connection: Connection, generation: Generation, hashes: Sequence[bytes]) -> set[bytes]:
    """Those of the texts that are handed in, or are to be again: asked for now they would be paid twice."""
    values = {"generation": generation.id, "hashes": list(hashes)}
    return {row[0] for row in connection.execute(statement("waiting_batch_texts"), values, binary=True)}


def forget_texts(connection: Connection, space_id: int, state: TextState) -> None:
    """Texts that no batch is at work on."""
    connection.execute(statement("forget_batch_texts"), {"space_id": space_id, "state": state})


def totals(connection: Connection, space_id: int) -> Totals:
    return Totals(*fetch_one(connection, "batch_totals", {"space_id": space_id}))


def cost_usd(connection: Connection, started_by: str) -> float:
    """What batches that are at their end have cost whoever starts runs under this name."""
    return float(fetch_one(connection, "batch_cost", {"started_by": started_by})[0])


def overview(connection: Connection) -> list[dict[str, Any]]:
    """The newest batches, ready for JSON, those at work first."""
    rows = connection.execute(statement("list_batches"), {"limit": MAX_LISTED}).fetchall()
    return [_as_json(Space(*row[1:8]), row[8:]) for row in rows]


def _as_json(space: Space, row: Sequence[Any]) -> dict[str, Any]:
    state, batch_id, texts, done, estimated, billed, price, reason, made_at, handed_in_at, ended_at = row
    tokens = billed if ended_at else max(estimated, billed)
    return {
        "space": space.name,
        "state": state,
        "batch_id": batch_id,
        "texts": texts,
        "texts_done": done,
        "tokens": tokens,
        "cost_usd": round(tokens * price / 1_000_000, 6),
        "reason": reason,
        "made_at": made_at.isoformat(timespec="seconds"),
        "handed_in_at": handed_in_at and handed_in_at.isoformat(timespec="seconds"),
        "ended_at": ended_at and ended_at.isoformat(timespec="seconds"),
    }
