"""The client of a reranker: any HTTP server with the rerank API of Jina, Cohere and vLLM, or that of
text-embeddings-inference. One checked request, no retries: a question does not wait for a second one."""

from __future__ import annotations

import math
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Literal

import httpx2

from pgfolio.config.models.protocols import (
    BadAnswerError,
    FatalModelError,
    RejectedInputError,
    TransientError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Api = Literal["jina", "tei"]
FATAL_STATUSES: Final = {
    401: "the key was refused",
    403: "not permitted",
    404: "there is no such route or model",
}


class _RerankRequest:
    """What both clients ask, and what they make of the answer."""

    def __init__(self, url: str, model: str, key: str | None, api: Api) -> None:
        self.url = url.rstrip("/") if url.rstrip("/").endswith("/rerank") else f"{url.rstrip('/')}/rerank"
        self.headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._model = model
        self._api = api
        self._what = f"the reranker {model!r}" if model else "the reranker"

    def body(self, question: str, texts: Sequence[str]) -> dict[str, Any]:
        if self._api == "tei":
            return {"query": question, "texts": list(texts), "truncate": True}
        named = {"model": self._model} if self._model else {}
        return {**named, "query": question, "documents": list(texts), "top_n": len(texts)}

    def scores(self, answer: httpx2.Response, count: int) -> list[float]:
        """Raises a ModelError."""
        status = answer.status_code
        if status in FATAL_STATUSES:
            raise FatalModelError(f"{self._what}: {FATAL_STATUSES[status]} ({status})")
        if 400 <= status < 500 and status not in {408, 425, 429}:
            raise RejectedInputError(f"{self._what}: refused ({status})")
        if status != 200:
            raise TransientError(f"{self._what}: the server failed ({status})")
        return _scores(self._what, answer, count)

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Failures of the connection as a TransientError."""
        try:
            yield
        except httpx2.TimeoutException as error:
            raise TransientError(f"{self._what} did not answer in time") from error
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise TransientError(
                f"{self._what}: no connection to the server: check PGFOLIO_RERANK__URL"
            ) from error


class HttpReranker:
    """Scores of texts for a question, higher is better; what scale they are on is the model's matter."""

    def __init__(self, url: str, model: str, key: str | None, timeout: float, api: Api = "jina") -> None:
        self.model = model
        self._request = _RerankRequest(url, model, key, api)
        self._client = httpx2.Client(timeout=timeout, headers=self._request.headers)

    def rank(self, question: str, texts: Sequence[str]) -> list[float]:
        """A score for each text, in their order. Raises a ModelError."""
        with self._request.errors():
            answer = self._client.post(self._request.url, json=self._request.body(question, texts))
        return self._request.scores(answer, len(texts))

    def close(self) -> None:
        self._client.close()


class AsyncHttpReranker:
    """The same on an event loop. Cancelling it ends the HTTP request."""

    def __init__(self, url: str, model: str, key: str | None, timeout: float, api: Api = "jina") -> None:
        self._request = _RerankRequest(url, model, key, api)
        self._client = httpx2.AsyncClient(timeout=timeout, headers=self._request.headers)

    async def rank(self, question: str, texts: Sequence[str]) -> list[float]:
        """A score for each text, in their order. Raises a ModelError."""
        with self._request.errors():
            answer = await self._client.post(self._request.url, json=self._request.body(question, texts))
        return self._request.scores(answer, len(texts))

    async def close(self) -> None:
        await self._client.aclose()


def _scores(what: str, answer: httpx2.Response, count: int) -> list[float]:
    """Raises BadAnswerError when a text has no score, or two."""
    try:
        body = answer.json()
        rows = body if isinstance(body, list) else body.get("results", body.get("data"))
        scores = {int(row["index"]): float(row.get("relevance_score", row.get("score"))) for row in rows}
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise BadAnswerError(f"{what}: an answer that cannot be read") from error
    if sorted(scores) != list(range(count)) or len(rows) != count:
        raise BadAnswerError(f"{what} gave {len(rows)} scores to {count} texts")
    if not all(map(math.isfinite, scores.values())):
        raise BadAnswerError(f"{what} gave a score that is no number")
    return [scores[place] for place in range(count)]
