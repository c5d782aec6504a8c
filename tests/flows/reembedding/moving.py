"""A corpus to move to another embedding space, and a model server to move it to."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pgfolio.flows.reembedding.run import run_reembed
from pgfolio.flows.run.options import Options
from pgfolio.schema.database.connect import connect
from pgfolio.schema.vectors import generations, reuse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pgfolio.config.settings import Settings
    from pgfolio.flows.run.report import Report
    from tests.fakes.openai_server import FakeOpenAI
    from tests.flows.library import Library

PAGES = 60
IN_FLIGHT = 2
BATCH_INPUTS = 8
LOCAL, TINY, SMALL = "wordllama-256", "tiny-embedding", "text-embedding-3-small"


@dataclass
class Corpus:
    """A library that is synced with the local model, and a model server to move it to."""

    library: Library
    server: FakeOpenAI
    hosted: Settings

    @property
    def conninfo(self) -> str:
        return self.library.conninfo

    def write(self, first: int, last: int) -> None:
        for n in range(first, last):
            self.library.write(
                f"{n:03}.md", f"# Page {n}\n\nThis page tells of the river and of number {n}.\n"
            )

    def move(self, settings: Settings | None = None, **arguments: Any) -> Report:
        return run_reembed(
            settings or self.hosted, self.conninfo, arguments.pop("options", Options()), **arguments
        )

    def model(self, model: str, **embedding: Any) -> Settings:
        section = self.hosted.embedding.model_copy(update={"model": model, **embedding})
        return self.hosted.model_copy(update={"embedding": section})

    def indexed(self, **index_settings: Any) -> Settings:
        return self.hosted.model_copy(update={"index": self.hosted.index.model_copy(update=index_settings)})

    def states(self) -> dict[str, str]:
        """Of each space, by its model."""
        with connect(self.conninfo) as connection:
            listed = generations.list_generations(connection, "active", "building", "ready", "retired")
        return {generation.space.model: generation.state for generation in listed}

    def missing(self) -> dict[str, int]:
        """Chunks without a vector in each space, by its model."""
        with connect(self.conninfo) as connection:
            listed = generations.list_generations(connection, "active", "building", "ready", "retired")
            return {g.space.model: reuse.count_missing(connection, g) for g in listed}


@contextmanager
def in_thread(work: Callable[[], object]) -> Iterator[None]:
    """Runs beside the block; its error is the test's."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 -- it is raised where it is waited for
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        thread.join()
    if raised:
        raise raised[0]
