"""`verify` embeds a sample anew where the model is in the process: it says when that makes other vectors by now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from psycopg import sql

from pgfolio.flows.integrity.repair import run_repair
from pgfolio.flows.integrity.verify import run_verify
from pgfolio.schema.database.connect import connect
from pgfolio.schema.vectors import generations
from tests.fakes import tiny_transformers as tiny
from tests.flows.library import Library

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pgfolio.config.settings import Settings

SUBJECTS = ("whale", "volcano", "glacier", "violin")


@pytest.fixture
def made(tmp_path: Path, conninfo: str, new_settings: Callable[..., Settings]) -> Callable[..., Library]:
    """A library of the bundled model, or of a tiny transformer that stands in the folder `model`."""

    def make(model: str, **settings: Any) -> Library:
        embedding = {"model": str(tiny.embedding_folder(tmp_path / "model"))} if model == "tiny" else {}
        own_settings = new_settings(database_url=conninfo, embedding=embedding, **settings)
        library = Library(tmp_path / "library", conninfo, own_settings)
        for subject in SUBJECTS:
            library.write(f"{subject}.md", f"# The {subject}\n\nOf the {subject} and of the lantern.\n")
        assert library.sync().status == "complete"
        return library

    return make


def as_others_would(library: Library, where: str = "true") -> None:
    """Every other number of the vectors with its sign changed."""
    with connect(library.conninfo) as connection:
        generation = generations.active_generation(connection)
        assert generation is not None
        connection.execute("set session_replication_role = replica")
        connection.execute(
            sql.SQL(
                "update {vectors} set embedding = (select array_agg(case n % 2 when 0 then -x else x end order by n)"
                "::{kind} from unnest(embedding::vector::real[]) with ordinality as t (x, n)) "
                "where chunk_id in (select c.id from chunks c join documents d on d.id = c.document_id where {where})"
            ).format(
                vectors=sql.Identifier(generation.table),
                kind=sql.SQL("vector" if generation.space.storage == "vector" else "halfvec"),
                where=sql.SQL(where),
            )
        )


@pytest.mark.parametrize("model", ["bundled", "tiny"])
@pytest.mark.parametrize("storage", ["halfvec", "vector"])
def test_vectors_of_another_model_are_noticed_and_made_anew(
    made: Callable[..., Library], model: str, storage: str
) -> None:
    library = made(model, index={"storage": storage})
    well = run_verify(library.conninfo, library.settings)
    assert (dict(well.counts), well.checked["reembedded"]) == ({}, len(SUBJECTS))
    before = library.rows("select chunk_id, embedding::text from {vectors} order by 1")

    as_others_would(library, "d.path = 'whale.md'")
    result = run_verify(library.conninfo, library.settings)
    assert dict(result.counts) == {"vector_outdated": 1}
    assert result.findings[0].path == "whale.md"
    assert "makes another vector" in result.findings[0].reason

    as_others_would(library, "d.path <> 'whale.md'")
    repaired = run_repair(library.settings, library.conninfo)
    assert (dict(repaired.counts), repaired.unresolved) == ({}, [])
    assert repaired.repaired == {"vector_outdated": len(SUBJECTS)}
    assert library.rows("select chunk_id, embedding::text from {vectors} order by 1") == before


def test_kept_vectors_of_that_model_are_not_used_for_the_repair(made: Callable[..., Library]) -> None:
    library = made("tiny")
    before = library.rows("select chunk_id, embedding::text from {vectors} order by 1")
    as_others_would(library)
    with connect(library.conninfo) as connection:
        generation = generations.active_generation(connection)
        assert generation is not None
        connection.execute(
            sql.SQL(
                "insert into retained_vectors (space_id, hash, embedding) select g.space_id, c.hash, v.embedding "
                "from generations g, chunks c join {} v on v.chunk_id = c.id"
            ).format(sql.Identifier(generation.table))
        )
    assert run_repair(library.settings, library.conninfo).embedded == len(SUBJECTS)
    assert library.rows("select chunk_id, embedding::text from {vectors} order by 1") == before


def test_what_is_wrong_with_a_text_is_not_said_of_its_vector(made: Callable[..., Library]) -> None:
    library = made("bundled")
    with connect(library.conninfo) as connection:
        connection.execute("update chunks set content = 'x' where id = (select min(id) from chunks)")
    result = run_verify(library.conninfo, library.settings)
    assert dict(result.counts) == {"chunk_text": 1}
    assert result.checked["reembedded"] == len(SUBJECTS) - 1


def test_other_weights_under_the_same_name_are_named(made: Callable[..., Library], tmp_path: Path) -> None:
    library = made("tiny")
    tiny.embedding_folder(tmp_path / "model", seed=2)
    result = run_verify(library.conninfo, library.settings)
    assert dict(result.counts) == {"model_unusable": 1}
    assert "has other weights" in result.findings[0].reason
    vectors = library.rows("select embedding::text from {vectors}")
    repaired = run_repair(library.settings, library.conninfo)
    assert dict(repaired.counts) == {"model_unusable": 1}
    assert library.rows("select embedding::text from {vectors}") == vectors


def test_a_model_behind_a_server_is_not_asked(
    made: Callable[..., Library], new_settings: Callable[..., Settings]
) -> None:
    library = made("bundled")
    with connect(library.conninfo) as connection:
        connection.execute("update spaces set provider = 'openai', model = 'any'")
    result = run_verify(library.conninfo, library.settings)
    assert "reembedded" not in result.checked
