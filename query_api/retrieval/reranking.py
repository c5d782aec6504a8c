"""The second pass: the best candidates scored anew by a reranker, within a set time; without it where it fails."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, Protocol

from pgfolio.config.models.protocols import ModelError
from pgfolio.query_api.observability.timings import stage
from pgfolio.query_api.retrieval.results import display_title

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgfolio.config.models.protocols import Reranker
    from pgfolio.schema.search.vector import Hit

MAX_THREADS: Final = 16
UNSET: Final = "no reranker is set (PGFOLIO_RERANK__URL): the results are ranked without one"


class AsyncReranker(Protocol):
    """A reranker on the event loop."""

    async def rank(self, question: str, texts: Sequence[str]) -> list[float]:
        """A score for each text, in their order; higher is better. Raises a ModelError."""
        ...

    async def close(self) -> None: ...


class ThreadedReranker:
    """A reranker of this process, in threads."""

    def __init__(self, model: Reranker) -> None:
        self._model = model
        self._threads = ThreadPoolExecutor(MAX_THREADS, thread_name_prefix="rerank")

    async def rank(self, question: str, texts: Sequence[str]) -> list[float]:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._model.rank, question, texts)

    async def close(self) -> None:
        """Ends without waiting for requests that are still under way."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._model.close()


class Reranking:
    """Of one reranker, or of none. Safe to use by many requests at once."""

    def __init__(self, model: AsyncReranker | None, timeout: float, candidates: int) -> None:
        self.candidates = candidates
        self._model = model
        self._timeout = timeout

    @property
    def is_set(self) -> bool:
        return self._model is not None

    async def close(self) -> None:
        if self._model is not None:
            await self._model.close()

    async def scores(self, question: str, hits: Sequence[Hit]) -> tuple[dict[int, float], str]:
        """Scores by chunk; where there are none, why, in a sentence for the answer."""
        if self._model is None:
            return {}, UNSET
        if not hits:
            return {}, ""
        texts = [_reranker_text(hit) for hit in hits]
        try:
            with stage("rerank"):
                async with asyncio.timeout(self._timeout):
                    ranked = await self._model.rank(question, texts)
        except TimeoutError:
            return {}, f"the reranker took longer than {self._timeout:g} s: the results are ranked without it"
        except ModelError as error:
            return {}, f"{error}: the results are ranked without it"
        return {hit.chunk_id: score for hit, score in zip(hits, ranked, strict=True)}, ""


def _reranker_text(hit: Hit) -> str:
    """What it is about stands in its title and headings as often as in the text."""
    return "\n".join(filter(None, (display_title(hit.title, hit.path), hit.heading, hit.content)))
