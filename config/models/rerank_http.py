"""The client of a reranker: any HTTP server with the rerank API of Jina, Cohere and vLLM, or that of
text-embeddings-inference. One checked request, no retries: a question does not wait for a second one."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, Literal

import httpx

from pgfolio.config.models.protocols import BadAnswerError, FatalModelError, RefusedError, TransientError

if TYPE_CHECKING:
    from collections.abc import Sequence

Api = Literal["jina", "tei"]
REFUSALS: Final = {401: "the key was refused", 403: "not permitted", 404: "there is no such route or model"}


class HttpReranker:
    """Scores of texts for a question, higher is better; what scale they are on is the model's matter."""

    def __init__(self, url: str, model: str, key: str | None, timeout: float, api: Api = "jina") -> None:
        self.model = model
        self._url = url.rstrip("/") if url.rstrip("/").endswith("/rerank") else f"{url.rstrip('/')}/rerank"
        self._api = api
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._client = httpx.Client(timeout=timeout, headers=headers)

    def rank(self, question: str, texts: Sequence[str]) -> list[float]:
        """A score for each text, in their order. Raises a ModelError."""
        what = f"the reranker {self.model!r}" if self.model else "the reranker"
        try:
            answer = self._client.post(self._url, json=self._request(question, texts))
        except httpx.TimeoutException as error:
            raise TransientError(f"{what} did not answer in time") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise TransientError(f"{what}: no connection to the server: check PGFOLIO_RERANK__URL") from error
        if answer.status_code in REFUSALS:
            raise FatalModelError(f"{what}: {REFUSALS[answer.status_code]} ({answer.status_code})")
        if 400 <= answer.status_code < 500 and answer.status_code not in {408, 425, 429}:
            raise RefusedError(f"{what}: refused ({answer.status_code})")
        if answer.status_code != 200:
            raise TransientError(f"{what}: the server failed ({answer.status_code})")
        return _scores(what, answer, len(texts))

    def close(self) -> None:
        self._client.close()

    def _request(self, question: str, texts: Sequence[str]) -> dict[str, Any]:
        if self._api == "tei":
            return {"query": question, "texts": list(texts), "truncate": True}
        named = {"model": self.model} if self.model else {}
        return {**named, "query": question, "documents": list(texts), "top_n": len(texts)}


def _scores(what: str, answer: httpx.Response, count: int) -> list[float]:
    """Raises BadAnswerError when a text has no score, or two."""
    try:
        body = answer.json()
        rows = body if isinstance(body, list) else body.get("results", body.get("data"))
        found = {int(row["index"]): float(row.get("relevance_score", row.get("score"))) for row in rows}
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise BadAnswerError(f"{what}: an answer that cannot be read") from error
    if sorted(found) != list(range(count)) or len(rows) != count:
        raise BadAnswerError(f"{what} gave {len(rows)} scores to {count} texts")
    if not all(map(math.isfinite, found.values())):
        raise BadAnswerError(f"{what} gave a score that is no number")
    return [found[place] for place in range(count)]
