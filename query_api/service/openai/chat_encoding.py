"""An answer as OpenAI tells it: whole, or in chunks with one id and time throughout."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import msgspec
from litestar.response import ServerSentEventMessage

from pgfolio.config.models.protocols import CONTENT_FILTER, OUT_OF_TOKENS
from pgfolio.query_api.answering.records import Answer
from pgfolio.query_api.service.openai import contracts as c
from pgfolio.query_api.service.openai.errors import openai_error
from pgfolio.query_api.service.openai.source_links import links

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from pgfolio.query_api.answering.answerer import Event
    from pgfolio.query_api.service.contracts import ProblemDetails

DONE: Final = ServerSentEventMessage(data="[DONE]")


@dataclass(frozen=True, slots=True)
class CompletionEncoder:
    """`base`: what the links to documents begin with; `include_usage`: a stream's last chunk has the usage."""

    id: str
    model: str
    base: str
    include_usage: bool = False
    created: int = field(default_factory=lambda: int(time.time()))

    def complete(self, answer: Answer) -> c.ChatCompletion:
        """The text with its links beneath."""
        beneath, annotations = links(answer, self.base, len(answer.text))
        message = c.AnswerMessage(content=answer.text + beneath, annotations=annotations)
        choice = c.ChatChoice(message=message, finish_reason=_finish_reason(answer))
        return c.ChatCompletion(
            id=self.id, created=self.created, model=self.model, choices=[choice], usage=_usage(answer)
        )

    async def chunks(self, events: AsyncGenerator[Event]) -> AsyncGenerator[ServerSentEventMessage]:
        """The role, the text as it comes, its links, why it ended, `[DONE]`."""
        yield self._delta({"role": "assistant", "content": ""})
        length, answer = 0, None
        async for event in events:
            if isinstance(event, str) and event:
                length += len(event)
                yield self._delta({"content": event})
            elif isinstance(event, Answer):
                answer = event
        if answer is not None:
            beneath, annotations = links(answer, self.base, length)
            if beneath:
                yield self._delta({"content": beneath, "annotations": annotations})
            yield self._delta({}, _finish_reason(answer))
            if self.include_usage:
                yield self._chunk([], {"usage": _usage(answer)})
        yield DONE

    def _delta(self, delta: dict[str, Any], finish_reason: str | None = None) -> ServerSentEventMessage:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return self._chunk([choice], {"usage": None} if self.include_usage else {})

    def _chunk(self, choices: list[Any], usage: dict[str, Any]) -> ServerSentEventMessage:
        chunk = {
            "id": self.id,
            "object": "chat.completion.chunk",
            "created": self.created,
            "model": self.model,
            "choices": choices,
        }
        return _message(chunk | usage)


def error_chunk(details: ProblemDetails) -> ServerSentEventMessage:
    """What goes wrong in the middle of a stream, which ends with it."""
    return _message(openai_error(details))


def _message(value: Any) -> ServerSentEventMessage:
    return ServerSentEventMessage(data=msgspec.json.encode(value).decode())


def _finish_reason(answer: Answer) -> c.FinishReason:
    if answer.finish_reason in OUT_OF_TOKENS:
        return "length"
    return "content_filter" if answer.finish_reason == CONTENT_FILTER else "stop"


def _usage(answer: Answer) -> c.CompletionUsage | None:
    if answer.mode == "extractive":
        return c.CompletionUsage(0, 0, 0)
    usage = answer.usage
    if usage is None:
        return None
    total = usage.input_tokens + usage.output_tokens
    return c.CompletionUsage(usage.input_tokens, usage.output_tokens, total)
