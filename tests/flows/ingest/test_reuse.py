"""A vector is paid for once: across documents, sources, names, copies, a deletion that is taken back; never across
spaces."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pgfolio.flows.ingest.pipeline import run_sync
from pgfolio.flows.reembedding.run import run_reembed
from pgfolio.flows.run.options import FailedError, Options
from pgfolio.schema.corpus import sources
from pgfolio.schema.database.connect import connect
from tests.fakes.openai_server import FakeOpenAI, FaultScenario
from tests.flows.library import ANIMALS, Library, counts, long_document

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pgfolio.config.settings import Settings


@pytest.fixture
def metered(library: Library, new_settings: Callable[..., Settings], openai_server: FakeOpenAI) -> Library:
    """The library on a server that counts what it embeds."""
    library.settings = new_settings(
        database_url=library.conninfo,
        openai_api_key=openai_server.key,
        openai_base_url=openai_server.url,
        embedding={"provider": "openai", "model": "tiny-embedding", "timeout": 5.0, "deadline": 2.0},
    )
    return library


def paid_twice(server: FakeOpenAI) -> list[str]:
    texts = [text for text in server.embedded() if text != "dimensions"]
    return sorted({text for text in texts if texts.count(text) > 1})


def test_a_deleted_document_that_comes_back_costs_nothing(
    metered: Library, openai_server: FakeOpenAI
) -> None:
    metered.sync()
    text = (metered.root / "animals.md").read_text()
    (metered.root / "animals.md").unlink()
    assert counts(metered.sync()) == {"removed": 1, "unchanged": 1}
    metered.write("back/again.md", text)
    report = metered.sync()
    assert (counts(report), report.chunks.embedded) == ({"added": 1, "unchanged": 1}, 0)
    assert paid_twice(openai_server) == []
    metered.check()


def test_a_change_that_is_taken_back_costs_nothing(metered: Library, openai_server: FakeOpenAI) -> None:
    metered.sync()
    metered.write("animals.md", ANIMALS.replace("zebra", "tiger"))
    assert metered.sync().chunks.embedded > 0
    metered.write("animals.md", ANIMALS)
    assert metered.sync().chunks.embedded == 0
    assert paid_twice(openai_server) == []
    metered.check()


def test_what_is_deleted_is_forgotten_after_its_time(metered: Library) -> None:
    metered.sync()
    (metered.root / "animals.md").unlink()
    metered.sync()
    assert metered.rows("select count(*) > 0 from retained_vectors") == [(True,)]
    with connect(metered.conninfo) as connection:
        connection.execute("update retained_vectors set retained_at = now() - interval '31 days'")
    metered.sync()
    assert metered.rows("select count(*) from retained_vectors") == [(0,)]
    metered.write("animals.md", ANIMALS)
    assert metered.sync().chunks.embedded > 0


def test_copies_in_other_folders_and_sources_cost_nothing(
    metered: Library, openai_server: FakeOpenAI, tmp_path: Path
) -> None:
    metered.sync()
    metered.write("copy/animals.md", ANIMALS)
    other = tmp_path / "other"
    other.mkdir()
    (other / "beasts.md").write_text(ANIMALS)
    assert metered.sync().chunks.embedded == 0
    with connect(metered.conninfo) as connection:
        source = sources.ensure_source(connection, str(other), name="other")
    report = run_sync(metered.settings, metered.conninfo, [source], Options())
    assert (report.documents.added, report.chunks.embedded) == (1, 0)
    assert paid_twice(openai_server) == []
    metered.check()


def test_a_text_in_many_new_files_is_embedded_once_however_they_are_grouped(
    metered: Library, openai_server: FakeOpenAI
) -> None:
    """Batches in flight at the same time must not both pay."""
    openai_server.fault_scenario = FaultScenario(delay=0.05)
    for n in range(400):
        metered.write(f"many/{n:03}.md", f"{ANIMALS}\n\n# Number {n % 7}\n\nA page like {n % 7}.\n")
    metered.sync()
    assert paid_twice(openai_server) == []
    metered.check()


def test_another_space_never_gets_the_old_ones_vectors(metered: Library, openai_server: FakeOpenAI) -> None:
    metered.sync()
    (metered.root / "animals.md").unlink()
    metered.sync()
    metered.settings = metered.settings.model_copy(
        update={
            "embedding": metered.settings.embedding.model_copy(update={"model": "text-embedding-3-small"})
        }
    )
    run_reembed(metered.settings, metered.conninfo, Options())
    metered.write("animals.md", ANIMALS)
    assert metered.sync().chunks.embedded > 0
    assert metered.rows("select distinct vector_dims(embedding) from {vectors}") == [(1536,)]
    metered.check()


def test_vectors_of_a_document_with_one_rejected_chunk_are_not_paid_for_again(
    metered: Library, openai_server: FakeOpenAI
) -> None:
    openai_server.fault_scenario = FaultScenario(poison="GUILTY")
    text = long_document(30)
    metered.write("long.md", text + "\n## Last\n\nGUILTY as charged.\n")
    report = metered.sync()
    assert counts(report) == {"added": 2, "failed": 1}
    assert [(p.path, p.stage) for p in report.problems] == [("long.md", "embed")]
    openai_server.fault_scenario = None
    served = len(openai_server.embedded())
    metered.write("long.md", text + "\n## Last\n\nHarmless after all.\n")
    assert counts(metered.sync()) == {"added": 1, "unchanged": 2}
    assert len(openai_server.embedded()) - served <= 2
    metered.check()


def test_a_large_document_goes_on_where_a_failed_run_stopped(
    metered: Library, openai_server: FakeOpenAI
) -> None:
    few = metered.settings.embedding.model_copy(update={"batch_inputs": 4, "in_flight": 1})
    metered.settings = metered.settings.model_copy(update={"embedding": few})
    metered.sync()
    openai_server.requests.clear()
    metered.write("long.md", long_document(60))
    openai_server.fault_scenario = FaultScenario(status=429, code="insufficient_quota", after=3)
    with pytest.raises(FailedError, match="quota"):
        metered.sync()
    openai_server.fault_scenario = None
    assert counts(metered.sync()) == {"added": 1, "unchanged": 2}
    assert len(paid_twice(openai_server)) <= 4
    assert metered.rows("select count(*) from retained_vectors") == [(0,)]
    metered.check()
