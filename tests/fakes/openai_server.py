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
import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from tests.fakes.batch_api import FakeBatches

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
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
class FaultScenario:
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
    zero: bool = False
    headers: tuple[tuple[str, str], ...] = ()
    poison: str = ""
    """Part of a text that makes the fault concern its request alone: without `status`, `nan`, `zero` or `missing`,
    a 400."""
    only: str = ""
    after: int = 0
    """Requests that are served as ever before it begins."""
    times: int | None = None


RATE_LIMIT = FaultScenario(status=429, code="rate_limit_exceeded")
NO_QUOTA = FaultScenario(status=429, code="insufficient_quota")
SERVER_ERROR = FaultScenario(status=500)
CUT = FaultScenario(cut=True)
ONE_TOO_FEW = FaultScenario(missing=1)
NAN = FaultScenario(nan=True)


@dataclass(frozen=True)
class Recorded:
    """A request as it came."""

    path: str
    body: dict[str, Any]
    at: float = field(default_factory=time.monotonic)

    @property
    def texts(self) -> list[str]:
        return [text for text in _inputs(self.body) if isinstance(text, str)]

    @property
    def tokens(self) -> int:
        return sum(map(_tokens, self.texts))


@dataclass(frozen=True)
class Allowance:
    """What a key may use within any `window` seconds; more is answered with 429. 0: not limited.

    `tells`: the answers carry x-ratelimit headers, and a 429 Retry-After.
    """

    tokens: int = 0
    requests: int = 0
    window: float = 60.0
    tells: bool = False


@dataclass
class Reply:
    """An answer before it is sent. `body`: what becomes JSON, or bytes as they are; `events`: of a stream, in its
    place."""

    status: int
    body: Any
    headers: dict[str, str] = field(default_factory=dict)
    events: list[Any] | None = None


Style = Callable[[Recorded, Reply], Reply]
"""Makes of the answer of OpenAI's API that of another server, or of one that fails."""


def as_it_is(request: Recorded, reply: Reply) -> Reply:
    del request
    return reply


PIECE = re.compile(r"[^\s\ud800-\udbff]*[\ud800-\udbff]|[^\s\ud800-\udbff]*\s+|\S+")
"""Of a stream: a word, or up to the middle of a surrogate pair."""


class FakeOpenAI:
    """Start it by entering it; `url` is what OPENAI_BASE_URL takes. `says` replaces what the chat model answers."""

    def __init__(
        self,
        port: int = 0,
        key: str | None = KEY,
        *,
        latency: float = 0.0,
        allowance: Allowance | None = None,
        batches: FakeBatches | None = None,
    ) -> None:
        """`batches`: those of a server that was there before; None: this one's own."""
        self.batches = batches or FakeBatches(self.embeddings)
        self.batches.embed = self.embeddings
        self.poison = ""
        """Part of a text that no line of a batch may have."""
        self.key = key
        self.latency = latency
        self.allowance = allowance or Allowance()
        self.says: str | None = None
        self.prefix = "/v1"
        """Of the routes' paths."""
        self.query = ""
        """That a request must have."""
        self.key_header = "authorization"
        self.style: Style = as_it_is
        self.requests: list[Recorded] = []
        self.admitted: list[Recorded] = []
        """Requests for embeddings within the allowance."""
        self.answered: list[str] = []
        """Texts that were given vectors."""
        self.most_at_once = 0
        """Requests that were waiting for their answer together."""
        self._at_once = 0
        self.left = threading.Event()
        """Set when a client went away in the middle of a stream."""
        self._fault_scenario: FaultScenario | None = None
        self._fault_scenario_left: int | None = None
        self._fault_scenario_waits = 0
        self._lock = threading.Lock()
        self.connections: set[socket.socket] = set()
        self._server = self._listening(port)
        self.port = int(self._server.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{self.prefix}"

    @property
    def fault_scenario(self) -> FaultScenario | None:
        return self._fault_scenario

    @fault_scenario.setter
    def fault_scenario(self, fault_scenario: FaultScenario | None) -> None:
        with self._lock:
            self._fault_scenario, self._fault_scenario_left = (
                fault_scenario,
                fault_scenario.times if fault_scenario else None,
            )
            self._fault_scenario_waits = fault_scenario.after if fault_scenario else 0

    def embedded(self) -> list[str]:
        """Every text that was asked to be embedded, in the order of the requests."""
        return [text for r in self.requests if r.path.endswith("/embeddings") for text in _inputs(r.body)]

    def embeddings(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to one line of a batch. Raises ValueError."""
        model, texts = body.get("model"), _inputs(dict(body))
        if model not in DIMENSIONS or not all(isinstance(text, str) and text for text in texts):
            raise ValueError("'$.input' is invalid.")
        if self.poison and any(self.poison in text for text in texts):
            raise ValueError("This input cannot be embedded.")
        dimensions = body.get("dimensions") or DIMENSIONS[model]
        plain = body.get("encoding_format") != "base64"
        vectors = [vector(text, dimensions) for text in texts]
        data = [
            {"object": "embedding", "index": i, "embedding": v.tolist() if plain else _base64(v)}
            for i, v in enumerate(vectors)
        ]
        tokens = sum(map(_tokens, texts))
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return {"object": "list", "model": model, "data": data, "usage": usage}

    def paid(self) -> Counter[str]:
        """How often each text was paid for, directly or in a batch."""
        return Counter(self.answered) + self.batches.paid

    def most_in_a_window(self, window: float = 60.0) -> int:
        """Tokens admitted in the fullest window."""
        most = total = 0
        inside: deque[Recorded] = deque()
        for request in sorted(self.admitted, key=lambda request: request.at):
            inside.append(request)
            total += request.tokens
            while inside[0].at <= request.at - window:
                total -= inside.popleft().tokens
            most = max(most, total)
        return most

    def admit(self, request: Recorded) -> tuple[int, dict[str, str]]:
        """Status and headers by the allowance: 0 where it is within."""
        allowed = self.allowance
        with self._lock:
            recent = [r for r in self.admitted if r.at > request.at - allowed.window]
            tokens = allowed.tokens - sum(r.tokens for r in recent)
            requests = allowed.requests - len(recent)
            over = (allowed.tokens and request.tokens > tokens) or (allowed.requests and requests < 1)
            if not over:
                self.admitted.append(request)
                tokens, requests = tokens - request.tokens, requests - 1
        oldest = recent[0].at if recent else request.at
        again = max(0.0, oldest + allowed.window - request.at)
        headers = {"Retry-After": f"{again:.2f}"} if over else {}
        for kind, most, left in (
            ("tokens", allowed.tokens, tokens),
            ("requests", allowed.requests, requests),
        ):
            if most:
                headers[f"x-ratelimit-limit-{kind}"] = str(most)
                headers[f"x-ratelimit-remaining-{kind}"] = str(max(0, left))
                headers[f"x-ratelimit-reset-{kind}"] = f"{round(again * 1000)}ms"
        return (429 if over else 0), headers if allowed.tells else {}

    def down(self, seconds: float) -> None:
        """Refuse connections for a while, and cut those that are open; then the same port answers again."""
        self._stop()
        threading.Timer(seconds, self._up_again).start()

    def stats(self) -> dict[str, Any]:
        """What was used, for a client that cannot look into this process."""
        with self._lock:
            admitted = list(self.admitted)
        embeddings = sum(request.path.endswith("/embeddings") for request in self.requests)
        return {
            "requests": embeddings,
            "refused": embeddings - len(admitted),
            "tokens": sum(request.tokens for request in admitted),
            "first_tokens": admitted[0].tokens if admitted else 0,
            "seconds": admitted[-1].at - admitted[0].at if admitted else 0.0,
            "most_in_a_window": self.most_in_a_window(self.allowance.window),
            "texts": len(self.answered),
        }

    def paid_twice(self) -> int:
        """Requests for embeddings with a text that the same model was asked for again later."""
        seen: set[tuple[str, str]] = set()
        twice = 0
        with self._lock:
            admitted = list(self.admitted)
        for request in reversed(admitted):
            texts = {(str(request.body.get("model")), text) for text in request.texts}
            twice += not texts.isdisjoint(seen)
            seen |= texts
        return twice

    def chats(self) -> list[dict[str, Any]]:
        """The bodies of all chat requests."""
        return [r.body for r in self.requests if r.path.endswith("/chat/completions")]

    def take_fault_scenario(self, kind: str, request: Recorded) -> FaultScenario:
        """The fault scenario for one request."""
        with self._lock:
            fault_scenario = self._fault_scenario
            if (
                fault_scenario is None
                or (fault_scenario.only and fault_scenario.only != kind)
                or self._fault_scenario_left == 0
            ):
                return FaultScenario()
            if fault_scenario.poison and not any(fault_scenario.poison in text for text in request.texts):
                return FaultScenario()
            if self._fault_scenario_waits:
                self._fault_scenario_waits -= 1
                return FaultScenario()
            if self._fault_scenario_left is not None:
                self._fault_scenario_left -= 1
            return fault_scenario

    @contextmanager
    def under_way(self) -> Iterator[None]:
        with self._lock:
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            yield
        finally:
            with self._lock:
                self._at_once -= 1

    def serve_forever(self) -> None:
        self._server.serve_forever(poll_interval=0.05)

    def _listening(self, port: int) -> ThreadingHTTPServer:
        handler = type("Handler", (_Handler,), {"fake": self})
        server = ThreadingHTTPServer(("127.0.0.1", port), handler)
        server.daemon_threads = True
        return server

    def _stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        for connection in list(self.connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _up_again(self) -> None:
        self._server = self._listening(self.port)
        self.__enter__()

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
    asked: Recorded | None = None
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        self.fake.connections.add(self.connection)

    def handle(self) -> None:
        with suppress(ConnectionError):  # a client that timed out
            super().handle()

    def finish(self) -> None:
        self.fake.connections.discard(self.connection)
        with suppress(OSError):
            super().finish()

    def log_message(self, *_: object) -> None:
        """Silent."""

    def _batch_api(self, method: str) -> bool:
        """Whether it is a request of files or batches, which is answered then."""
        path = self.path.removeprefix(self.fake.prefix)
        if not path.startswith(("/files", "/batches")):
            return False
        data = self.rfile.read(int(self.headers.get("content-length", 0)))
        if self.fake.key is not None and self.headers.get("authorization") != f"Bearer {self.fake.key}":
            self._error(401, "Incorrect API key provided.", "invalid_api_key")
            return True
        answer = self.fake.batches.answer(method, path, self.headers.get("content-type", ""), data)
        body = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        if answer.paused:
            self._send(Reply(200, body[: len(body) // 2], {"Content-Length": str(len(body))}))
            self.fake.batches.at("content")
            self.wfile.write(body[len(body) // 2 :])
        elif answer.cut is None:
            self._send(Reply(answer.status, body))
        else:
            self.close_connection = True
            self._send(Reply(answer.status, body[: answer.cut], {"Content-Length": str(len(body))}))
        return True

    def do_GET(self) -> None:
        self.asked = None
        if self._batch_api("GET"):
            return
        if self.path == "/v1/models":
            names = [*DIMENSIONS, *CHAT_MODELS]
            self._json(200, {"object": "list", "data": [{"id": n, "object": "model"} for n in names]})
        elif self.path == "/paid-twice":
            self._json(200, {"requests": self.fake.paid_twice()})
        elif self.path == "/stats":
            self._json(200, self.fake.stats())
        else:
            self._error(404, f"Unknown request URL: GET {self.path}", "unknown_url")

    def do_POST(self) -> None:
        if self._batch_api("POST"):
            return
        try:
            body = json.loads(self.rfile.read(int(self.headers.get("content-length", 0))))
        except ValueError:
            self._error(400, "We could not parse the JSON body of your request.")
            return
        bearer = "Bearer " if self.fake.key_header == "authorization" else ""
        if self.fake.key is not None and self.headers.get(self.fake.key_header) != f"{bearer}{self.fake.key}":
            self._error(401, "Incorrect API key provided.", "invalid_api_key")
            return
        path, _, query = self.path.partition("?")
        self.asked = request = Recorded(path, body)
        self.fake.requests.append(request)
        routes = {"/embeddings": "embeddings", "/chat/completions": "chat"}
        kind = routes.get(path.removeprefix(self.fake.prefix)) if path.startswith(self.fake.prefix) else None
        if kind is None or query != self.fake.query:
            self._error(404, f"Unknown request URL: POST {self.path}", "unknown_url")
            return
        fault_scenario = self.fake.take_fault_scenario(kind, request)
        with self.fake.under_way():
            time.sleep(fault_scenario.delay + self.fake.latency)
        headers = dict(fault_scenario.headers)
        if fault_scenario.retry_after is not None:
            headers["Retry-After"] = f"{fault_scenario.retry_after:g}"
        if fault_scenario.status:
            self._error(
                fault_scenario.status, f"set to answer {fault_scenario.status}", fault_scenario.code, headers
            )
        elif fault_scenario.cut and kind == "embeddings":
            self._cut()
        elif kind == "embeddings":
            over, told = self.fake.admit(request)
            if over:
                self._error(over, "Rate limit reached.", "rate_limit_exceeded", {**told, **headers})
            else:
                self._embeddings(body, fault_scenario, {**told, **headers})
        else:
            self._chat(body, fault_scenario)

    def _embeddings(
        self, body: dict[str, Any], fault_scenario: FaultScenario, headers: dict[str, str]
    ) -> None:
        model, texts = body.get("model"), _inputs(body)
        spoilt = fault_scenario.nan or fault_scenario.zero or fault_scenario.missing
        if model not in DIMENSIONS:
            self._error(404, f"The model `{model}` does not exist.", "model_not_found")
        elif not texts or len(texts) > MOST_INPUTS or not all(isinstance(t, str) and t for t in texts):
            self._error(400, "'$.input' is invalid.")
        elif fault_scenario.poison and not spoilt:
            self._error(400, "This input cannot be embedded.")
        elif "dimensions" in body and (model in FIXED or body["dimensions"] > DIMENSIONS[model]):
            self._error(400, "This model does not support specifying dimensions.")
        else:
            dimensions = fault_scenario.dimensions or body.get("dimensions") or DIMENSIONS[model]
            vectors = [vector(text, dimensions) for text in texts][: len(texts) - fault_scenario.missing]
            guilty = next((i for i, text in enumerate(texts) if fault_scenario.poison in text), 0)
            if fault_scenario.nan or fault_scenario.zero:
                vectors[guilty] = np.full(
                    dimensions, math.nan if fault_scenario.nan else 0.0, dtype=np.float32
                )
            plain = body.get("encoding_format") != "base64"
            data = [
                {"object": "embedding", "index": i, "embedding": v.tolist() if plain else _base64(v)}
                for i, v in enumerate(vectors)
            ]
            if not fault_scenario.missing:
                spoilt_text = texts[guilty] if spoilt else None
                self.fake.answered += [text for text in texts if text is not spoilt_text]
            tokens = sum(map(_tokens, texts))
            usage = {"prompt_tokens": tokens, "total_tokens": tokens}
            answer = {"object": "list", "model": model, "data": data, "usage": usage}
            self._json(200, answer, headers)

    def _chat(self, body: dict[str, Any], fault_scenario: FaultScenario) -> None:
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
            assert self.asked is not None
            chunk = {**head, "object": "chat.completion.chunk"}
            self._stream(self.asked, chunk, text, counted, fault_scenario)
        elif fault_scenario.cut:
            self._cut()
        else:
            choice = {
                "index": 0,
                "finish_reason": "stop",
                "message": {"role": "assistant", "content": text},
            }
            self._json(200, {**head, "object": "chat.completion", "choices": [choice], "usage": usage})

    def _stream(
        self,
        request: Recorded,
        head: dict[str, Any],
        text: str,
        usage: dict[str, int] | None,
        fault_scenario: FaultScenario,
    ) -> None:
        deltas = [{"content": piece} for piece in PIECE.findall(text)]
        if deltas:
            deltas[0] = {"role": "assistant", **deltas[0]}
        choices: list[Any] = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
        choices.append({"index": 0, "delta": {}, "finish_reason": "stop"})
        events: list[Any] = [{**head, "choices": [choice]} for choice in choices]
        if usage:
            events.append({**head, "choices": [], "usage": usage})
        reply = self.fake.style(request, Reply(200, None, {}, events))
        if reply.events is None:
            self._send(reply)
            return
        self.close_connection = True
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        try:
            for place, event in enumerate(reply.events):
                if fault_scenario.cut and place == len(deltas) // 2:
                    self.connection.close()
                    return
                self._event(event)
                time.sleep(fault_scenario.token_delay)
            self.wfile.write(b"data: [DONE]\n\n")
        except (BrokenPipeError, ConnectionResetError):
            self.fake.left.set()

    def _event(self, value: Any) -> None:
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
        self, status: int, message: str, code: str | None = None, headers: dict[str, str] | None = None
    ) -> None:
        kind = "server_error" if status >= 500 else code if status == 429 else "invalid_request_error"
        error = {"message": message, "type": kind, "param": None, "code": code}
        self._json(status, {"error": error}, headers)

    def _json(self, status: int, value: Any, headers: dict[str, str] | None = None) -> None:
        reply = Reply(status, value, dict(headers or {}))
        self._send(self.fake.style(self.asked, reply) if self.asked else reply)

    def _send(self, reply: Reply) -> None:
        data = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
        self.send_response(reply.status)
        for name, text in {
            "Content-Type": "application/json",
            "Content-Length": str(len(data)),
            **reply.headers,
        }.items():
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(data)


def vector(text: str, dimensions: int) -> np.ndarray:
    """Length 1, float32: the sum of a direction for each word, so that texts that share words are near. Words
    count by their first four letters: "retry", "retries" and "retrying" are one."""
    total = np.zeros(dimensions, dtype=np.float64)
    for word in re.findall(r"\w+", text.lower()):
        for place, sign in _direction(word[:4], dimensions):
            total[place] += sign
    if not total.any():
        total[0] = 1.0
    return (total / np.linalg.norm(total)).astype(np.float32)


@lru_cache(maxsize=100_000)
def _direction(word: str, dimensions: int) -> list[tuple[int, float]]:
    digest = hashlib.sha256(word.encode()).digest()
    return [
        (int.from_bytes(digest[i : i + 2], "big") % dimensions, 1.0 if digest[i + 2] & 1 else -1.0)
        for i in range(0, 24, 3)
    ]


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
    parser.add_argument("--latency", type=float, default=0.0, help="seconds for each answer")
    parser.add_argument("--tokens", type=int, default=0, help="allowed within any window")
    parser.add_argument("--requests", type=int, default=0, help="allowed within any window")
    parser.add_argument("--window", type=float, default=60.0, help="seconds")
    parser.add_argument("--tells", action="store_true", help="send x-ratelimit headers")
    arguments = parser.parse_args()
    allowance = Allowance(arguments.tokens, arguments.requests, arguments.window, arguments.tells)
    fake = FakeOpenAI(arguments.port, arguments.key or None, latency=arguments.latency, allowance=allowance)
    print(fake.url, flush=True)
    fake.serve_forever()


if __name__ == "__main__":
    main()
