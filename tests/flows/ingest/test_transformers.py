"""A transformer of a folder embeds what is synced and what is asked; other files there are noticed."""

from __future__ import annotations

from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import numpy as np
import pytest

from pgfolio.config.machine import cores
from pgfolio.config.models.encoder import allowed_threads
from pgfolio.config.models.transformer import transformer_model, transformer_space
from pgfolio.flows.execution.processes import ProcessExecutor
from pgfolio.flows.reembedding.run import run_reembed
from pgfolio.flows.run.options import FailedError, Options
from pgfolio.schema.database.connect import connect
from pgfolio.schema.vectors import generations
from tests.fakes import tiny_transformers as tiny
from tests.flows.library import Library, small_library
from tests.query_api.library import running_api

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from pgfolio.config.settings import Settings
    from pgfolio.schema.records import Space

PROMPTS = {"config_sentence_transformers.json": {"prompts": {"query": "query ", "passage": "passage "}}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny.embedding_folder(tmp_path / "model", files=PROMPTS)


@pytest.fixture
def with_model(tmp_path: Path, conninfo: str, new_settings: Callable[..., Settings], folder: Path) -> Library:
    settings = new_settings(database_url=conninfo, embedding={"model": str(folder)}, sync={"workers": 2})
    return small_library(tmp_path, conninfo, settings)


def active_space(conninfo: str) -> Space:
    with connect(conninfo) as connection:
        generation = generations.active_generation(connection)
    assert generation is not None
    return generation.space


def stored_vectors(library: Library) -> dict[str, np.ndarray]:
    rows = library.rows(
        "select c.content, v.embedding::text from {vectors} v join chunks c on c.id = v.chunk_id"
    )
    return {content: np.array(text.strip("[]").split(","), dtype=float) for content, text in rows}


def test_documents_and_questions_are_embedded_as_the_files_say(with_model: Library, folder: Path) -> None:
    report = with_model.sync()
    name, width = transformer_space(str(folder))
    space = active_space(with_model.conninfo)
    assert (report.status, report.notes, space.model, space.dimensions) == ("complete", [], name, width)
    assert (space.query_prefix, space.document_prefix) == ("query ", "passage ")
    assert report.space == f"transformers/model@{name.rpartition('@')[2]}/{width}"
    with_model.check()
    model = transformer_model(name, width)
    for content, vector in stored_vectors(with_model).items():
        assert model.embed([f"passage {content}"]).vectors[0] @ vector == pytest.approx(1, abs=1e-3)
    with running_api(with_model.settings, with_model.conninfo) as client:
        answer = client.post("/search", json={"query": "the cat", "mode": "vector"}).json()
    asked = model.embed(["query the cat"]).vectors[0]
    vectors = stored_vectors(with_model)
    for result in answer["results"]:
        assert result["similarity"] == pytest.approx(asked @ vectors[result["content"]], abs=1e-3)
    assert with_model.sync().chunks.embedded == 0


def test_prefixes_of_the_settings_win_even_empty_ones(
    tmp_path: Path, conninfo: str, new_settings: Callable[..., Settings], folder: Path
) -> None:
    embedding = {"model": str(folder), "query_prefix": "q: ", "document_prefix": ""}
    library = small_library(tmp_path, conninfo, new_settings(database_url=conninfo, embedding=embedding))
    library.sync()
    space = active_space(conninfo)
    assert (space.query_prefix, space.document_prefix) == ("q: ", "")


def test_chunks_that_are_longer_than_the_model_reads_are_told_of(
    tmp_path: Path, conninfo: str, new_settings: Callable[..., Settings]
) -> None:
    short = tiny.embedding_folder(tmp_path / "m", files={"sentence_bert_config.json": {"max_seq_length": 40}})
    settings = new_settings(database_url=conninfo, embedding={"model": str(short)})
    (note,) = small_library(tmp_path, conninfo, settings).sync().notes
    assert "reads 40 tokens of a text, and chunks have up to 512" in note


def test_other_weights_in_the_folder_stop_a_sync_and_reembed_moves_to_them(
    with_model: Library, folder: Path
) -> None:
    with_model.sync()
    before = active_space(with_model.conninfo)
    tiny.embedding_folder(folder, seed=2, files=PROMPTS)
    with_model.write("new.md", "# Of a whale\n\nThe whale is new.\n")
    with pytest.raises(FailedError, match="has other weights"):
        with_model.sync()
    assert run_reembed(with_model.settings, with_model.conninfo, Options(), force=True).status == "complete"
    after = active_space(with_model.conninfo)
    assert before.model.rpartition("@")[0] == after.model.rpartition("@")[0]
    assert before.model != after.model
    assert with_model.sync().status == "complete"
    with_model.check()


def test_workers_embed_the_same_as_one(
    tmp_path: Path,
    new_database: Callable[[], AbstractContextManager[str]],
    new_settings: Callable[..., Settings],
    folder: Path,
) -> None:
    """Enough text for processes of their own to be started."""
    root = tmp_path / "library"
    kept = []
    for workers in (1, 2):
        with new_database() as conninfo:
            settings = new_settings(
                database_url=conninfo, embedding={"model": str(folder)}, sync={"workers": workers}
            )
            library = Library(root, conninfo, settings)
            if workers == 1:
                for number in range(4):
                    text = f"# Part {number}\n\n" + f"The whale of {number} and the violin.\n\n" * 9000
                    library.write(f"{number}.md", text)
            report = library.sync()
            assert (report.status, bool(report.as_json().get("workers"))) == ("complete", workers > 1)
            kept.append(stored_vectors(library))
    assert kept[0].keys() == kept[1].keys()
    assert all(kept[0][content] @ vector > 0.999 for content, vector in kept[1].items())


class ThreadsJob:
    """Tells how many threads a process may start for a network."""

    slots = 1

    @contextmanager
    def open(self) -> Iterator[ThreadsJob]:
        yield self

    def weight(self, item: int) -> int:
        return item

    def parts(self, item: int) -> list[int]:
        del item
        return []

    def give_up(self, item: int) -> int:
        raise AssertionError(item)

    def __call__(self, item: int) -> int:
        return item * allowed_threads()

    def stop(self) -> None: ...


@pytest.mark.parametrize("processes", [1, 2])
def test_processes_have_their_share_of_the_cores(processes: int) -> None:
    with closing(ProcessExecutor(processes, ())) as executor:
        (done,) = executor.run(ThreadsJob(), [1])
    assert done.result == max(cores() // processes, 1)


def test_a_name_that_is_no_folder_is_a_sentence(
    tmp_path: Path, conninfo: str, new_settings: Callable[..., Settings]
) -> None:
    embedding = {"provider": "transformers", "model": str(tmp_path / "nowhere")}
    library = small_library(tmp_path, conninfo, new_settings(database_url=conninfo, embedding=embedding))
    with pytest.raises(FailedError, match="PGFOLIO_EMBEDDING__MODEL: there is no folder"):
        library.sync()
