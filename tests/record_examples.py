"""`python -m tests.record_examples` writes the examples of the OpenAPI document: requests, and what an API that
serves the tests' library answers to them."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pgfolio.config.loading import load_settings
from pgfolio.query_api.service.openapi import FILE, TRACE_ID
from pgfolio.schema.database.bundled import bundled_postgres
from pgfolio.schema.database.connect import connect, prepare
from pgfolio.schema.operations import api_keys
from tests.query_api.library import running_api, stock

if TYPE_CHECKING:
    import httpx

KEY = "pgf_an-example-of-a-key"
"""An administrator's, with which all is asked."""

QUESTION = "how do I retry a failed task"
EVENTS = "text/event-stream"

REQUESTS: dict[str, dict[str, Any]] = {
    "POST /search": {
        "body": {"query": QUESTION, "limit": 2, "collections": ["manual"], "filter": {"category": "guide"}}
    },
    "POST /ask": {"body": {"question": QUESTION, "limit": 3}},
    "GET /traces/{id}": {"parameters": {"id": TRACE_ID}},
    "GET /collections": {},
    "GET /status": {},
    "GET /facets": {"parameters": {"collection": "manual"}},
    "POST /sources/{name}/sync": {"parameters": {"name": "manual"}},
    "POST /sources/{name}/approve": {"parameters": {"name": "manual"}, "body": {"count": 12}},
    "POST /sources/{name}/forget": {"parameters": {"name": "kitchen"}},
    "GET /requests": {},
    "GET /requests/{request_id}": {"parameters": {"request_id": 1}},
    "GET /session": {},
    "POST /session": {"body": {"key": KEY}},
    "DELETE /session": {},
    "POST /keys": {
        "body": {"name": "web", "scope": "read", "collections": ["manual"], "expires": "2099-01-01T00:00:00Z"}
    },
    "GET /keys": {},
    "DELETE /keys/{key_id}": {"parameters": {"key_id": 2}},
    "GET /health/live": {},
    "GET /health/ready": {},
    "GET /metrics": {},
    "GET /documents": {
        "parameters": {
            "limit": 2,
            "cursor": "ZDE",
            "collection": "manual",
            "source": "manual",
            "path": "guides/retries.md",
            "filter": '{"category": "guide"}',
        }
    },
    "GET /documents/{document_id}": {"parameters": {"document_id": 2}},
    "POST /documents": {
        "body": {
            "title": "Tides",
            "content": "# Tides\n\nThe moon makes the tides, and the sun helps.",
            "metadata": {"category": "sea"},
            "collection": "notes",
        }
    },
    "DELETE /documents/{document_id}": {"parameters": {"document_id": 5}},
    "GET /v1/models": {},
    "GET /v1/models/{model}": {"parameters": {"model": "pgfolio/manual"}},
    "POST /v1/chat/completions": {
        "body": {"model": "pgfolio/manual", "messages": [{"role": "user", "content": QUESTION}]}
    },
    "POST /v1/embeddings": {
        "body": {"model": "pgfolio", "input": [QUESTION], "encoding_format": "base64"},
    },
    "GET /v1/vector_stores": {},
    "POST /v1/vector_stores/{collection}/search": {
        "parameters": {"collection": "manual"},
        "body": {
            "query": QUESTION,
            "max_num_results": 2,
            "filters": {"type": "eq", "key": "category", "value": "guide"},
        },
    },
}
"""In this order: the push becomes document 5, which is deleted after it."""

STREAMING = {"POST /ask", "POST /v1/chat/completions"}


def send(client: httpx.Client, name: str, sent: dict[str, Any], **headers: str) -> httpx.Response:
    """A request as the OpenAPI document shows it."""
    method, path = name.split()
    parameters = dict(sent.get("parameters", {}))
    for key in [key for key in parameters if f"{{{key}}}" in path]:
        path = path.replace(f"{{{key}}}", str(parameters.pop(key)))
    return client.request(method, path, params=parameters, json=sent.get("body"), headers=headers)


def add_key(client: httpx.Client, conninfo: str) -> None:
    """The key that the examples show, with which the client asks from now on."""
    with connect(conninfo) as connection:
        connection.execute(
            "insert into api_keys (name, prefix, hash, scope) values ('admin', %s, %s, 'admin')",
            [KEY[: api_keys.LISTED_CHARACTERS], api_keys.hashed(KEY)],
        )
    client.headers["X-API-Key"] = KEY
    end = time.monotonic() + 5
    while not client.get("/session").json()["signed_in"] and time.monotonic() < end:
        time.sleep(0.05)


def add_request(client: httpx.Client) -> None:
    """The first one, so that there is one to be told of."""
    client.post("/sources/manual/sync").raise_for_status()


def add_trace(client: httpx.Client, conninfo: str) -> None:
    """Under the id that the examples name."""
    trace_id = send(client, "POST /search", REQUESTS["POST /search"]).json()["trace_id"]
    client.get(f"/traces/{trace_id}").raise_for_status()
    with connect(conninfo) as connection:
        connection.execute("update traces set id = %s where id = %s", [TRACE_ID, trace_id])


def recorded(client: httpx.Client, conninfo: str) -> dict[str, Any]:
    """Each request with its answers, by status and media type."""
    add_key(client, conninfo)
    add_request(client)
    add_trace(client, conninfo)
    examples = {}
    for name, sent in REQUESTS.items():
        answers: dict[str, dict[str, Any]] = {}
        for accept in ("application/json", EVENTS) if name in STREAMING else ("application/json",):
            body = {**sent["body"], "stream": accept == EVENTS} if name in STREAMING else sent.get("body")
            answer = send(client, name, {**sent, "body": body}, Accept=accept)
            kind = answer.headers.get("content-type", "").removesuffix("; charset=utf-8")
            client.cookies.clear()
            if answer.content:
                body = answer.json() if kind == "application/json" else answer.text.replace("\r\n", "\n")
                answers.setdefault(str(answer.status_code), {})[kind] = body
        examples[name] = {**sent, "answers": answers}
    metrics = examples["GET /metrics"]["answers"]["200"]
    examples["GET /metrics"]["answers"]["200"] = {kind: shortened(text) for kind, text in metrics.items()}
    return examples


def shortened(metrics: str) -> str:
    lines = [line for line in metrics.splitlines() if "pgfolio_documents" in line or "pgfolio_chunks" in line]
    return "\n".join(lines) + "\n"


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="pgfolio-examples-") as folder:
        home = Path(folder)
        home.chmod(0o755)  # as root, Postgres runs under a user of its own
        settings = load_settings(home=home, postgres={"shared_buffers_mb": 64}, api={"log": "off"})
        with bundled_postgres(home, settings.postgres) as conninfo:
            prepare(conninfo)
            stock(conninfo, settings)
            with running_api(settings, conninfo) as client:
                examples = recorded(client, conninfo)
    FILE.write_text(json.dumps(examples, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
