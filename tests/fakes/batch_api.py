"""The part of the fake OpenAI server that has files and batches, in the real wire format.

It outlives the server that it is given to, so that one that is started anew knows what was handed in. A text counts
as paid when its line is done, whoever reads the answer.
"""

from __future__ import annotations

import json
import random
import re
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Step = Literal["upload", "create", "created", "retrieve", "content"]
"""Of a request: `create` before a batch is made, `created` after it and before the answer."""

EMPTY = {"object": "list", "data": [], "has_more": False}
SEED = 7


@dataclass
class Held:
    """A step whose requests stay unanswered: `reached` says that one is there."""

    step: Step
    reached: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)


@dataclass
class Answer:
    """`cut`: after so many bytes the connection ends. `paused`: after half of them it goes on when it may."""

    status: int
    body: Any
    cut: int | None = None
    paused: bool = False


@dataclass
class FakeBatches:
    """`embed` makes the body of one embeddings request's answer, or raises ValueError with why it is refused."""

    embed: Callable[[Mapping[str, Any]], dict[str, Any]]
    seconds: float = 0.0
    """Until a batch is at its end."""
    expires_after: int | None = None
    """Lines of a batch that are done before its time is over; None: all of them."""
    queue_tokens: int = 0
    """That may be at work at once; 0: any number."""
    names_limit: bool = True
    broken: str = ""
    """Why every batch fails."""
    busy_creates: int = 0
    """So many batches fail since others have filled the queue."""
    cut_creates: int = 0
    """So many batches are made without their maker being told."""
    cut_contents: int = 0
    """So many files of answers end in their middle."""
    omit: str = ""
    """A text with this in it gets no answer at all."""
    held: Held | None = None
    files: dict[str, bytes] = field(default_factory=dict)
    batches: dict[str, dict[str, Any]] = field(default_factory=dict)
    paid: Counter[str] = field(default_factory=Counter)
    tokens: int = 0
    steps: list[str] = field(default_factory=list)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def answer(self, method: str, path: str, content_type: str, data: bytes) -> Answer:
        route, _, query = path.partition("?")
        if method == "POST" and route == "/files":
            return self._upload(content_type, data)
        if method == "POST" and route == "/batches":
            return self._create(json.loads(data))
        if method == "GET" and (match := re.fullmatch(r"/files/([\w-]+)/content", route)):
            return self._content(match[1])
        if method == "GET" and (match := re.fullmatch(r"/batches/([\w-]+)", route)):
            self.at("retrieve")
            batch = self.batches.get(match[1])
            return Answer(200, self._now(batch)) if batch else _unknown(f"No batch {match[1]}")
        if method == "GET" and route == "/batches":
            return self._list(query)
        return _unknown(f"Unknown request URL: {method} {route}")

    def hold(self, step: Step) -> Held:
        self.held = Held(step)
        return self.held

    def release(self) -> None:
        if self.held:
            held, self.held = self.held, None
            held.released.set()

    def at(self, step: Step) -> None:
        self.steps.append(step)
        if self.held and self.held.step == step:
            held = self.held
            held.reached.set()
            held.released.wait(30)

    def _upload(self, content_type: str, data: bytes) -> Answer:
        boundary = re.search(r'boundary="?([^";]+)', content_type)
        assert boundary, content_type
        parts: dict[str, bytes] = {}
        for part in data.split(b"--" + boundary[1].encode())[1:-1]:
            head, _, body = part.strip(b"\r\n").partition(b"\r\n\r\n")
            name = re.search(rb'name="(\w+)"', head)
            assert name
            parts[name[1].decode()] = body
        if parts.get("purpose") != b"batch":
            return Answer(400, {"error": {"message": "'purpose' is wrong", "type": "invalid_request_error"}})
        self.at("upload")
        with self.lock:
            file = {
                "id": f"file-{len(self.files) + 1}",
                "object": "file",
                "purpose": "batch",
                "status": "processed",
            }
            self.files[file["id"]] = parts["file"] + b"\n" * (not parts["file"].endswith(b"\n"))
        return Answer(
            200, {**file, "bytes": len(data), "created_at": int(time.time()), "filename": "batch.jsonl"}
        )

    def _create(self, body: dict[str, Any]) -> Answer:
        self.at("create")
        if body.get("endpoint") != "/v1/embeddings" or body.get("completion_window") != "24h":
            return Answer(400, {"error": {"message": "invalid endpoint", "type": "invalid_request_error"}})
        with self.lock:
            lines = [json.loads(line) for line in self.files[body["input_file_id"]].splitlines()]
            tokens = sum(len(line["body"]["input"]) // 4 + 1 for line in lines)
            now = time.time()
            batch: dict[str, Any] = {
                "id": f"batch_{len(self.batches) + 1}",
                "object": "batch",
                **{
                    name: body.get(name)
                    for name in ("endpoint", "completion_window", "metadata", "input_file_id")
                },
                "created_at": int(now),
                "status": "validating",
                "request_counts": {"total": len(lines), "completed": 0, "failed": 0},
                "_began": now,
                "_tokens": tokens,
            }
            waiting = sum(
                b["_tokens"] for b in self.batches.values() if b["status"] in {"validating", "in_progress"}
            )
            is_busy, self.busy_creates = self.busy_creates > 0, max(self.busy_creates - 1, 0)
            if is_busy or (self.queue_tokens and waiting + tokens > self.queue_tokens):
                limit = (
                    f" Limit: {self.queue_tokens or 3_000_000:,} enqueued tokens." if self.names_limit else ""
                )
                said = f"Enqueued token limit reached for the model in organization org-x.{limit} Try again later."
                batch["_fails"] = {
                    "code": "token_limit_exceeded",
                    "message": said,
                    "line": None,
                    "param": None,
                }
            elif len(lines) > 50_000 or len(self.files[body["input_file_id"]]) > 200_000_000:
                batch["_fails"] = {"code": "too_many_tasks", "message": "over the limit", "line": None}
            elif self.broken:
                batch["_fails"] = {"code": "not_allowed", "message": self.broken, "line": None}
            self.batches[batch["id"]] = batch
            first = _public(batch)
            self._now(batch)
            if self.cut_creates:
                self.cut_creates -= 1
                return Answer(200, first, cut=10)
        self.at("created")
        return Answer(200, first)

    def _list(self, query: str) -> Answer:
        """The newest first."""
        with self.lock:
            newest = [_public(self._now(batch)) for batch in reversed(self.batches.values())]
        after = re.search(r"after=([\w-]+)", query)
        start = next((n for n, batch in enumerate(newest, 1) if after and batch["id"] == after[1]), 0)
        limit = int(match[1]) if (match := re.search(r"limit=(\d+)", query)) else 20
        page = newest[start : start + limit]
        return Answer(200, {**EMPTY, "data": page, "has_more": start + limit < len(newest)})

    def _content(self, file_id: str) -> Answer:
        data = self.files.get(file_id)
        if data is None:
            return _unknown(f"No such File object: {file_id}")
        if self.held and self.held.step == "content":
            return Answer(200, data, paused=True)
        self.steps.append("content")
        if self.cut_contents:
            self.cut_contents -= 1
            return Answer(200, data, cut=len(data) * 2 // 3)
        return Answer(200, data)

    def _now(self, batch: dict[str, Any]) -> dict[str, Any]:
        """How far it is by now."""
        with self.lock:
            if batch["status"] == "validating" and "_fails" in batch:
                batch.update(status="failed", errors={"object": "list", "data": [batch["_fails"]]})
            elif batch["status"] == "validating":
                batch["status"] = "in_progress"
            if batch["status"] == "in_progress" and time.time() - batch["_began"] >= self.seconds:
                self._do(batch)
        return _public(batch)

    def _do(self, batch: dict[str, Any]) -> None:
        lines = [json.loads(line) for line in self.files[batch["input_file_id"]].splitlines()]
        done, failed = [], []
        for number, line in enumerate(lines):
            made = {"id": f"req_{number}", "custom_id": line["custom_id"], "response": None, "error": None}
            if self.expires_after is not None and number >= self.expires_after:
                error = {"code": "batch_expired", "message": "This request could not be executed in time."}
                failed.append({**made, "error": error})
                continue
            if self.omit and self.omit in line["body"]["input"]:
                continue
            try:
                body = self.embed(line["body"])
            except ValueError as error:
                refused = {"error": {"message": str(error), "type": "invalid_request_error", "code": None}}
                failed.append({**made, "response": {"status_code": 400, "request_id": "r", "body": refused}})
                continue
            self.paid[line["body"]["input"]] += 1
            self.tokens += body["usage"]["total_tokens"]
            done.append({**made, "response": {"status_code": 200, "request_id": "r", "body": body}})
        random.Random(SEED).shuffle(done)
        for name, answers in (("output_file_id", done), ("error_file_id", failed)):
            if answers:
                batch[name] = f"file-{batch['id']}-{name[:6]}"
                self.files[batch[name]] = b"".join(json.dumps(one).encode() + b"\n" for one in answers)
        batch["request_counts"] = {"total": len(lines), "completed": len(done), "failed": len(failed)}
        batch["status"] = "completed" if self.expires_after is None else "expired"


def _public(batch: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in batch.items() if not name.startswith("_")}


def _unknown(message: str) -> Answer:
    return Answer(404, {"error": {"message": message, "type": "invalid_request_error", "code": None}})
