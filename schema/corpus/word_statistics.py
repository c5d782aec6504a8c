"""How common the common words are, counted from a sample, and whether they should be counted anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgfolio.schema.database.statements import fetch_one, statement

if TYPE_CHECKING:
    from pgfolio.schema.database.connect import Connection

MAX_CHANGED_SHARE = 0.05
"""Part of all chunks that may come or go before their words are counted anew."""

SAMPLE_CHUNKS = 10_000
"""Chunks whose mean length is measured, about."""

FIRST_CHUNKS = 1000
"""Chunks that are measured instead where the sample has none."""


def are_stale(connection: Connection) -> bool:
    """Whether many chunks came or went since their words were counted."""
    return bool(
        fetch_one(connection, "word_statistics_are_stale", {"max_changed_share": MAX_CHANGED_SHARE})[0]
    )


def are_counted(connection: Connection) -> bool:
    """Whether they were since an upgrade changed them: known at once, where `are_stale` reads the whole ledger."""
    return bool(fetch_one(connection, "word_statistics_exist")[0])


def counted(connection: Connection) -> int:
    """Chunks that there were when their words were counted."""
    row = connection.execute(statement("counted_chunks")).fetchone()
    return int(row[0]) if row else 0


def count(connection: Connection) -> None:
    """Count, from the sample that `analyze` took, how common the common words are. In the caller's transaction."""
    sizes = {"sample_chunks": SAMPLE_CHUNKS, "first_chunks": FIRST_CHUNKS}
    for name in ("forget_common_words", "count_common_words", "forget_corpus", "count_corpus",
                 "forget_languages", "count_languages"):  # fmt: skip
        connection.execute(statement(name), sizes)
