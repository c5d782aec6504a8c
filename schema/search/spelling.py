"""The read side of correcting misspelt words: which words of a question nothing has, and the words that there are.

All is of what whoever asks may see: a correction tells that a word is there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pgfolio.schema.database.statements import array, statement

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pgfolio.schema.database.connect import AsyncConnection
    from pgfolio.schema.search.access import Permitted

MAX_VOCABULARY_CHUNKS: Final = 50_000
"""Chunks whose lexemes are read for a key that may not see all; for others postings tell them."""

CHUNKS_PER_LEXEME: Final = 3


async def unknown_words(connection: AsyncConnection, words: Sequence[str], permitted: Permitted) -> list[str]:
    """Those that no chunk has, in their order."""
    values = {"words": list(words), "permitted": array(permitted)}
    return await _column(connection, "unknown_words", values)


async def vocabulary_version(connection: AsyncConnection, permitted: Permitted) -> str:
    """Another one when there are other words."""
    [version] = await _column(connection, "vocabulary_version", {"permitted": array(permitted)})
    return version


async def vocabulary(connection: AsyncConnection, permitted: Permitted) -> list[str]:
    """The lexemes that there are, in no order."""
    values = {"permitted": array(permitted), "limit": MAX_VOCABULARY_CHUNKS}
    posted = await _column(connection, "posted_lexemes", values)
    return posted or await _column(connection, "lexemes_of_chunks", values)


async def texts_with(connection: AsyncConnection, lexemes: Sequence[str], permitted: Permitted) -> list[str]:
    """Of some chunks with each of these lexemes the text, its title and its headings."""
    values = {"lexemes": list(lexemes), "permitted": array(permitted), "per_lexeme": CHUNKS_PER_LEXEME}
    return await _column(connection, "texts_with_lexemes", values)


async def _column(connection: AsyncConnection, name: str, values: Mapping[str, Any]) -> list[str]:
    cursor = await connection.execute(statement(name), values)
    return [row[0] for row in await cursor.fetchall()]
