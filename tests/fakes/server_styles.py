"""Model servers as they are: how each kind answers, and how answers go wrong, made of OpenAI's answers."""

from __future__ import annotations

import base64
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tests.fakes.openai_server import Recorded, Reply, Style, as_it_is

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.fakes.openai_server import FakeOpenAI

MOST_INPUTS_OF_TEI = 32
PHYSICAL_BATCH = 2048
"""Tokens of an input that llama.cpp takes."""


def is_embeddings(request: Recorded) -> bool:
    return request.path.endswith("/embeddings")


def error(status: int, message: str, **fields: Any) -> Reply:
    """As OpenAI words it."""
    return Reply(
        status,
        {
            "error": {
                "message": message,
                "type": "invalid_request_error",
                "param": None,
                "code": None,
                **fields,
            }
        },
    )


def azure(request: Recorded, reply: Reply) -> Reply:
    del request
    first = {"choices": [], "created": 0, "id": "", "model": "", "object": "", "prompt_filter_results": []}
    if reply.events is not None:
        reply.events.insert(0, first)
        for event in reply.events[1:]:
            for choice in event["choices"]:
                choice["content_filter_results"] = {}
    return reply


def vllm(request: Recorded, reply: Reply) -> Reply:
    if "encoding_format" not in request.body and is_embeddings(request):
        reply.status = 400
    if reply.status >= 400:
        message = reply.body["error"]["message"]
        said = {"object": "error", "message": message, "type": "BadRequestError", "param": None}
        return Reply(reply.status, {**said, "code": reply.status})
    if reply.events is not None:
        model = reply.events[0]["model"]
        begin = {"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}
        reply.events.insert(0, {"model": model, "choices": [begin], "usage": None})
        for event in reply.events:
            for choice in event["choices"]:
                choice |= {"logprobs": None, "stop_reason": None, "token_ids": None}
        return reply
    for choice in reply.body.get("choices", ()):
        choice["message"] |= {"reasoning_content": None, "tool_calls": [], "refusal": None}
        choice |= {"logprobs": None, "stop_reason": None}
    reply.body["prompt_logprobs"] = None
    return reply


def tei(request: Recorded, reply: Reply) -> Reply:
    """It has no chat, takes 32 inputs, and answers floats or base64."""
    if not is_embeddings(request):
        return Reply(404, b"")
    if (count := len(request.texts)) > MOST_INPUTS_OF_TEI:
        said = f"batch size {count} > maximum allowed batch size {MOST_INPUTS_OF_TEI}"
        return Reply(422, {"error": said, "error_type": "Validation"})
    return reply


def ollama(request: Recorded, reply: Reply) -> Reply:
    """Floats only, and thoughts in a field of their own."""
    if reply.events is not None:
        thought = {"role": "assistant", "content": "", "reasoning": "The user wants to know [2]."}
        reply.events.insert(0, {**reply.events[0], "choices": [{"index": 0, "delta": thought}]})
        for event in reply.events:
            event["system_fingerprint"] = "fp_ollama"
    elif is_embeddings(request) and reply.status == 200:
        reply = floats(request, reply)
    elif reply.status == 200:
        reply.body["choices"][0]["message"]["reasoning"] = "The user wants to know [2]."
    return reply


def llama_cpp(request: Recorded, reply: Reply) -> Reply:
    """An input of more tokens than its physical batch is told as a fault of the server."""
    if is_embeddings(request) and any(len(text) / 4 > PHYSICAL_BATCH for text in request.texts):
        said = "input is too large to process. increase the physical batch size"
        return Reply(500, {"error": {"code": 500, "message": said, "type": "server_error"}})
    if reply.events is not None:
        head = {"index": 0, "delta": {"role": "assistant", "content": None}, "finish_reason": None}
        reply.events.insert(0, {**reply.events[0], "choices": [head]})
        reply.events[-1]["timings"] = {"prompt_n": 1}
    return reply


def lm_studio(request: Recorded, reply: Reply) -> Reply:
    """It counts no tokens of embeddings, and its models think in the content."""
    if is_embeddings(request) and reply.status == 200:
        reply = floats(request, reply)
        reply.body["usage"] = {"prompt_tokens": 0, "total_tokens": 0}
    elif reply.events is not None:
        thought = [{"content": piece} for piece in ("<thi", "nk>Document [2] ", "it is?", "</think", ">\n\n")]
        for place, delta in enumerate(thought):
            choice = {"index": 0, "delta": delta, "finish_reason": None}
            reply.events.insert(place, {**reply.events[-1], "choices": [choice]})
    elif reply.status == 200:
        message = reply.body["choices"][0]["message"]
        message["content"] = f"<think>\nDocument [2] it is?\n</think>\n\n{message['content']}"
        reply.body["stats"] = {}
    return reply


@dataclass(frozen=True)
class Kind:
    """A kind of server."""

    name: str
    style: Style
    prefix: str = "/v1"
    query: str = ""
    key_header: str = "authorization"
    chat: bool = True

    def play(self, server: FakeOpenAI, model: str) -> str:
        """Let the server be one of this kind. The base URL that a user would give for it."""
        server.style, server.query, server.key_header = self.style, self.query, self.key_header
        server.prefix = self.prefix.format(model=model)
        return f"{server.url}?{self.query}" if self.query else server.url


KINDS = (
    Kind("OpenAI", as_it_is),
    Kind(
        "Azure",
        azure,
        prefix="/openai/deployments/{model}",
        query="api-version=2024-10-21",
        key_header="api-key",
    ),
    Kind("vLLM", vllm),
    Kind("TEI", tei, chat=False),
    Kind("Ollama", ollama),
    Kind("llama.cpp", llama_cpp),
    Kind("LM Studio", lm_studio),
)


def floats(request: Recorded, reply: Reply) -> Reply:
    """As servers answer that know no base64."""
    del request
    for row in reply.body["data"]:
        if isinstance(row["embedding"], str):
            row["embedding"] = np.frombuffer(base64.b64decode(row["embedding"]), "<f4").tolist()
    return reply


def changed(change: Callable[[dict[str, Any]], object]) -> Style:
    """`change` is done to the body of a good answer, or to each event of a stream."""

    def style(request: Recorded, reply: Reply) -> Reply:
        del request
        for body in [reply.body] if reply.events is None else reply.events:
            if isinstance(body, dict) and "error" not in body:
                change(body)
        return reply

    return style


def refusing(name: str, message: str, status: int = 400, **fields: Any) -> Style:
    """Refuses requests that have this parameter."""

    def style(request: Recorded, reply: Reply) -> Reply:
        return error(status, message, **fields) if name in request.body else reply

    return style


def answering(body: Any, status: int = 200, **headers: str) -> Style:
    """Answers everything with this."""

    def style(request: Recorded, reply: Reply) -> Reply:
        del request, reply
        return Reply(status, deepcopy(body), dict(headers))

    return style


def html_page(title: str, status: int = 200) -> Style:
    page = f"<!DOCTYPE html><html><head><title>{title}</title></head><body>...</body></html>"
    return answering(page.encode(), status, **{"Content-Type": "text/html"})


def both(*styles: Style) -> Style:
    def style(request: Recorded, reply: Reply) -> Reply:
        for one in styles:
            reply = one(request, reply)
        return reply

    return style


def saying(content: Any, finish_reason: Any = "stop", **message: Any) -> Style:
    """A chat model that says this, whole or in a stream."""

    def style(request: Recorded, reply: Reply) -> Reply:
        del request
        if reply.events is None:
            choice = {"index": 0, "finish_reason": finish_reason, "message": {"content": content, **message}}
            return Reply(200, {**reply.body, "choices": [choice]})
        head = {key: value for key, value in reply.events[0].items() if key != "choices"}
        pieces = (
            [content]
            if not isinstance(content, str)
            else [content[i : i + 3] for i in range(0, len(content), 3)]
        )
        deltas: list[Any] = [{"content": piece} for piece in pieces]
        if message:
            deltas.append(message)
        choices: list[Any] = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
        choices.append({"index": 0, "delta": {}, "finish_reason": finish_reason})
        return Reply(200, None, {}, [{**head, "choices": [choice]} for choice in choices] + reply.events[-1:])

    return style
