"""What the database refuses of one document stops no other."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from pgfolio.config.models.wordllama import BundledTokenizer, LocalModel
from pgfolio.flows.discovery.crawl import crawl
from pgfolio.flows.discovery.reader import read_file
from pgfolio.flows.discovery.rules import Rules
from pgfolio.flows.ingest.document import Processing
from pgfolio.flows.ingest.file_batch import WorkItem
from pgfolio.flows.ingest.prepare import prepare
from pgfolio.flows.ingest.store import Ready, storable, store_batch
from pgfolio.flows.run.report import Report
from pgfolio.schema.corpus import ledger, sources
from pgfolio.schema.database.connect import connect
from pgfolio.schema.vectors import generations

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgfolio.schema.corpus.documents import Storable
    from tests.flows.library import Library

PROCESSING = Processing(400, 40, "english")


def ready_of(library: Library) -> Ready:
    """The library as one batch with its vectors."""
    with connect(library.conninfo) as connection:
        known = ledger.load(connection, sources.ensure_source(connection, str(library.root), name="library"))
    tokenizer = BundledTokenizer()
    model = LocalModel(tokenizer=tokenizer)
    entries = crawl(library.root, Rules(max_bytes=2**20)).entries
    work_items = [WorkItem(entry, known.get(entry.path)) for entry in entries]
    batch = prepare(partial(read_file, str(library.root)), work_items, PROCESSING, tokenizer.count, Report())
    return Ready(
        batch,
        [
            storable(item, list(model.embed([chunk.content for chunk in item.chunks]).vectors))
            for item in batch.prepared
        ],
    )


def with_document(storable: Storable, **changes: Any) -> Storable:
    return replace(storable, document=replace(storable.document, **changes))


def with_chunk(storable: Storable, content: str) -> Storable:
    first, *others = storable.chunks
    return replace(storable, chunks=[replace(first, chunk=replace(first.chunk, content=content)), *others])


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda item: with_document(item, metadata={"n": 1 << 20_000}), "4300 digits"),
        (lambda item: with_document(item, title="a\0b"), "NUL"),
        (lambda item: with_document(item, text="half of a pair: \ud800"), "surrogates not allowed"),
        (
            lambda item: with_chunk(item, " ".join(f"word{n}" for n in range(200_000))),
            "too long for tsvector",
        ),
    ],
    ids=["a number without end", "NUL", "no UTF-8", "too many words"],
)
def test_a_document_that_the_database_refuses_fails_and_the_others_are_stored(
    library: Library, spoil: Callable[[Storable], Storable], reason: str
) -> None:
    library.sync()
    before = library.stored()
    library.write("animals.md", "# Animals\n\nAnother text.\n")
    library.write("new.md", "# New\n\nA page.\n")
    ready = ready_of(library)
    with (
        connect(library.conninfo) as connection,
        sources.owned(
            connection, sources.ensure_source(connection, str(library.root), name="library")
        ) as source,
    ):
        generation = generations.active_generation(connection)
        assert generation is not None
        ready.storables[0] = spoil(ready.storables[0])
        store_batch(connection, source, generation, ready, PROCESSING.fingerprint)
        connection.commit()
        row = ledger.load(connection, source)["animals.md"]
    assert [item.document.path for item in ready.storables] == ["garden/plants.md", "new.md"]
    assert [item.work_item.entry.path for item in ready.failed] == ["animals.md"]
    assert (row.state, row.stage, row.retry_at is not None) == ("failed", "store", True)
    assert row.reason.startswith("cannot be stored: ")
    assert reason in row.reason
    stored = library.stored()
    assert set(stored) == {"animals.md", "garden/plants.md", "new.md"}
    assert stored["animals.md"] == before["animals.md"]
    library.check()
    assert library.sync(full=True).status == "complete"
    assert library.stored()["animals.md"] != before["animals.md"]
