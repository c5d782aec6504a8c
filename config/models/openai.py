"""Clients of any server that speaks the OpenAI API: embeddings and chat.

One checked request each, no retries (`max_retries=0`): tenacity in flows/embedding/embedder.py is their one owner.
Only a request that the server's dialect does not have is sent again at once, in the words that it knows. What is in
an answer is read by ourselves: many servers send what the SDK's types do not foresee.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import httpx2
import openai

from pgfolio.config.models.chat_answer import ChatAnswer, complete_answer
from pgfolio.config.models.dialect import chat_dialect, embedding_dialect
from pgfolio.config.models.embedding_answer import dimensions_of, embeddings_of
from pgfolio.config.models.endpoint import endpoint
from pgfolio.config.models.failures import decoded, max_inputs, model_errors
from pgfolio.config.models.protocols import RejectedInputError
from pgfolio.config.models.rate_limit_headers import rate_limits

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from pgfolio.config.models.endpoint import Endpoint
    from pgfolio.config.models.protocols import Completion, Embeddings
    from pgfolio.config.settings import Settings

EMBEDDING_MODEL: Final = "text-embedding-3-small"
CHAT_MODEL: Final = "gpt-4o-mini"
KNOWN_DIMENSIONS: Final = {
    "text-embedding-3-small": 1536,
    "text-embedding-3-large": 3072,
    "text-embedding-ada-002": 1536,
}
EVENT_STREAM: Final = "text/event-stream"


class OpenAIEmbeddings:
    """Vectors as the server gives them, shape (inputs, dimensions). `shorten` asks the server for that many
    dimensions; without it the model's own number is expected."""

    def __init__(
        self,
        server: Endpoint,
        model: str,
        dimensions: int = 0,
        *,
        timeout: float,
        shorten: bool = False,
        in_flight: int = 1,
    ) -> None:
        """`timeout`: seconds for one request."""
        self.dimensions = dimensions
        self.in_flight = in_flight
        self._server = server
        self._client = openai.OpenAI(**server.client_options(timeout))
        self._model = model
        self._what = f"the embedding model {model!r}"
        self._dialect = embedding_dialect(dimensions if shorten else None)

    def embed(self, texts: Sequence[str]) -> Embeddings:
        response = self._sent(texts)
        body = decoded(self._what, response.content, self._server.key)
        answer = embeddings_of(body, texts, self.dimensions, self._model)
        return replace(answer, limits=rate_limits(response.headers))

    def model_dimensions(self) -> int:
        """The model's own number of dimensions, known or asked for with one tiny request."""
        if self._model in KNOWN_DIMENSIONS:
            return KNOWN_DIMENSIONS[self._model]
        response = self._sent(["dimensions"])
        return dimensions_of(decoded(self._what, response.content, self._server.key), self._model)

    def _sent(self, texts: Sequence[str]) -> httpx2.Response:
        while True:
            parameters = self._dialect.parameters()
            body = {"model": self._model, "input": list(texts), **parameters}
            try:
                with model_errors(self._what, self._server.key):
                    options: Any = {"headers": self._server.headers}
                    return self._client.post(
                        "/embeddings", body=body, cast_to=httpx2.Response, options=options
                    )
            except RejectedInputError as error:
                if not self._dialect.learn(error.said, parameters):
                    error.max_inputs = max_inputs(error.said, len(texts))
                    raise


class AsyncOpenAIChat:
    """A chat model on an event loop. Cancelling an answer, or closing its stream, ends the HTTP request."""

    def __init__(
        self,
        server: Endpoint,
        model: str,
        max_output_tokens: int,
        *,
        timeout: float,
        limit: str = "auto",
        temperature: float | str = "auto",
    ) -> None:
        self.model = model
        self._server = server
        self._client = openai.AsyncOpenAI(**server.client_options(timeout))
        self._what = f"the chat model {model!r}"
        self._dialect = chat_dialect(max_output_tokens, limit, temperature)
        self._closes_first = False

    async def complete(self, system: str, user: str) -> Completion:
        """One answer. Raises a ModelError."""
        response = await self._sent(system, user, cast_to=httpx2.Response)
        return self._completion(response.content)

    async def stream(self, system: str, user: str) -> AsyncGenerator[str | Completion]:
        """Pieces of text as they come, the whole Completion last. Raises a ModelError."""
        events: openai.AsyncStream[object] = await self._sent(
            system, user, cast_to=object, stream=True, stream_cls=openai.AsyncStream[object]
        )
        answer = self._answer()
        async with events:
            with model_errors(self._what, self._server.key):
                if EVENT_STREAM not in events.response.headers.get("content-type", EVENT_STREAM):
                    completion = self._completion(await events.response.aread())
                    yield completion.text
                    yield completion
                    return
                async for event in events:
                    if isinstance(event, dict) and (piece := answer.add(event)):
                        yield piece
        self._closes_first = answer.closes_first
        if rest := answer.end(ended=_ended_properly(events.response)):
            yield rest
        yield answer.completion()

    async def close(self) -> None:
        await self._client.close()

    async def _sent(self, system: str, user: str, **how: Any) -> Any:
        while True:
            parameters = self._dialect.parameters()
            body: dict[str, Any] = {
                "model": self.model,
                "messages": _messages(system, user, parameters["instructions"]),
            }
            body |= {name: value for name, value in parameters.items() if name != "instructions"}
            if "stream" in how:
                body["stream"] = True
            else:
                body.pop("stream_options", None)
            try:
                with model_errors(self._what, self._server.key):
                    options: Any = {"headers": self._server.headers}
                    return await self._client.post("/chat/completions", body=body, options=options, **how)
            except RejectedInputError as error:
                if not self._dialect.learn(error.said, parameters):
                    raise

    def _completion(self, content: bytes) -> Completion:
        answer = self._answer()
        completion = complete_answer(answer, decoded(self._what, content, self._server.key))
        self._closes_first = answer.closes_first
        return completion

    def _answer(self) -> ChatAnswer:
        return ChatAnswer(self._what, self.model, closes_first=self._closes_first)


def embeddings_client(
    settings: Settings, model: str, dimensions: int = 0, *, shorten: bool = False
) -> OpenAIEmbeddings:
    """A client of the settings' server; `dimensions`: 0 as long as they are not known. Raises ConfigError."""
    role = settings.embedding
    server = endpoint(settings, role, model)
    return OpenAIEmbeddings(
        server, model, dimensions, timeout=role.timeout, shorten=shorten, in_flight=role.in_flight
    )


def chat_client(settings: Settings) -> AsyncOpenAIChat:
    """The chat model that the settings name. Raises ConfigError."""
    chat = settings.chat
    model = chat.model or CHAT_MODEL
    return AsyncOpenAIChat(
        endpoint(settings, chat, model),
        model,
        chat.max_output_tokens,
        timeout=chat.timeout,
        limit=chat.output_limit,
        temperature=chat.temperature,
    )


def _messages(system: str, user: str, instructions: str) -> list[dict[str, str]]:
    if instructions == "user":
        return [{"role": "user", "content": f"{system}\n\n{user}"}]
    return [{"role": "system", "content": system}, {"role": "user", "content": user}]


def _ended_properly(response: httpx2.Response) -> bool:
    """Whether a connection that broke would have been seen."""
    headers = response.headers
    return response.http_version == "HTTP/2" or "chunked" in headers.get("transfer-encoding", "")


__all__ = [
    "CHAT_MODEL",
    "EMBEDDING_MODEL",
    "AsyncOpenAIChat",
    "OpenAIEmbeddings",
    "chat_client",
    "embeddings_client",
]
