"""Texts that no chunk has a vector for in a generation."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pgfolio.schema.database.statements import fetch_one, statement
from pgfolio.schema.vectors.storage import vector_statement

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgfolio.schema.database.connect import Connection
    from pgfolio.schema.records import Generation

PAGE_CHUNKS = 2000
"""Chunks of which those without a vector are looked for at once."""


class Text(NamedTuple):
    """A text to embed, by one of the chunks that have it."""

    chunk_id: int
    collection_id: int
    content: str
    heading: str
    title: str | None
    hash: bytes
    tokens: int


def texts_without_vector(connection: Connection, generation: Generation, batch: int) -> Iterator[list[Text]]:
    """Texts that no chunk has a vector for, each once, at most `batch` at a time; stored ones were given out before.

    Page by page of all texts: asked for the next ones that lack a vector, PostgreSQL reads all vectors each time.
    """
    after = b""
    while page := connection.execute(
        statement("page_of_texts"), {"after": after, "limit": PAGE_CHUNKS}, binary=True
    ).fetchall():
        ids = {row[1]: row[0] for row in page}
        rows = connection.execute(
            vector_statement("texts_without_vector", generation), {"ids": list(ids.values())}, binary=True
        ).fetchall()
        for start in range(0, len(rows), batch):
            yield [Text(*row) for row in rows[start : start + batch]]
        after = page[-1][1]


def sample(connection: Connection, limit: int) -> list[Text]:
    """Some of the stored texts, by no rule: the first ones in the order of their hashes."""
    rows = connection.execute(statement("sample_of_texts"), {"limit": limit}, binary=True)
    return [Text(*row) for row in rows]


def count_texts_without_vector(connection: Connection, generation: Generation) -> int:
    return int(fetch_one(connection, vector_statement("count_texts_without_vector", generation))[0])
