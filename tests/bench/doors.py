"""`python -m tests.bench.doors URL` measures the other doors of a running API against its own routes, in turn: what a
tool call costs over a search, and a chat completion over a bare `POST /ask`; and what loading the SDK costs.
"""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, Final

import click
import httpx
import numpy as np
from rich.console import Console

if TYPE_CHECKING:
    from collections.abc import Callable

OUT = Console(highlight=False)
QUESTION: Final = "how do I retry a failed task"
SEARCH: Final = {"query": QUESTION, "limit": 10, "max_per_document": 1}
ASK: Final = {"question": QUESTION, "stream": True}
CHAT: Final = {"model": "pgfolio", "messages": [{"role": "user", "content": QUESTION}], "stream": True}
CALL: Final = {"name": "search", "arguments": {"query": QUESTION}}
ACCEPT: Final = {"Accept": "application/json, text/event-stream"}
MODERN: Final = {
    **ACCEPT,
    "MCP-Protocol-Version": "2026-07-28",
    "Mcp-Method": "tools/call",
    "Mcp-Name": "search",
}
META: Final = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "bench", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}
LOADING: Final = """
import time
began = time.perf_counter()
import pgfolio.query_api.service.app
app = time.perf_counter()
import psutil
before = psutil.Process().memory_info().rss
import pgfolio.query_api.service.mcp.server
done, after = time.perf_counter(), psutil.Process().memory_info().rss
print(app - began, before / 1e6, done - app, (after - before) / 1e6)
"""


def call(params: dict[str, Any]) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}


def medians(*sends: Callable[[], httpx.Response], rounds: int) -> list[float]:
    """Milliseconds of each, sent in turn; a first round does not count."""
    taken = np.empty((rounds + 1, len(sends)))
    for number in range(rounds + 1):
        for place, send in enumerate(sends):
            began = time.perf_counter()
            send().raise_for_status()
            taken[number, place] = (time.perf_counter() - began) * 1000
    return [float(each) for each in np.median(taken[1:], axis=0)]


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("url")
@click.option("--key", help="Of the API, where it has keys.")
@click.option("--rounds", default=50, show_default=True)
def main(*, url: str, key: str | None, rounds: int) -> None:
    """Of a running API."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    with httpx.Client(base_url=url, headers=headers, timeout=60) as client:
        search, before, modern = medians(
            lambda: client.post("/search", json=SEARCH),
            lambda: client.post("/mcp", json=call(CALL), headers=ACCEPT),
            lambda: client.post("/mcp", json=call({**CALL, "_meta": META}), headers=MODERN),
            rounds=rounds,
        )
        ask, chat = medians(
            lambda: client.post("/ask", json=ASK),
            lambda: client.post("/v1/chat/completions", json=CHAT),
            rounds=rounds,
        )
    OUT.print(
        f"/search {search:.1f} ms; the tool `search` {before:.1f} ms, in the era of 2026 {modern:.1f} ms"
    )
    OUT.print(f"/ask {ask:.1f} ms; /v1/chat/completions {chat:.1f} ms, both streamed")
    loading = subprocess.run([sys.executable, "-c", LOADING], capture_output=True, text=True, check=True)
    app, rss, sdk, more = map(float, loading.stdout.split())
    OUT.print(f"import of the API {app:.2f} s, {rss:.0f} MB; of the SDK {sdk:.2f} s, {more:.0f} MB more")


if __name__ == "__main__":
    main()
