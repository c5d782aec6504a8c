"""Traces, as a collector gets them, and nothing at all where nobody asked for them."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.query_api.auth.test_keys import served
from tests.query_api.library import stock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pgfolio.config.settings import Settings

QUESTION = "how is a failed zebra task retried"
PARENT = "0af7651916cd43dd8448eb211c80319c"


class Collector:
    """What speaks OTLP over HTTP, on loopback. `spans`: of all that was sent; `services`: who sent it."""

    def __init__(self, url: str) -> None:
        self.environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": url}
        self.spans: list[Any] = []
        self.services: set[str] = set()
        self.bytes = b""

    def take(self, body: bytes) -> None:
        self.bytes += body
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            names = {each.key: each.value.string_value for each in resource.resource.attributes}
            self.services.add(names["service.name"])
            self.spans += [span for scope in resource.scope_spans for span in scope.spans]

    def parents(self, name: str) -> set[str]:
        """Names of the spans under which those of this name stand."""
        by_id = {span.span_id: span.name for span in self.spans}
        return {by_id.get(span.parent_span_id, "") for span in self.spans if span.name == name}

    def attributes(self, name: str) -> dict[str, Any]:
        [span] = [span for span in self.spans if span.name == name]
        return {each.key: each.value.string_value or each.value.int_value for each in span.attributes}


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as made:
        yield made


@contextmanager
def collecting() -> Iterator[Collector]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            made.take(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made = Collector(f"http://127.0.0.1:{server.server_address[1]}")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()


def pgfolio(conninfo: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pgfolio.flows", *arguments],
        env={**os.environ, "PGFOLIO_DATABASE_URL": conninfo, **variables},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.long
def test_a_sync_is_one_trace_with_its_steps_batches_and_statements(
    collector: Collector, conninfo: str, tmp_path: Path, workers: str
) -> None:
    for number in range(6):
        (tmp_path / f"{number}.md").write_text(f"# Animals {number}\n\nThe zebra has stripes.\n")
    done = pgfolio(conninfo, "sync", str(tmp_path), PGFOLIO_SYNC__WORKERS=workers, **collector.environment)
    assert done.returncode == 0, done.stderr
    assert collector.services == {"pgfolio-flows"}
    [run] = [span for span in collector.spans if span.name == "sync"]
    outside = [span for span in collector.spans if span.trace_id != run.trace_id]
    assert {span.name for span in outside} <= {"select"}, "after it, what is asked over HTTP is looked for"
    root = tmp_path.name
    assert collector.parents(f"crawl and plan {root}") == {"sync"}
    assert collector.parents(f"apply {root}") == {"sync"}
    assert collector.parents("batch") == {"sync"}
    assert {"batch", "index", f"apply {root}"} <= collector.parents("select")
    assert b"zebra" not in collector.bytes


def test_a_request_is_a_span_of_who_asked_with_stages_and_statements(
    collector: Collector, settings: Settings, conninfo: str
) -> None:
    stock(conninfo, settings)
    parent = {"traceparent": f"00-{PARENT}-b7ad6b7169203331-01"}
    with served(conninfo, PGFOLIO_API__LOG="off", **collector.environment) as (process, url):
        answer = httpx.post(f"{url}/search", json={"query": QUESTION}, headers=parent)
        assert answer.status_code == 200
        assert httpx.get(f"{url}/nowhere").status_code == 404
        process.terminate()
        process.wait(20)
    assert collector.services == {"pgfolio-api"}
    [request] = [span for span in collector.spans if span.name == "POST /search"]
    assert request.trace_id.hex() == PARENT
    attributes = collector.attributes("POST /search")
    assert attributes["http.route"] == "/search"
    assert attributes["http.response.status_code"] == 200
    assert attributes["pgfolio.trace_id"] == answer.json()["trace_id"]
    assert collector.parents("embed") == {"POST /search"}
    assert collector.parents("retrieve") == {"POST /search"}
    own = [span.name for span in collector.spans if span.trace_id.hex() == PARENT]
    assert len(own) > 4, "statements are spans too"
    assert collector.attributes("GET unmatched")["http.response.status_code"] == 404
    assert b"zebra" not in collector.bytes


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_SDK_DISABLED": "True"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_TRACES_EXPORTER": "none"},
    ],
)
def test_nothing_is_imported_where_nobody_asks(variables: dict[str, str]) -> None:
    code = (
        "import sys; from pgfolio.config import telemetry; telemetry.start('x')\n"
        "with telemetry.root_span('a'), telemetry.span('b', {'c': 1}) as span: print(span)\n"
        "telemetry.flush(); print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split("\n")[:2] == ["None", "[]"]


def test_without_the_extra_one_line_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['opentelemetry.sdk'] = None\n"
        "from pgfolio.config import telemetry; telemetry.start('x'); print(telemetry.is_on())"
    )
    asked = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:1"}
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **asked}, capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"
    assert done.stderr.count("\n") == 1
    assert "pip install 'pgfolio[telemetry]'" in done.stderr
