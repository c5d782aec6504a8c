"""How vectors are stored: in half precision, in full, or with an index over their signs alone; and moving between."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import numpy as np
import pytest
from psycopg import sql

from pgfolio.config.errors import ConfigError
from pgfolio.flows.ingest.pipeline import run_sync
from pgfolio.flows.integrity.verify import run_verify
from pgfolio.flows.reembedding.run import run_reembed
from pgfolio.flows.run.context import RunContext
from pgfolio.flows.run.options import FailedError, Options
from pgfolio.query_api.retrieval.query import Query
from pgfolio.query_api.services import open_services
from pgfolio.schema.corpus import sources
from pgfolio.schema.database.connect import connect
from pgfolio.schema.vectors import generations, recall
from tests.flows.index.test_segments import active, grow
from tests.flows.library import long_document

if TYPE_CHECKING:
    from pgfolio.config.settings import Settings
    from pgfolio.flows.run.report import Report
    from tests.flows.library import Library

KINDS = {
    "halfvec": ("halfvec(256)", "halfvec_cosine_ops"),
    "vector": ("vector(256)", "vector_cosine_ops"),
    "bit": ("halfvec(256)", "bit_hamming_ops"),
}


def stored_as(library: Library, storage: str, **index: object) -> Settings:
    settings = library.settings.index.model_copy(update={"storage": storage, **index})
    return library.settings.model_copy(update={"index": settings})


def sync(library: Library, settings: Settings) -> Report:
    with connect(library.conninfo) as connection:
        source = sources.ensure_source(connection, str(library.root), name="library")
    return run_sync(settings, library.conninfo, [source], Options())


def index_definition(library: Library) -> tuple[str, str]:
    """The type of the active generation's column, and the operators of its index."""
    with connect(library.conninfo) as connection:
        generation = active(connection)
        row = connection.execute(
            "select format_type(a.atttypid, a.atttypmod), o.opcname from pg_attribute a, pg_index i "
            "join pg_opclass o on o.oid = i.indclass[0] "
            "where a.attrelid = %s::regclass and a.attname = 'embedding' and i.indexrelid = %s::regclass",
            [generation.table, generation.index],
        ).fetchone()
    assert row is not None
    return row


def searched(library: Library, question: str, *, exact: bool = False) -> list[tuple[int, float]]:
    async def hits() -> list[tuple[int, float]]:
        async with open_services(library.settings, library.conninfo) as services:
            retrieved = await services.retriever.retrieve(Query(question, 5, "vector", exact=exact), None)
        return [(hit.hit.chunk_id, round(hit.hit.similarity, 3)) for hit in retrieved.results]

    return asyncio.run(hits())


@pytest.fixture
def grown(library: Library) -> Library:
    grow(library, "first", 40)
    return library


@pytest.mark.parametrize("storage", ["halfvec", "vector"])
def test_a_first_sync_stores_as_the_settings_say(grown: Library, storage: str) -> None:
    assert sync(grown, stored_as(grown, storage)).status == "complete"
    assert index_definition(grown) == KINDS[storage]
    assert searched(grown, "amber and kelp") == searched(grown, "amber and kelp", exact=True)
    grown.check()
    assert run_verify(grown.conninfo).complete


def test_full_precision_is_kept_for_texts_that_come_back(library: Library) -> None:
    settings = stored_as(library, "vector")
    sync(library, settings)
    before = everything(library)
    animals = (library.root / "animals.md").read_text()
    library.write("animals.md", long_document(2))
    sync(library, settings)
    library.write("animals.md", animals)
    assert sync(library, settings).chunks.embedded == 0
    np.testing.assert_array_equal(everything(library), before)


def everything(library: Library) -> np.ndarray:
    with connect(library.conninfo) as connection:
        rows = connection.execute(
            sql.SQL("select v.embedding from {} v join chunks c on c.id = v.chunk_id order by c.hash").format(
                sql.Identifier(active(connection).table)
            )
        ).fetchall()
    return np.array([row[0].to_numpy() if hasattr(row[0], "to_numpy") else row[0] for row in rows])


def test_signs_alone_are_not_indexed_before_they_are_measured(grown: Library) -> None:
    report = sync(grown, stored_as(grown, "bit"))
    assert index_definition(grown) == KINDS["halfvec"]
    assert any("pgfolio reembed" in note for note in report.notes)


def test_a_move_to_signs_alone_costs_nothing_and_finds_what_comparing_all_finds(grown: Library) -> None:
    grown.sync()
    settings = stored_as(grown, "bit")
    plan = run_reembed(settings, grown.conninfo, Options(plan_only=True))
    report = run_reembed(settings, grown.conninfo, Options())
    assert (plan.tokens, report.tokens, report.chunks.embedded) == (0, 0, 0)
    assert report.chunks.reused == report.chunks.total > 0
    assert index_definition(grown) == KINDS["bit"]
    with connect(grown.conninfo) as connection:
        generation = active(connection)
        assert generation.space.name == "local/wordllama-256/256/bit"
        assert (recall.measure(connection, generation, 200) or 0) > 0.97
    assert run_verify(grown.conninfo).complete
    grow(grown, "second", 40)
    sync(grown, settings)  # a second segment
    exact = [similarity for _, similarity in searched(grown, "amber and kelp", exact=True)]
    assert [similarity for _, similarity in searched(grown, "amber and kelp")] == exact
    back = run_reembed(settings, grown.conninfo, Options(), rollback=True)
    assert (back.status, back.chunks.embedded) == ("complete", 0)
    assert index_definition(grown) == KINDS["halfvec"]
    grown.check()


def test_signs_alone_are_rejected_where_they_lose_too_much(grown: Library) -> None:
    grown.sync()
    with pytest.raises(FailedError, match=r"recall@10 is 0\.\d+ at ef_search 10, wanted 1\.000"):
        run_reembed(
            stored_as(grown, "bit", gate_recall=1.0, ef_search=10, m=2, ef_construction=4),
            grown.conninfo,
            Options(),
        )
    assert index_definition(grown) == KINDS["halfvec"]


def test_searches_use_the_ef_search_of_the_gate(grown: Library) -> None:
    grown.sync()
    run_reembed(stored_as(grown, "bit", gate_recall=0.9, ef_search=10), grown.conninfo, Options())
    ((ef_search, measured),) = grown.rows(
        "select ef_search, measured from generations where state = 'active'"
    )
    assert 10 < ef_search <= 200
    assert measured["recall"] >= 0.9


def test_half_precision_is_embedded_anew_for_full(library: Library) -> None:
    library.sync()
    report = run_reembed(stored_as(library, "vector"), library.conninfo, Options())
    assert report.chunks.embedded == report.chunks.total > 0
    back = run_reembed(stored_as(library, "halfvec"), library.conninfo, Options())
    assert (back.chunks.embedded, back.status) == (0, "complete")


def test_full_precision_beyond_what_its_index_serves_is_rejected(library: Library) -> None:
    settings = stored_as(library, "vector")
    embedding = settings.embedding.model_copy(
        update={"provider": "openai", "model": "text-embedding-3-large", "dimensions": 3072}
    )
    run = RunContext(settings.model_copy(update={"embedding": embedding}), library.conninfo, Options())
    with pytest.raises(ConfigError, match=r"PGFOLIO_INDEX__STORAGE: .* at most 2,000 dimensions"):
        run.requested_space()


def test_what_depends_on_storage_is_known_of_every_kind(library: Library) -> None:
    library.sync()
    with connect(library.conninfo) as connection:
        assert generations.active_generation(connection) is not None
        for storage in KINDS:
            connection.execute(
                "insert into spaces (provider, model, dimensions, shortened, query_prefix, document_prefix, storage) "
                "values ('x', 'x', 1, false, '', '', %s)",
                [storage],
            )
