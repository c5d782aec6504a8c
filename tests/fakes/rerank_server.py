"""A real HTTP server on loopback that plays a reranker, by either API: a text's score is how many of the question's
words it has."""

from __future__ import annotations

import json
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from types import TracebackType

GARBAGE = {"garbage": b"<html>", "endless": b'[{"index": 1e999, "score": 1}]', "deep": b"[" * 100_000}
"""Answers that are none."""


class FakeReranker:
    """`fault_scenario` makes it misbehave: "" | slow | down | garbage | short | nan | endless | deep | refused."""

    def __init__(self) -> None:
        self.fault_scenario = ""
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, body: dict[str, Any]) -> tuple[int, bytes]:
        texts = body.get("documents", body.get("texts"))
        assert isinstance(texts, list)
        words = set(re.findall(r"\w+", body["query"].lower()))
        scores = [len(words & set(re.findall(r"\w+", text.lower()))) / len(words) for text in texts]
        name = "relevance_score" if "documents" in body else "score"
        rows = [{"index": at, name: score} for at, score in enumerate(scores)]
        rows.sort(key=lambda row: -row[name])
        if self.fault_scenario == "slow":
            time.sleep(2)
        if self.fault_scenario == "short":
            rows.pop()
        if self.fault_scenario == "nan":
            rows[0][name] = float("nan")
        if self.fault_scenario in GARBAGE:
            return 200, GARBAGE[self.fault_scenario]
        if self.fault_scenario in {"down", "refused"}:
            return (503 if self.fault_scenario == "down" else 401), b"{}"
        return 200, json.dumps({"results": rows} if "documents" in body else rows).encode()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                fake.asked.append({"path": self.path, **body})
                fake.keys.append(self.headers.get("Authorization"))
                status, content = fake.answer(body)
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                del format, args

        return Handler
