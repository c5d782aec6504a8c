"""The active space with its model, and the vectors of questions, each embedded once.

The event loop never waits for a model: servers are waited for in threads, and so is the local model, but for a
short question: that takes it 0.03 ms, where going to a thread and back costs 0.2 ms.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
from async_lru import alru_cache
from cachetools import LRUCache

from pgfolio.config.machine import cores
from pgfolio.config.models import embedding_model
from pgfolio.config.models.protocols import Embeddings
from pgfolio.config.models.wordllama import DIMENSIONS, LocalModel, local_model, vocabulary_coverage
from pgfolio.query_api.observability.timings import count
from pgfolio.schema.search.pool import in_snapshot
from pgfolio.schema.search.vector import active_generation
from pgfolio.schema.vectors.generations import coming

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from pgfolio.config.models.protocols import EmbeddingModel
    from pgfolio.config.settings import Settings
    from pgfolio.query_api.background import Supervisor
    from pgfolio.schema.records import Generation, Space
    from pgfolio.schema.search.pool import Pool

MAX_CONCURRENT_EMBEDDINGS = 32
"""Questions that may wait for a slow model server at once, each in a thread."""

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


class QueryEmbedder(Protocol):
    """An embedding model on the event loop."""

    async def embed(self, text: str) -> Embeddings:
        """Raises a ModelError."""
        ...

    async def embed_all(self, texts: Sequence[str]) -> Embeddings:
        """One request for all. Raises a ModelError."""
        ...


class ThreadedEmbedder:
    """A blocking model in threads; texts of at most `max_inline_characters` are embedded without one."""

    def __init__(
        self, model: EmbeddingModel, threads: ThreadPoolExecutor, *, max_inline_characters: int = 0
    ) -> None:
        self._model = model
        self._threads = threads
        self._max_inline_characters = max_inline_characters

    async def embed(self, text: str) -> Embeddings:
        if len(text) <= self._max_inline_characters:
            return self._model.embed([text])
        return await self.embed_all([text])

    async def embed_all(self, texts: Sequence[str]) -> Embeddings:
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._model.embed, texts)


class ActiveSpace:
    """One generation with its model."""

    def __init__(self, generation: Generation, model: QueryEmbedder) -> None:
        self.generation = generation
        self._model = model
        self._is_local = generation.space.provider == "local"
        # Requests with the same question at once share one task: it goes on while one of them waits, and is cancelled
        # with the last one. What fails is not kept.
        self._cached = alru_cache(maxsize=MAX_CACHED_EMBEDDINGS)(self._embed)
        self._answered_at = float("-inf")

    async def embed(self, question: str) -> QueryEmbedding:
        """Raises a ModelError."""
        count("embedding_cached" if self._cached.cache_contains(question) else "embedding_computed")
        return await self._cached(question)

    async def embed_all(self, texts: Sequence[str], batch: int) -> Embeddings:
        """Vectors of texts, each as a question's, by requests of at most `batch`; shape (texts, dimensions). Raises a
        ModelError."""
        prefix = self.generation.space.query_prefix
        prefixed = [prefix + text for text in texts]
        batches = [prefixed[start : start + batch] for start in range(0, len(texts), batch)]
        parts = [await self._model.embed_all(each) for each in batches]
        self._answered_at = time.monotonic()
        tokens = [part.tokens for part in parts]
        total = None if None in tokens else sum(filter(None, tokens))
        return Embeddings(np.concatenate([part.vectors for part in parts]), total)

    async def check_ready(self) -> None:
        """The model can be used, as seen within the last minute. Raises a ModelError."""
        if time.monotonic() - self._answered_at > READY_SECONDS:
            await self._embed("ready")

    async def _embed(self, question: str) -> QueryEmbedding:
        text = self.generation.space.query_prefix + question
        embeddings = await self._model.embed(text)
        self._answered_at = time.monotonic()
        coverage = vocabulary_coverage(text, embeddings.tokens or 0) if self._is_local else 1.0
        return QueryEmbedding(embeddings.vectors[0], coverage)


class ActiveSpaces:
    """The active space as it was last seen, loaded anew after a switch."""

    def __init__(self, settings: Settings, pool: Pool) -> None:
        self._settings = settings
        self._pool = pool
        self._threads = ThreadPoolExecutor(MAX_CONCURRENT_EMBEDDINGS, thread_name_prefix="model")
        self._lock = asyncio.Lock()
        self._current: ActiveSpace | None = None
        self._loaded: LRUCache[int, QueryEmbedder] = LRUCache(MAX_LOADED_MODELS)
        """By generation. One that falls out may still answer a question: it is left to the garbage collector."""

    async def current(self) -> ActiveSpace | None:
        """The active space, or None while nothing was ever synced. Raises ConfigError or a ModelError."""
        return self._current or await self.refresh(None)

    async def refresh(self, seen: ActiveSpace | None) -> ActiveSpace | None:
        """Look again, because `seen` is no longer the active one."""
        async with self._lock:
            if self._current is seen:
                generation = await in_snapshot(self._pool, active_generation, urgent=True)
                if generation is None:
                    self._current = None
                elif seen is None or generation != seen.generation:
                    self._current = await self._load(generation)
        return self._current

    def close(self) -> None:
        """Ends without waiting for requests that are still under way."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _load(self, generation: Generation) -> ActiveSpace:
        return ActiveSpace(generation, await self._model_of(generation))

    async def _model_of(self, generation: Generation) -> QueryEmbedder:
        model: QueryEmbedder | None = self._loaded.get(generation.id)
        if model is None:
            load = partial(load_model, self._settings, generation.space, self._threads)
            model = await asyncio.get_running_loop().run_in_executor(self._threads, load)
            self._loaded[generation.id] = model
        return model

    async def preload(self) -> None:
        """Load the models of the spaces that may be next, once, and see what was measured of the active one since."""
        for generation in await in_snapshot(self._pool, coming):
            await self._model_of(generation)
        if self._current is not None:
            await self.refresh(self._current)


@asynccontextmanager
async def preloading(spaces: ActiveSpaces, supervisor: Supervisor) -> AsyncIterator[None]:
    """Inside, models are loaded before their space becomes the active one."""
    effect = "the model of a space that may become the active one is not loaded before"
    work = supervisor.running("spaces", effect, nullcontext, lambda _: spaces.preload(), PRELOAD_SECONDS)
    async with work:
        yield


def load_model(settings: Settings, space: Space, threads: ThreadPoolExecutor) -> QueryEmbedder:
    """The space's model; a local one is loaded whole, so that no question waits for that. Raises ConfigError."""
    if space.provider == "local":
        same = space.dimensions == DIMENSIONS[0]  # answers use this one too: it is loaded once
        local = local_model() if same else LocalModel(space.dimensions)
        local.embed(["ready"])
        return ThreadedEmbedder(local, threads, max_inline_characters=MAX_INLINE_CHARACTERS)
    model = embedding_model(
        settings,
        space.provider,
        space.model,
        space.dimensions,
        shorten=space.shortened,
        threads=max(cores() // settings.api.workers, 1),
    )
    if not space.asks_server:
        model.embed(["ready"])
    return ThreadedEmbedder(model, threads)
