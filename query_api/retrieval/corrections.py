"""Corrects misspelt words of a question by the words of what whoever asks may see."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from cachetools import LRUCache

from pgfolio.query_api.retrieval import spelling
from pgfolio.schema.search import spelling as stored

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pgfolio.schema.database.connect import AsyncConnection
    from pgfolio.schema.search.access import Permitted

MAX_VOCABULARIES: Final = 8
"""That are kept, each of what some keys may see: 100,000 lexemes take 6.5 MB."""

MAX_WORDS: Final = 5
"""Of a question that are corrected; of a text in another language all would be looked for."""


class Corrections:
    """Keeps the vocabularies. For one event loop."""

    def __init__(self) -> None:
        self._vocabularies: LRUCache[Permitted, tuple[str, Mapping[int, Sequence[str]]]] = LRUCache(
            MAX_VOCABULARIES
        )

    async def corrections(
        self, connection: AsyncConnection, words: Sequence[str], permitted: Permitted
    ) -> dict[str, str]:
        """For each of these words, in small letters, that no document has, the one that it is a misspelling of, if
        there is one."""
        unknown = await stored.unknown_words(connection, words, permitted)
        if not unknown or len(unknown) > MAX_WORDS:
            return {}
        vocabulary = await self._vocabulary(connection, permitted)
        corrections = {}
        for word in unknown:
            lexemes = await asyncio.to_thread(spelling.similar_lexemes, word, vocabulary)
            texts = await stored.texts_with(connection, lexemes, permitted)
            if (meant := spelling.nearest_word(word, texts)) is not None:
                corrections[word] = meant
        return corrections

    async def _vocabulary(
        self, connection: AsyncConnection, permitted: Permitted
    ) -> Mapping[int, Sequence[str]]:
        version = await stored.vocabulary_version(connection, permitted)
        cached = self._vocabularies.get(permitted)
        if cached is None or cached[0] != version:
            lexemes = await stored.vocabulary(connection, permitted)
            cached = version, await asyncio.to_thread(spelling.by_length, lexemes)
            self._vocabularies[permitted] = cached
        return cached[1]
