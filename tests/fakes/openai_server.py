"""A real HTTP server on loopback that plays the OpenAI API: embeddings, chat completions, their streams and errors.

Everything is made from the request alone, so that the same request gets the same answer. Run it by itself with
`python -m tests.fakes.openai_server --port 0`; it prints its URL.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import math
import re
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

import numpy as np

if TYPE_CHECKING:
    from types import TracebackType

KEY = "sk-test"
DIMENSIONS = {
    "text-embedding-3-small": 1536,
    "text-embedding-3-large": 3072,
    "text-embedding-ada-002": 1536,
    "tiny-embedding": 64,
}
FIXED = {"text-embedding-ada-002"}
"""Models that refuse the parameter `dimensions`, as OpenAI's older ones do."""

CHAT_MODELS = ("gpt-4o-mini", "gpt-4o")
MOST_INPUTS = 2048
REFUSAL = "NOT IN THE DOCUMENTS"


@dataclass(frozen=True)
class Mood:
    """How the server behaves to its next requests; `times` is for how many of them, None for all.

    `only` is "embeddings" or "chat"; the other path is then served as ever.
    """

    status: int = 0
    code: str | None = None
    retry_after: float | None = None
    delay: float = 0.0
    token_delay: float = 0.0
    cut: bool = False
    missing: int = 0
    dimensions: int | None = None
    nan: bool = False
    poison: str = ""
    only: str = ""
    times: int | None = None


RATE_LIMIT = Mood(status=429, code="rate_limit_exceeded")
NO_QUOTA = Mood(status=429, code="insufficient_quota")
SERVER_ERROR = Mood(status=500)
CUT = Mood(cut=True)
ONE_TOO_FEW = Mood(missing=1)
NAN = Mood(nan=True)


@dataclass(frozen=True)
class Recorded:
    """A request as it came."""

    path: str
    body: dict[str, Any]
    at: float = field(default_factory=time.monotonic)


class FakeOpenAI:
    """Start it by entering it; `url` is what OPENAI_BASE_URL takes. `says` replaces what the chat model answers."""

    def __init__(self, port: int = 0, key: str | None = KEY) -> None:
        self.key = key
        self.says: str | None = None
        self.requests: list[Recorded] = []
        self.left = threading.Event()
        """Set when a client went away in the middle of a stream."""
        self._mood: Mood | None = None
        self._mood_left: int | None = None
        self._lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"fake": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", port), handler)
        self._server.daemon_threads = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    @property
    def mood(self) -> Mood | None:
        return self._mood

    @mood.setter
    def mood(self, mood: Mood | None) -> None:
        with self._lock:
            self._mood, self._mood_left = mood, mood.times if mood else None

    def embedded(self) -> list[str]:
        """Every text that was asked to be embedded, in the order of the requests."""
        return [text for r in self.requests if r.path.endswith("/embeddings") for text in _inputs(r.body)]

    def chats(self) -> list[dict[str, Any]]:
        """The bodies of all chat requests."""
        return [r.body for r in self.requests if r.path.endswith("/chat/completions")]

    def take_mood(self, kind: str) -> Mood:
        """The mood for one request."""
        with self._lock:
            mood = self._mood
            if mood is None or (mood.only and mood.only != kind) or self._mood_left == 0:
                return Mood()
            if self._mood_left is not None:
                self._mood_left -= 1
            return mood

    def serve_forever(self) -> None:
        self._server.serve_forever(poll_interval=0.05)

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, name="fake-openai", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    fake: FakeOpenAI
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_: object) -> None:
        """Silent."""

    def do_GET(self) -> None:
        if self.path == "/v1/models":
            names = [*DIMENSIONS, *CHAT_MODELS]
            self._json(200, {"object": "list", "data": [{"id": n, "object": "model"} for n in names]})
        else:
            self._error(404, f"Unknown request URL: GET {self.path}", "unknown_url")

    def do_POST(self) -> None:
        try:
            body = json.loads(self.rfile.read(int(self.headers.get("content-length", 0))))
        except ValueError:
            self._error(400, "We could not parse the JSON body of your request.")
            return
        if self.fake.key is not None and self.headers.get("authorization") != f"Bearer {self.fake.key}":
            self._error(401, "Incorrect API key provided.", "invalid_api_key")
            return
        self.fake.requests.append(Recorded(self.path, body))
        kind = {"/v1/embeddings": "embeddings", "/v1/chat/completions": "chat"}.get(self.path)
        if kind is None:
            self._error(404, f"Unknown request URL: POST {self.path}", "unknown_url")
            return
        mood = self.fake.take_mood(kind)
        time.sleep(mood.delay)
        if mood.status:
            self._error(mood.status, f"in the mood for {mood.status}", mood.code, mood.retry_after)
        elif mood.cut and kind == "embeddings":
            self._cut()
        elif kind == "embeddings":
            self._embeddings(body, mood)
        else:
            self._chat(body, mood)

    def _embeddings(self, body: dict[str, Any], mood: Mood) -> None:
        model, texts = body.get("model"), _inputs(body)
        if model not in DIMENSIONS:
            self._error(404, f"The model `{model}` does not exist.", "model_not_found")
        elif not texts or len(texts) > MOST_INPUTS or not all(isinstance(t, str) and t for t in texts):
            self._error(400, "'$.input' is invalid.")
        elif mood.poison and any(mood.poison in text for text in texts):
            self._error(400, "This input cannot be embedded.")
        elif "dimensions" in body and (model in FIXED or body["dimensions"] > DIMENSIONS[model]):
            self._error(400, "This model does not support specifying dimensions.")
        else:
            dimensions = mood.dimensions or body.get("dimensions") or DIMENSIONS[model]
            vectors = [vector(text, dimensions) for text in texts][: len(texts) - mood.missing]
            if mood.nan and vectors:
                vectors[0] = np.full(dimensions, math.nan, dtype=np.float32)
            plain = body.get("encoding_format") != "base64"
            data = [
                {"object": "embedding", "index": i, "embedding": v.tolist() if plain else _base64(v)}
                for i, v in enumerate(vectors)
            ]
            tokens = sum(map(_tokens, texts))
            usage = {"prompt_tokens": tokens, "total_tokens": tokens}
            self._json(200, {"object": "list", "model": model, "data": data, "usage": usage})

    def _chat(self, body: dict[str, Any], mood: Mood) -> None:
        model, messages = body.get("model"), body.get("messages") or []
        if model not in CHAT_MODELS:
            self._error(404, f"The model `{model}` does not exist.", "model_not_found")
            return
        text = self.fake.says if self.fake.says is not None else reply(messages)
        prompt = sum(_tokens(str(m.get("content", ""))) for m in messages)
        usage = {"prompt_tokens": prompt, "completion_tokens": _tokens(text)}
        usage["total_tokens"] = sum(usage.values())
        head = {"id": "chatcmpl-1", "created": 1_700_000_000, "model": model}
        if body.get("stream"):
            counted = usage if (body.get("stream_options") or {}).get("include_usage") else None
            self._stream({**head, "object": "chat.completion.chunk"}, text, counted, mood)
        elif mood.cut:
            self._cut()
        else:
            choice = {
                "index": 0,
                "finish_reason": "stop",
                "message": {"role": "assistant", "content": text},
            }
            self._json(200, {**head, "object": "chat.completion", "choices": [choice], "usage": usage})

    def _stream(self, head: dict[str, Any], text: str, usage: dict[str, int] | None, mood: Mood) -> None:
        self.close_connection = True
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        pieces = re.findall(r"\S+\s*", text)
        try:
            for place, piece in enumerate(pieces):
                if mood.cut and place == len(pieces) // 2:
                    self.connection.close()
                    return
                delta = {"content": piece, **({"role": "assistant"} if not place else {})}
                self._event({**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
                time.sleep(mood.token_delay)
            self._event({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
            if usage:
                self._event({**head, "choices": [], "usage": usage})
            self.wfile.write(b"data: [DONE]\n\n")
        except (BrokenPipeError, ConnectionResetError):
            self.fake.left.set()

    def _event(self, value: dict[str, Any]) -> None:
        self.wfile.write(b"data: " + json.dumps(value).encode() + b"\n\n")
        self.wfile.flush()

    def _cut(self) -> None:
        """An answer that is promised and ends in its middle."""
        self.close_connection = True
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(b'{"object": "list", "data": [')

    def _error(
        self, status: int, message: str, code: str | None = None, retry_after: float | None = None
    ) -> None:
        kind = "server_error" if status >= 500 else code if status == 429 else "invalid_request_error"
        error = {"message": message, "type": kind, "param": None, "code": code}
        headers = {} if retry_after is None else {"Retry-After": f"{retry_after:g}"}
        self._json(status, {"error": error}, headers)

    def _json(self, status: int, value: Any, headers: dict[str, str] | None = None) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        for name, text in (headers or {}).items():
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(data)


def vector(text: str, dimensions: int) -> np.ndarray:
    """Length 1, float32: the sum of a direction for each word, so that texts that share words are near. Words
    count by their first four letters: "retry", "retries" and "retrying" are one."""
    total = np.zeros(dimensions, dtype=np.float64)
    for word in re.findall(r"\w+", text.lower()):
        digest = hashlib.sha256(word[:4].encode()).digest()
        for i in range(0, 24, 3):
            place = int.from_bytes(digest[i : i + 2], "big") % dimensions
            total[place] += 1.0 if digest[i + 2] & 1 else -1.0
    if not total.any():
        total[0] = 1.0
    return (total / np.linalg.norm(total)).astype(np.float32)


def reply(messages: list[dict[str, Any]]) -> str:
    """The first sentence of the first document, cited; the refusal where there is no document."""
    asked = str(messages[-1].get("content", "")) if messages else ""
    found = re.search(r"<document [^>]*>\s*(.*?)\s*</document>", asked, re.DOTALL)
    if not found:
        return REFUSAL
    lines = [
        line for line in found.group(1).splitlines() if line.strip() and not line.startswith(("#", "```"))
    ]
    sentence = re.split(r"(?<=[.!?])\s", lines[0] if lines else found.group(1))[0]
    return f"The documents say: {sentence.rstrip('.')} [1]."


def _inputs(body: dict[str, Any]) -> list[Any]:
    given = body.get("input")
    return given if isinstance(given, list) else [given]


def _base64(values: np.ndarray) -> str:
    return base64.b64encode(values.astype("<f4").tobytes()).decode()


def _tokens(text: str) -> int:
    return math.ceil(len(text) / 4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--key", default=KEY, help="the key to accept; empty: any")
    arguments = parser.parse_args()
    fake = FakeOpenAI(arguments.port, arguments.key or None)
    print(fake.url, flush=True)
    fake.serve_forever()


if __name__ == "__main__":
    main()
