"""The active space with its model, and the vectors of questions, each embedded once.

The event loop never waits for a model: servers are waited for in threads, and so is the local model, but for a
short question: that takes it 0.03 ms, where going to a thread and back costs 0.2 ms.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from pgfolio.config.models import embedding_model
from pgfolio.config.models.protocols import ModelError
from pgfolio.config.models.wordllama import DIMENSIONS, LocalModel, familiarity, local_model
from pgfolio.config.settings import ConfigError
from pgfolio.query_api.observability.timings import count
from pgfolio.schema.database.connect import DatabaseError
from pgfolio.schema.search.pool import reading
from pgfolio.schema.search.vector import active_generation
from pgfolio.schema.vectors.generations import coming

if TYPE_CHECKING:
    import numpy as np

    from pgfolio.config.models import EmbeddingModel
    from pgfolio.config.settings import Settings
    from pgfolio.schema.records import Generation, Space
    from pgfolio.schema.search.pool import Pool

THREADS = 32
"""Questions that may wait for a slow model server at once."""

MAX_CACHED_EMBEDDINGS = 1000
"""Vectors of the latest questions: a client that pages or refines asks the same one again."""

MAX_LOADED_MODELS = 3
"""Models that stay loaded: of the active space, of the one that it may be next, and of the one that a rollback goes
back to."""

PRELOAD_SECONDS = 5.0
"""Seconds between two looks for a space that may become the active one: its client takes most of a second to load,
which no question should wait for."""

READY_SECONDS = 60.0
"""Seconds for which a model that embedded something counts as usable: a probe asks no paid server more often."""

MAX_INLINE_CHARACTERS = 400
"""Characters of a question that the local model embeds at once."""


class QueryEmbedding(NamedTuple):
    """A question's vector, shape (dimensions,), and how well its model knows the question's words, 0 to 1."""

    vector: np.ndarray
    vocabulary_coverage: float


class ActiveSpace:
    """One generation with its model."""

    def __init__(self, generation: Generation, model: EmbeddingModel, threads: ThreadPoolExecutor) -> None:
        self.generation = generation
        self._model = model
        self._local = generation.space.provider == "local"
        self._threads = threads
        self._cache: OrderedDict[str, QueryEmbedding] = OrderedDict()
        self._pending: dict[str, asyncio.Task[QueryEmbedding]] = {}
        self._answered_at = float("-inf")

    async def embed(self, question: str) -> QueryEmbedding:
        """Raises a ModelError."""
        if (cached := self._cache.get(question)) is not None:
            self._cache.move_to_end(question)
            count("embedding_cached")
            return cached
        count("embedding_computed")
        if self._local and len(question) <= MAX_INLINE_CHARACTERS:
            return self._remember(question, self._embed(question))
        task = self._pending.get(question)
        if task is None:
            task = self._pending[question] = asyncio.create_task(self._embed_in_thread(question))
            task.add_done_callback(lambda _: self._pending.pop(question, None))
        return await asyncio.shield(task)  # one who leaves does not take it from the others who wait

    async def check_ready(self) -> None:
        """The model can be used, as seen within the last minute. Raises a ModelError."""
        if time.monotonic() - self._answered_at > READY_SECONDS:
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(self._threads, self._embed, "ready")

    async def _embed_in_thread(self, question: str) -> QueryEmbedding:
        loop = asyncio.get_running_loop()
        return self._remember(question, await loop.run_in_executor(self._threads, self._embed, question))

    def _embed(self, question: str) -> QueryEmbedding:
        text = self.generation.space.query_prefix + question
        embeddings = self._model.embed([text])
        self._answered_at = time.monotonic()
        return QueryEmbedding(
            embeddings.vectors[0], familiarity(text, embeddings.tokens) if self._local else 1.0
        )

    def _remember(self, question: str, embedding: QueryEmbedding) -> QueryEmbedding:
        self._cache[question] = embedding
        if len(self._cache) > MAX_CACHED_EMBEDDINGS:
            self._cache.popitem(last=False)
        return embedding


class ActiveSpaces:
    """The active space as it was last seen, loaded anew after a switch."""

    def __init__(self, settings: Settings, pool: Pool) -> None:
        self._settings = settings
        self._pool = pool
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="model")
        self._lock = asyncio.Lock()
        self._current: ActiveSpace | None = None
        self._loaded: OrderedDict[int, EmbeddingModel] = OrderedDict()
        """By generation, the one used last at the end."""
        self._preloading: asyncio.Task[None] | None = None

    async def current(self) -> ActiveSpace | None:
        """The active space, or None while nothing was ever synced. Raises ConfigError or a ModelError."""
        return self._current or await self.refresh(None)

    async def refresh(self, seen: ActiveSpace | None) -> ActiveSpace | None:
        """Look again, because `seen` is no longer the active one."""
        if self._preloading is None:
            self._preloading = asyncio.create_task(self._preload())
        async with self._lock:
            if self._current is seen:
                generation = await reading(self._pool, active_generation)
                if generation is None:
                    self._current = None
                elif seen is None or generation != seen.generation:
                    self._current = await self._load(generation)
        return self._current

    def close(self) -> None:
        """Ends without waiting for requests that are still under way."""
        if self._preloading is not None:
            self._preloading.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _load(self, generation: Generation) -> ActiveSpace:
        return ActiveSpace(generation, await self._model_of(generation), self._threads)

    async def _model_of(self, generation: Generation) -> EmbeddingModel:
        model = self._loaded.pop(generation.id, None)
        if model is None:
            load = partial(_load_model, self._settings, generation.space)
            model = await asyncio.get_running_loop().run_in_executor(self._threads, load)
        self._loaded[generation.id] = model
        if len(self._loaded) > MAX_LOADED_MODELS:
            self._loaded.popitem(last=False)
        return model

    async def _preload(self) -> None:
        """What fails here is reported where it matters: when the space is switched to."""
        while True:
            await asyncio.sleep(PRELOAD_SECONDS)
            with suppress(ConfigError, ModelError, DatabaseError):
                for generation in await reading(self._pool, coming):
                    await self._model_of(generation)


def _load_model(settings: Settings, space: Space) -> EmbeddingModel:
    """The space's model; a local one is loaded whole, so that no question waits for that."""
    if space.provider != "local":
        return embedding_model(
            settings, space.provider, space.model, space.dimensions, shorten=space.shortened
        )
    same = space.dimensions == DIMENSIONS[0]  # answers use this one too: it is loaded once
    model = local_model() if same else LocalModel(space.dimensions)
    model.embed(["ready"])
    return model
