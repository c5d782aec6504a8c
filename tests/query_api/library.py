"""A small library of documents for the API's tests, and an API that serves it on loopback."""

from __future__ import annotations

import hashlib
import random
import socket
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import httpx
import psycopg
import uvicorn

from pgfolio.config.models import embedding_model
from pgfolio.query_api.service.app import create_app
from pgfolio.query_api.service.server import OPTIONS
from pgfolio.schema.corpus import postings, sources
from pgfolio.schema.corpus.documents import Storable, store
from pgfolio.schema.database.connect import connect
from pgfolio.schema.markdown import code_blocks
from pgfolio.schema.operations import api_keys
from pgfolio.schema.records import Chunk, Document, EmbeddedChunk, Signature, Space
from pgfolio.schema.vectors import generations, hnsw, reuse
from tests.fakes.openai_server import KEY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from litestar import Litestar

    from pgfolio.config.settings import Settings
    from tests.fakes.openai_server import FakeOpenAI

LOCAL = Space("local", "wordllama-256", 256)


@dataclass(frozen=True)
class Page:
    """A document: its sections, each a heading with its text, become its chunks."""

    path: str
    title: str | None
    sections: dict[str, str]
    collection: str = "manual"
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def text(self) -> str:
        return "\n\n".join(f"## {heading}\n\n{body}" for heading, body in self.sections.items())


RETRIES = Page(
    "guides/retries.md",
    "Retrying failed tasks",
    {
        "Set the number of retries": "A failed task is retried when you set `retries` on its decorator. "
        "Each retry of a task is a new attempt with the same parameters.",
        "Wait between retries": "Use `retry_delay_seconds` to wait before the task is tried again.\n\n"
        "```python\n@task(retries=2, retry_delay_seconds=60)\ndef fragile():\n    ...\n```\n\n"
        "A list of delays makes every retry wait longer.",
    },
    metadata={"category": "guide"},
)
WORK_POOLS = Page(
    "guides/pools.md",
    "Work pools",
    {
        "Create a work pool": "You create a work pool with the command `work-pool create`. "
        "A worker polls its work pool for flow runs that are due.",
        "Delete a work pool": "Deleting a work pool cancels the flow runs that wait in it.",
    },
)
UNTITLED = Page(
    "notes/caching.md",
    None,
    {"Caching": "Results of a task are cached under a cache key. A cached result expires after an hour."},
)
BREAD = Page(
    "bread.md",
    "Baking bread",
    {
        "Sourdough": "Feed the sourdough starter with flour and water every day. "
        "Bake the bread for forty minutes in a hot oven.",
        "Rolls": "Rolls of bread are baked for fifteen minutes only.",
    },
    collection="kitchen",
)
PAGES = (RETRIES, WORK_POOLS, UNTITLED, BREAD)


def random_parts(count: int) -> dict[str, str]:
    """Sections of made-up words, each unlike all the others."""
    words = random.Random(1)
    return {
        f"Part {n}": " ".join("".join(words.choices("abdeiklnorstu", k=4)) for _ in range(12))
        for n in range(count)
    }


def stock(
    conninfo: str,
    settings: Settings,
    pages: tuple[Page, ...] = PAGES,
    space: Space = LOCAL,
    *,
    indexed: bool = True,
) -> None:
    """Store pages as the pipeline does, a source for each collection, and make their space the active one."""
    model = embedding_model(settings, space.provider, space.model, space.dimensions, shorten=space.shortened)
    with connect(conninfo) as connection:
        generation = generations.ensure_active(connection, space)
        for collection in sorted({page.collection for page in pages}):
            source = sources.ensure_source(connection, f"/{collection}", name=collection)
            collection_pages = [page for page in pages if page.collection == collection]
            batch = [Storable(_document(page), _with_vectors(page, model)) for page in collection_pages]
            store(connection, source, generation, batch, "test")
        if indexed:
            hnsw.build(connection, generation, settings.index.m, settings.index.ef_construction)


def stock_hosted(conninfo: str, new_settings: Callable[..., Settings], server: FakeOpenAI) -> Settings:
    """The same, embedded by the server, and the settings that this takes."""
    settings = new_settings(
        database_url=conninfo, openai_api_key=KEY, openai_base_url=server.url,
        embedding={"provider": "openai", "model": "tiny-embedding"},
    )  # fmt: skip
    stock(conninfo, settings, space=Space("openai", "tiny-embedding", 64))
    return settings


@contextmanager
def unreachable(conninfo: str, postgres: str) -> Iterator[Callable[[], None]]:
    """Inside, nobody is let into the database, and who was is thrown out, until what it yields is called."""
    name = psycopg.conninfo.conninfo_to_dict(conninfo)["dbname"]
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f'alter database "{name}" with allow_connections false')
        connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", [name]
        )

        def back() -> None:
            connection.execute(f'alter database "{name}" with allow_connections true')

        try:
            yield back
        finally:
            back()


def make_key(
    conninfo: str, scope: Any = "read", collections: Sequence[str] = (), expires_at: datetime | None = None
) -> str:
    """A key of the API, as `pgfolio keys add` shows it."""
    with connect(conninfo) as connection:
        return api_keys.add(connection, None, scope, collections, expires_at).secret


def switch(conninfo: str, settings: Settings, space: Space, *, drop: bool) -> None:
    """Make another space the active one with all vectors in it, as `reembed` does; `drop` the old table."""
    model = embedding_model(settings, space.provider, space.model, space.dimensions, shorten=space.shortened)
    with connect(conninfo) as connection:
        old = generations.active_generation(connection)
        assert old is not None
        new = generations.create_generation(connection, space, "building")
        rows = connection.execute("select id, collection_id, content from chunks order by id").fetchall()
        made = model.embed([row[2] for row in rows]).vectors
        values = [(row[0], row[1], v) for row, v in zip(rows, made, strict=True)]
        reuse.add_vectors(connection, new, values)
        generations.activate(connection, new)
        connection.commit()
        if drop:
            assert generations.drop_generation(connection, old)


def write_postings(conninfo: str) -> None:
    """However few chunks there are."""
    with connect(conninfo) as connection:
        connection.execute("insert into corpus (chunks, newest_chunk, tokens) "
                           "select count(*), max(id), avg(tokens) from chunks")  # fmt: skip
        postings.update(connection, 1)


@contextmanager
def running_api(settings: Settings, conninfo: str) -> Iterator[httpx.Client]:
    """A real server on a free port, in a thread; yields a client of it."""
    with running(create_app(settings, conninfo)) as client:
        yield client


@contextmanager
def running(app: Litestar) -> Iterator[httpx.Client]:
    """The same of an application that was made already."""
    config = uvicorn.Config(app, **{**OPTIONS, "timeout_graceful_shutdown": None})
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        try:
            with httpx.Client(base_url=url, timeout=20) as client:
                client.get(
                    "/health/live"
                )  # the socket listens already: answered once the application has started
                assert server.started
                yield client
        finally:
            server.should_exit = True
            thread.join(timeout=20)
    assert not thread.is_alive()


def _document(page: Page) -> Document:
    data = page.text.encode()
    return Document(
        path=page.path,
        title=page.title,
        mime="text/markdown",
        text=page.text,
        content_hash=hashlib.sha256(data).digest(),
        signature=Signature(1, 1, len(data), 1, 1),
        language="english",
        created_at=None,
        updated_at=datetime(2026, 1, 1, tzinfo=UTC),
        metadata=page.metadata,
        code_blocks=code_blocks(page.text),
    )


def _with_vectors(page: Page, model: Any) -> list[EmbeddedChunk]:
    chunks = []
    for heading in page.sections:
        content = f"## {heading}\n\n{page.sections[heading]}"
        start = page.text.index(content)
        hashed = hashlib.sha256(content.encode()).digest()
        chunks.append(Chunk(content, heading, None, start, start + len(content), len(content) // 4, hashed))
    made = model.embed([f"{page.title or ''}\n{chunk.content}" for chunk in chunks]).vectors
    return [EmbeddedChunk(chunk, vector) for chunk, vector in zip(chunks, made, strict=True)]


@contextmanager
def asking(client: httpx.Client, question: Mapping[str, Any]) -> Iterator[list[tuple[str, float]]]:
    """Searches one after the other; each with what was wrong of it and its seconds."""
    answers: list[tuple[str, float]] = []
    ended = threading.Event()

    def ask() -> None:
        while not ended.is_set():
            began = time.monotonic()
            answer = client.post("/search", json=question)
            said = "" if answer.status_code == 200 else answer.text
            answers.append((said, time.monotonic() - began))
            time.sleep(0.02)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    try:
        yield answers
    finally:
        ended.set()
        thread.join()
        errors = sum(bool(problem) for problem, _ in answers)
        longest = max((seconds for _, seconds in answers), default=0.0)
        print(f"{len(answers)} searches, {errors} errors, the longest {longest:.2f} s")
