"""What a run with a limited cost spends, over all its workers: set apart before a request, billed after it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pgfolio.schema.database.statements import fetch_one, statement

if TYPE_CHECKING:
    from pgfolio.schema.database.connect import Connection


class Spent(NamedTuple):
    """`tokens` as billed; `reserved`: what requests under way may cost, with those whose worker has ended, which may
    be billed; `awaited`: a worker is there for one of them."""

    tokens: int
    billed_per_counted: float
    learned: bool
    reserved: int
    awaited: bool


def make(connection: Connection, run_id: int) -> None:
    connection.execute(statement("make_budget"), {"run_id": run_id})


def lock(connection: Connection, run_id: int) -> Spent:
    """Kept from others until the caller's transaction ends."""
    tokens, billed_per_counted, learned = fetch_one(connection, "lock_budget", {"run_id": run_id})
    reserved, awaited = fetch_one(connection, "reserved_tokens", {"run_id": run_id})
    return Spent(int(tokens), billed_per_counted, learned, int(reserved), awaited)


def reserve(connection: Connection, run_id: int, tokens: int) -> int:
    """The reservation's id."""
    return int(fetch_one(connection, "reserve_tokens", {"run_id": run_id, "tokens": tokens})[0])


def bill(
    connection: Connection,
    run_id: int,
    reservation: int,
    tokens: int,
    *,
    billed_per_counted: float,
    learned: bool,
) -> None:
    values = {"run_id": run_id, "id": reservation, "tokens": tokens}
    connection.execute(
        statement("bill_tokens"), {**values, "billed_per_counted": billed_per_counted, "learned": learned}
    )
