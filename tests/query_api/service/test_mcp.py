"""The Model Context Protocol, spoken by its official SDK: in memory, over HTTP and over standard input and output."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx
import jsonschema  # type: ignore[import-untyped]
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

from pgfolio.query_api.service.mcp.server import create_server
from pgfolio.query_api.service.mcp.tools import ToolContext
from pgfolio.query_api.services import open_services
from tests.query_api.auth.test_keys import served
from tests.query_api.library import PAGES, Page, make_key, running_api, stock
from tests.query_api.service.test_frozen import statements_waiting
from tests.query_api.service.test_operations import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from mcp_types import CallToolResult

    from pgfolio.config.settings import Settings

TOOLS = ["search", "fetch", "search_documents", "ask", "list_collections"]
RETRY = "how do I retry a failed task"
ERAS = ("auto", "legacy")
BASE = "http://docs.example"


def output(result: CallToolResult) -> Any:
    """The structured content, which the one text item repeats."""
    assert not result.is_error, result.content
    (item,) = result.content
    assert item.type == "text"
    assert json.loads(item.text) == result.structured_content
    return result.structured_content


def error(result: CallToolResult) -> str:
    assert result.is_error
    assert result.structured_content is None
    (item,) = result.content
    assert item.type == "text"
    return item.text


async def session(client: Client) -> None:
    """What every door must do: list the tools, and call each."""
    tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert list(tools) == TOOLS
    for tool in tools.values():
        annotations = tool.annotations
        assert annotations is not None
        assert (annotations.read_only_hint, annotations.destructive_hint) == (True, False)
        assert annotations.open_world_hint is False
        assert tool.description
        assert tool.input_schema["type"] == tool.output_schema["type"] == "object"  # type: ignore[index]
    hits = output(await client.call_tool("search", {"query": RETRY}))
    assert hits.keys() == {"results"}
    assert all(hit.keys() == {"id", "title", "url"} for hit in hits["results"])
    best = hits["results"][0]
    assert best["title"] == "Retrying failed tasks"
    assert f"/d/{best['id']}?start=" in best["url"]
    document = output(await client.call_tool("fetch", {"id": best["id"]}))
    assert document.keys() >= {"id", "title", "text", "url", "metadata"}
    assert "retry_delay_seconds" in document["text"]
    assert document["metadata"]["category"] == "guide"
    passages = output(await client.call_tool("search_documents", {"query": RETRY, "limit": 2}))
    assert [passage["path"] for passage in passages["results"]][:1] == ["guides/retries.md"]
    answer = output(await client.call_tool("ask", {"question": RETRY}))
    assert answer["answered"]
    assert answer["citations"][0]["verified"]
    collections = output(await client.call_tool("list_collections", {}))
    assert [each["name"] for each in collections["collections"]] == ["kitchen", "manual"]
    made = {"search": hits, "fetch": document, "search_documents": passages, "ask": answer}
    for name, value in {**made, "list_collections": collections}.items():
        jsonschema.Draft202012Validator(tools[name].output_schema).validate(value)
    assert output(await client.call_tool("fetch", {"id": int(best["id"])})) == document
    assert "`search`" in error(await client.call_tool("fetch", {"id": "999"}))
    missing = error(await client.call_tool("search_documents", {"query": "x", "collections": ["moon"]}))
    assert "list_collections" in missing
    assert "`query`" in error(await client.call_tool("search_documents", {"question": "x"}))
    assert "$near" in error(
        await client.call_tool("search_documents", {"query": "x", "filter": {"path": {"$near": 1}}})
    )


HIDDEN = Page("hidden.md", "Hidden", {"Retry": f"{RETRY}: the hidden way."}, "hidden")


@asynccontextmanager
async def in_memory(conninfo: str, settings: Settings, mode: Any = "auto") -> AsyncIterator[Client]:
    async with open_services(settings, conninfo) as services:

        def context(_: Any) -> ToolContext:
            return ToolContext(services, None, BASE, {"state": {}})

        async with Client(create_server(context), mode=mode) as client:
            yield client


@asynccontextmanager
async def over_http(url: str, mode: Any = "auto", **headers: str) -> AsyncIterator[Client]:
    import httpx2

    async with (
        httpx2.AsyncClient(headers=headers, timeout=20) as http,
        Client(streamable_http_client(f"{url}/mcp", http_client=http), mode=mode) as client,
    ):
        yield client


@pytest.mark.parametrize("mode", ERAS)
def test_every_tool_works_in_memory(library: str, new_settings: Callable[..., Settings], mode: str) -> None:
    async def talk() -> None:
        async with in_memory(library, new_settings(database_url=library), mode) as client:
            await session(client)

    asyncio.run(talk())


@pytest.mark.parametrize("mode", ERAS)
def test_every_tool_works_over_http(api: httpx.Client, mode: str) -> None:
    async def talk() -> None:
        async with over_http(str(api.base_url), mode) as client:
            assert (client.protocol_version >= "2026") == (mode == "auto")
            await session(client)

    asyncio.run(talk())


def test_every_tool_works_over_standard_input_and_output(conninfo: str, settings: Settings) -> None:
    stock(conninfo, settings, (*PAGES, HIDDEN))
    environment = {**os.environ, "PGFOLIO_DATABASE_URL": conninfo, "PGFOLIO_HOME": str(settings.home)}

    async def talk() -> None:
        arguments = ["-m", "pgfolio.query_api", "mcp", "--collection", "kitchen", "--collection", "manual"]
        async with Client(
            StdioServerParameters(command=sys.executable, args=arguments, env=environment)
        ) as client:
            await session(client)

    asyncio.run(talk())


@pytest.mark.long
def test_any_of_several_workers_answers_any_request(conninfo: str, settings: Settings) -> None:
    stock(conninfo, settings)

    async def talk(url: str) -> None:
        for mode in ERAS:
            for _ in range(6):
                async with over_http(url, mode) as client:
                    await session(client)

    with served(conninfo, "--workers", "3", PGFOLIO_API__LOG="off") as (_, url):
        asyncio.run(talk(url))


def test_a_key_counts_as_everywhere(conninfo: str, settings: Settings) -> None:
    stock(conninfo, settings)
    key = make_key(conninfo, "read", ["manual"])

    async def talk(url: str) -> None:
        async with over_http(url, Authorization=f"Bearer {key}") as client:
            collections = output(await client.call_tool("list_collections", {}))
            assert [each["name"] for each in collections["collections"]] == ["manual"]
            hits = output(
                await client.call_tool("search_documents", {"query": "sourdough bread", "limit": 50})
            )
            assert {hit["collection"] for hit in hits["results"]} == {"manual"}
            for number in range(1, 6):
                result = await client.call_tool("fetch", {"id": str(number)})
                assert result.is_error or output(result)["metadata"]["collection"] == "manual"
            hidden = await client.call_tool("ask", {"question": "bread", "collections": ["kitchen"]})
            absent = await client.call_tool("ask", {"question": "bread", "collections": ["atlantis"]})
            assert error(hidden).replace("kitchen", "atlantis") == error(absent)

    with running_api(settings, conninfo) as client:
        asyncio.run(talk(str(client.base_url)))
        for headers in ({}, {"Authorization": "Bearer wrong"}):
            answer = client.post("/mcp", json={}, headers=headers)
            assert answer.status_code == 401


CALL = {"jsonrpc": "2.0", "id": 1, "method": "tools/call"}
ACCEPT = {"Accept": "application/json, text/event-stream"}


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT"])
def test_there_is_nothing_but_post(api: httpx.Client, method: str) -> None:
    answer = api.request(method, "/mcp", headers=ACCEPT)
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")


def test_hosts_and_origins_are_those_of_the_guard(
    library: str, new_settings: Callable[..., Settings]
) -> None:
    body = {**CALL, "params": {"name": "list_collections", "arguments": {}}}
    named = {"allowed_hosts": ["docs.example"], "cors_origins": ["https://page.example"]}
    with running_api(new_settings(database_url=library, api=named), library) as client:

        def status(**headers: str) -> int:
            return client.post("/mcp", json=body, headers={**ACCEPT, **headers}).status_code

        assert [status(Host=host) for host in ("docs.example", "Docs.Example:8443", "localhost:1")] == [
            200
        ] * 3
        assert status(Host="evil.example") == 403
        assert status(Origin="https://page.example", Host="docs.example") == 200
        assert status(Origin="https://evil.example", Host="docs.example") == 403
        assert status(Origin="https://docs.example", Host="docs.example") == 200


@pytest.mark.parametrize("modern", [False, True])
def test_a_client_that_leaves_ends_the_work(conninfo: str, settings: Settings, modern: bool) -> None:
    import psycopg

    version = {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": "search"}
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "t", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    arguments: dict[str, Any] = {"name": "search", "arguments": {"query": "a task"}}
    params: dict[str, Any] = {**arguments, "_meta": meta} if modern else arguments
    body = {**CALL, "params": params}
    stock(conninfo, settings)
    with running_api(settings, conninfo) as client, psycopg.connect(conninfo) as other:
        client.post("/mcp", json=body, headers={**ACCEPT, **(version if modern else {})}).raise_for_status()
        other.execute("lock table documents in access exclusive mode")
        with pytest.raises(httpx.ReadTimeout):
            client.post("/mcp", json={**body, "params": {**params, "arguments": {"query": "b"}}},
                        headers={**ACCEPT, **(version if modern else {})}, timeout=0.7)  # fmt: skip
        until(lambda: statements_waiting(conninfo) == 0, 3)


LONG = Page(
    "long.md", "A long one", {f"Part {n}": f"The lighthouse number {n} shines. " * 60 for n in range(40)}
)


def test_results_keep_to_their_budget_and_say_where_to_go_on(conninfo: str, settings: Settings) -> None:
    stock(conninfo, settings, (LONG,))

    async def talk() -> None:
        async with in_memory(conninfo, settings) as client:
            everything: list[int] = []
            where: int | None = 0
            while where is not None:
                page = output(
                    await client.call_tool("search_documents", {"query": "lighthouse", "offset": where})
                )
                everything += [passage["start"] for passage in page["results"]]
                where = page["next_offset"]
            assert len(everything) == len(set(everything)) >= 3
            asked = {"query": "lighthouse", "limit": 20, "max_tokens": 2000}
            seen: list[int] = []
            offset: int | None = 0
            while offset is not None and len(seen) < 3:
                page = output(await client.call_tool("search_documents", {**asked, "offset": offset}))
                assert len(json.dumps(page)) / 4 <= 2000
                assert page["results"]
                seen += [passage["start"] for passage in page["results"]]
                offset = page["next_offset"]
            assert len(set(seen)) == len(seen)
            small = output(await client.call_tool("search_documents", {**asked, "max_tokens": 500}))
            (cut,) = small["results"]
            rest = output(
                await client.call_tool("fetch", {"id": cut["id"], "offset": cut["continue_at"], "limit": 50})
            )
            assert rest["text"] == LONG.text[cut["continue_at"] :][:50]
            assert LONG.text[cut["start"] : cut["continue_at"]] == cut["text"]

    asyncio.run(talk())


def test_a_document_is_read_in_pages(conninfo: str, settings: Settings) -> None:
    stock(conninfo, settings, (LONG,))

    async def talk() -> None:
        async with in_memory(conninfo, settings) as client:
            offset, text = 0, ""
            while offset is not None:
                page = output(await client.call_tool("fetch", {"id": "1", "offset": offset, "limit": 30_000}))
                assert (page["offset"], page["total"]) == (offset, len(LONG.text))
                text += page["text"]
                offset = page["next_offset"]
            assert text == LONG.text
            beyond = output(await client.call_tool("fetch", {"id": "1", "offset": 10**6}))
            assert (beyond["text"], beyond["next_offset"]) == ("", None)
            for wrong in ("", "0", "-1", "1e3", "9" * 40, "long.md", "\u0661"):
                assert error(await client.call_tool("fetch", {"id": wrong}))

    asyncio.run(talk())
