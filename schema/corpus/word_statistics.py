"""How common the common words are, counted from a sample, and whether they should be counted anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgfolio.schema.corpus import postings
from pgfolio.schema.database.statements import fetch_one, statement

if TYPE_CHECKING:
    from pgfolio.schema.database.connect import Connection

MAX_CHANGED_SHARE = 0.05
"""Part of all chunks that may come or go before their words are counted anew."""

EXACT_CHUNKS = 5000
"""Chunks up to which words are counted anew after every change, which takes 0.1 s."""

SAMPLE_CHUNKS = 10_000
"""Chunks whose mean length is measured, about."""

FIRST_CHUNKS = 1000
"""Chunks that are measured instead where the sample has none."""


COUNTED_CHUNKS = 1000
"""Chunks from which on a collection is counted by itself; in smaller ones a question's words are."""

COUNTED_SAMPLE = 20_000
"""Chunks of a collection whose words are counted, about."""

COMMON_CHUNKS = 500
COMMON_SHARE = 0.0025
"""Chunks, and part of a collection's, that a word which is counted stands in at least; others are counted when a
question has them."""


def are_stale(connection: Connection) -> bool:
    """Whether many chunks came or went since their words were counted."""
    stale = fetch_one(connection, "word_statistics_are_stale", {"max_changed_share": MAX_CHANGED_SHARE})[0]
    return bool(stale) or bool(_stale_collections(connection))


def are_behind(connection: Connection) -> bool:
    """Whether a small corpus has other chunks than when its words were counted, and so scores that depend on its
    history."""
    row = connection.execute(
        statement("word_statistics_are_behind"), {"exact_chunks": EXACT_CHUNKS}
    ).fetchone()
    return bool(row and row[0])


def are_counted(connection: Connection) -> bool:
    """Whether they were since an upgrade changed them, and postings were written: known at once, where `are_stale`
    reads the whole ledger."""
    return bool(fetch_one(connection, "word_statistics_exist", {"min_posted": postings.MIN_CHUNKS})[0])


def counted(connection: Connection) -> int:
    """Chunks that there were when their words were counted."""
    row = connection.execute(statement("counted_chunks")).fetchone()
    return int(row[0]) if row else 0


def count(connection: Connection) -> None:
    """Count, from the sample that `analyze` took, how common the common words are. In the caller's transaction."""
    count_collections(connection)
    sizes = {"sample_chunks": SAMPLE_CHUNKS, "first_chunks": FIRST_CHUNKS}
    for name in ("forget_common_words", "count_common_words", "forget_corpus", "count_corpus",
                 "forget_languages", "count_languages"):  # fmt: skip
        connection.execute(statement(name), sizes)


def count_collections(connection: Connection) -> None:
    """Count those collections that are large and were not, for keys that may see some only. In the caller's
    transaction."""
    for collection in _stale_collections(connection):
        values = {
            "id": collection,
            "counted_chunks": COUNTED_CHUNKS,
            "counted_sample": COUNTED_SAMPLE,
            "common_chunks": COMMON_CHUNKS,
            "common_share": COMMON_SHARE,
        }
        for name in ("forget_collection", "count_collection", "count_collection_words",
                     "count_collection_languages"):  # fmt: skip
            connection.execute(statement(name), values)


def _stale_collections(connection: Connection) -> list[int]:
    values = {"counted_chunks": COUNTED_CHUNKS, "max_changed_share": MAX_CHANGED_SHARE}
    return [row[0] for row in connection.execute(statement("stale_collections"), values)]
