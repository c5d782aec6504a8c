"""A question's embedding: one for all requests that wait for it, kept when it is made, never when it fails."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import numpy as np
import pytest

from pgfolio.config.models.protocols import Embeddings, TransientError
from pgfolio.query_api.retrieval.query_embedding import MAX_CACHED_EMBEDDINGS, ActiveSpace
from pgfolio.schema.records import Generation, Space

if TYPE_CHECKING:
    from collections.abc import Sequence

GENERATION = Generation(1, Space("openai", "tiny-embedding", 64), "active")


class SlowEmbedder:
    """Answers when `released`; the first `failing` requests fail."""

    def __init__(self, failing: int = 0) -> None:
        self.released = asyncio.Event()
        self.texts: list[str] = []
        self.cancelled = 0
        self._failing = failing

    async def embed(self, text: str) -> Embeddings:
        self.texts.append(text)
        try:
            await self.released.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if len(self.texts) <= self._failing:
            raise TransientError("the server failed")
        return Embeddings(np.ones((1, 64), dtype=np.float32), 1)

    async def embed_all(self, texts: Sequence[str]) -> Embeddings:
        return Embeddings(np.ones((len(texts), 64), dtype=np.float32), len(texts))


async def begun(space: ActiveSpace, count: int) -> list[asyncio.Task[object]]:
    """So many requests with one question, all of which wait."""
    tasks: list[asyncio.Task[object]] = [asyncio.create_task(space.embed("a question")) for _ in range(count)]
    await asyncio.sleep(0.01)
    return tasks


def test_requests_with_the_same_question_share_one_embedding() -> None:
    async def texts() -> list[str]:
        embedder = SlowEmbedder()
        space = ActiveSpace(GENERATION, embedder)
        tasks = await begun(space, 5)
        embedder.released.set()
        await asyncio.gather(*tasks, space.embed("a question"), space.embed("another"))
        return embedder.texts

    assert asyncio.run(texts()) == ["a question", "another"]


def test_a_request_that_is_cancelled_does_not_cancel_the_embedding_of_the_others() -> None:
    async def outcomes() -> tuple[list[bool], int, list[str]]:
        embedder = SlowEmbedder()
        tasks = await begun(ActiveSpace(GENERATION, embedder), 3)
        tasks[0].cancel()
        await asyncio.sleep(0.01)
        embedder.released.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        failed = [isinstance(result, BaseException) for result in results]
        return failed, embedder.cancelled, embedder.texts

    assert asyncio.run(outcomes()) == ([True, False, False], 0, ["a question"])


def test_with_the_last_request_the_embedding_is_cancelled_and_the_next_begins_anew() -> None:
    async def outcome() -> tuple[int, list[str]]:
        embedder = SlowEmbedder()
        space = ActiveSpace(GENERATION, embedder)
        for task in await begun(space, 3):
            task.cancel()
        await asyncio.sleep(0.01)
        embedder.released.set()
        await space.embed("a question")
        return embedder.cancelled, embedder.texts

    assert asyncio.run(outcome()) == (1, ["a question", "a question"])


def test_an_embedding_that_failed_is_not_cached() -> None:
    async def outcome() -> list[str]:
        embedder = SlowEmbedder(failing=1)
        space = ActiveSpace(GENERATION, embedder)
        tasks = await begun(space, 3)
        embedder.released.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(result) for result in results] == [TransientError] * 3
        await space.embed("a question")
        await space.embed("a question")
        return embedder.texts

    assert asyncio.run(outcome()) == ["a question", "a question"]


@pytest.mark.parametrize(("others", "computed"), [(1, 1), (MAX_CACHED_EMBEDDINGS, 2)])
def test_the_embedding_that_was_used_longest_ago_is_forgotten_first(others: int, computed: int) -> None:
    async def outcome() -> int:
        embedder = SlowEmbedder()
        embedder.released.set()
        space = ActiveSpace(GENERATION, embedder)
        for text in ("a question", *map(str, range(others)), "a question"):
            await space.embed(text)
        return embedder.texts.count("a question")

    assert asyncio.run(outcome()) == computed
