"""The sync's promises, on real files and a real Postgres, with the bundled model."""

from __future__ import annotations

import os
import random
import shutil
from string import ascii_lowercase
from typing import TYPE_CHECKING, Any

import pytest
from psycopg import sql

from pgfolio.flows.discovery.listing import MAX_PATH_BYTES
from pgfolio.flows.ingest.pipeline import run_sync
from pgfolio.flows.run.options import FailedError, Options
from pgfolio.schema.corpus import sources
from pgfolio.schema.corpus.sources import SourceBusyError
from pgfolio.schema.database.connect import connect
from pgfolio.schema.vectors import generations
from tests.flows.library import ANIMALS, PLANTS, Library, counts, long_document

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pgfolio.config.settings import Settings


def test_a_first_sync_stores_every_document_with_its_vectors(library: Library) -> None:
    report = library.sync()
    assert (report.status, counts(report)) == ("complete", {"added": 2})
    assert set(library.stored()) == {"animals.md", "garden/plants.md"}
    library.check()


def test_the_index_is_built_and_used(library: Library) -> None:
    library.sync()
    valid = library.rows(
        "select indisvalid from pg_index where indexrelid::regclass::text like 'vectors%hnsw'"
    )
    assert valid == [(True,)]


def test_an_index_that_a_killed_sync_did_not_build_is_built_by_the_next_one(library: Library) -> None:
    library.sync()
    with connect(library.conninfo) as connection:
        generation = generations.active_generation(connection)
        assert generation is not None
        connection.execute(sql.SQL("drop index {}").format(sql.Identifier(generation.index)))
    assert counts(library.sync()) == {"unchanged": 2}
    valid = library.rows(
        "select indisvalid from pg_index where indexrelid::regclass::text like 'vectors%hnsw'"
    )
    assert valid == [(True,)]


def test_when_all_of_a_source_was_gone_through_is_kept(library: Library) -> None:
    def at() -> Any:
        return library.rows("select synced_at from sources")[0][0]

    library.sync()
    first = at()
    library.sync()
    assert at() > first
    second = at()
    library.write("broken.pdf", b"%PDF-1.7 no more")
    assert library.sync().status == "partial"
    assert at() == second


def test_a_second_sync_writes_nothing(library: Library) -> None:
    library.sync()
    before = library.rows(
        "select xmin::text from documents union all select xmin::text from ledger order by 1"
    )
    report = library.sync()
    assert (counts(report), report.chunks.embedded, report.tokens) == ({"unchanged": 2}, 0, 0)
    after = library.rows(
        "select xmin::text from documents union all select xmin::text from ledger order by 1"
    )
    assert after == before


def test_touching_every_file_embeds_nothing(library: Library) -> None:
    library.sync()
    for file in library.root.rglob("*.md"):
        os.utime(file, ns=(1, 1))
    report = library.sync()
    assert (counts(report), report.chunks.embedded) == ({"unchanged": 2}, 0)
    assert counts(library.sync()) == {"unchanged": 2}


def test_one_changed_line_embeds_only_the_chunks_whose_text_changed(library: Library) -> None:
    text = long_document(20)
    library.write("long.md", text)
    library.sync()
    vectors = (
        "select c.hash, c.id from chunks c join documents d on d.id = c.document_id where d.path = 'long.md'"
    )
    before = dict(library.rows(vectors))
    library.write("long.md", text.replace("The stone number 10 is noted here.", "A new line stands here.", 1))
    report = library.sync()
    after = dict(library.rows(vectors))
    assert counts(report) == {"changed": 1, "unchanged": 2}
    assert report.chunks.embedded == len(set(after) - set(before))
    assert 1 <= report.chunks.embedded <= 3
    assert {k: v for k, v in after.items() if k in before} == {k: v for k, v in before.items() if k in after}
    library.check()


def test_a_renamed_file_is_moved_and_embeds_nothing(library: Library) -> None:
    library.sync()
    before = library.stored()
    (library.root / "animals.md").rename(library.root / "beasts.md")
    report = library.sync()
    assert (counts(report), report.chunks.embedded, report.tokens) == ({"moved": 1, "unchanged": 1}, 0, 0)
    assert library.stored()["beasts.md"] == before["animals.md"]
    library.check()


def test_a_moved_folder_embeds_nothing_and_keeps_the_ids(library: Library) -> None:
    library.write("garden/roses.md", "# Roses\n\nRoses have thorns.\n")
    library.sync()
    before = library.rows("select id from documents order by id")
    (library.root / "garden").rename(library.root / "park")
    report = library.sync()
    assert (counts(report), report.chunks.embedded) == ({"moved": 2, "unchanged": 1}, 0)
    assert library.rows("select id from documents order by id") == before
    library.check()


def test_a_deleted_file_is_gone_with_its_chunks_and_vectors(library: Library) -> None:
    library.sync()
    (library.root / "animals.md").unlink()
    report = library.sync()
    assert counts(report) == {"removed": 1, "unchanged": 1}
    assert set(library.stored()) == {"garden/plants.md"}
    library.check()


def test_the_same_text_in_two_files_is_two_documents_and_embedded_once(library: Library) -> None:
    library.sync()
    library.write("copy.md", ANIMALS)
    report = library.sync()
    assert (counts(report), report.chunks.embedded) == ({"added": 1, "unchanged": 2}, 0)
    assert library.stored()["copy.md"] == library.stored()["animals.md"]


def test_files_that_swap_their_names_keep_their_texts_apart(library: Library) -> None:
    library.sync()
    before = library.stored()
    (library.root / "animals.md").rename(library.root / "x")
    (library.root / "garden/plants.md").rename(library.root / "animals.md")
    (library.root / "x").rename(library.root / "garden/plants.md")
    report = library.sync()
    assert report.chunks.embedded == 0
    assert library.stored()["animals.md"] == before["garden/plants.md"]
    library.check()


def test_a_file_that_cannot_be_read_is_listed_and_stops_no_other(library: Library) -> None:
    library.write("a.pdf", b"%PDF-1.4 broken")
    report = library.sync()
    assert (report.status, counts(report)) == ("partial", {"added": 2, "failed": 1})
    assert [(p.path, p.stage) for p in report.problems] == [("a.pdf", "extract")]
    assert counts(library.sync()) == {"unchanged": 2, "failed": 1}


def deep_file(library: Library, length: int) -> str:
    """A file whose path has so many bytes, which compress badly."""
    letters = "".join(random.Random(1).choices(ascii_lowercase, k=length - 3))
    path = "/".join(letters[at : at + 200] for at in range(0, length, 201))[: length - 3] + ".md"
    library.write(path, "# Deep\n\nA page.\n")
    return path


def test_a_number_without_end_in_front_matter_stops_no_file(library: Library) -> None:
    library.write("a.md", "---\nb: 0x" + "f" * 4000 + "\n---\nA page.\n")
    report = library.sync()
    assert (report.status, counts(report)) == ("complete", {"added": 3})
    assert library.rows("select metadata->>'b' from documents where path = 'a.md'") == [("0x" + "f" * 4000,)]
    library.check()


def test_a_path_that_no_index_can_hold_is_listed_and_stops_no_other(library: Library) -> None:
    just, path = deep_file(library, MAX_PATH_BYTES), deep_file(library, 3400)
    report = library.sync()
    assert (report.status, counts(report)) == ("partial", {"added": 3})
    assert set(library.stored()) == {"animals.md", "garden/plants.md", just}
    assert [(p.path, p.stage) for p in report.problems] == [(path, "crawl")]
    assert "shorten" in report.problems[0].reason
    again = library.sync()
    assert (counts(again), [p.path for p in again.problems]) == ({"unchanged": 3}, [path])


def test_what_is_stored_under_a_path_that_is_too_long_now_is_kept_until_it_is_gone(library: Library) -> None:
    """Such as compress well fitted into the index."""
    library.sync()
    path = deep_file(library, 2600)
    with connect(library.conninfo) as connection:
        for table in ("documents", "ledger"):
            query = sql.SQL("update {} set path = %s where path = 'animals.md'")
            connection.execute(query.format(sql.Identifier(table)), [path])
    (library.root / "animals.md").unlink()
    report = library.sync(approve_deletes=100)
    assert (report.status, counts(report)) == ("partial", {"unchanged": 1, "held": 1})
    assert set(library.stored()) == {path, "garden/plants.md"}
    (library.root / path).unlink()
    assert counts(library.sync()) == {"removed": 1, "unchanged": 1}


def test_the_last_good_version_stays_when_a_file_turns_bad(library: Library) -> None:
    library.sync()
    before = library.stored()["animals.md"]
    library.write("animals.md", b"\x00\x01\x02" * 100)
    report = library.sync()
    assert (report.status, counts(report)) == ("partial", {"failed": 1, "unchanged": 1})
    assert library.stored()["animals.md"] == before
    library.write("animals.md", ANIMALS)
    assert library.sync().status == "complete"
    assert library.stored()["animals.md"] == before


def test_a_source_that_is_not_mounted_loses_nothing(library: Library) -> None:
    library.sync()
    library.root.rename(library.root.with_name("elsewhere"))
    with pytest.raises(FailedError, match="cannot list the source folder"):
        library.sync()
    assert len(library.stored()) == 2


def test_a_source_that_is_suddenly_empty_loses_nothing_until_approved(library: Library) -> None:
    library.sync()
    shutil.rmtree(library.root)
    library.root.mkdir()
    report = library.sync()
    assert (report.status, counts(report)) == ("partial", {"held": 2})
    assert "--approve-deletes 2" in report.problems[0].reason
    assert len(library.stored()) == 2
    assert counts(library.sync(approve_deletes=2)) == {"removed": 2}
    assert library.stored() == {}


def test_a_newly_ignored_file_is_removed(library: Library) -> None:
    library.write("keep.md", "# Keep\n\nThis stays.\n")
    library.sync()
    library.write(".gitignore", "animals.md\n")
    assert counts(library.sync()) == {"removed": 1, "unchanged": 2}


def test_a_plan_changes_nothing(library: Library) -> None:
    library.sync()
    library.write("new.md", "# New\n\nSomething new.\n")
    (library.root / "animals.md").unlink()
    runs = library.rows("select count(*) from runs")
    report = library.sync(plan_only=True)
    assert (report.status, counts(report)) == ("planned", {"added": 1, "removed": 1, "unchanged": 1})
    assert set(library.stored()) == {"animals.md", "garden/plants.md"}
    assert library.rows("select count(*) from runs") == runs


def test_another_chunk_size_makes_all_anew(library: Library) -> None:
    library.write("long.md", long_document(10))
    library.sync()
    before = len(library.stored()["long.md"])
    smaller = library.settings.chunking.model_copy(update={"tokens": 128, "overlap": 16})
    library.settings = library.settings.model_copy(update={"chunking": smaller})
    assert counts(library.sync())["changed"] == 3
    assert len(library.stored()["long.md"]) > before
    library.check()


def test_the_run_is_recorded_with_its_report(library: Library) -> None:
    report = library.sync()
    recorded = library.rows("select status, report, finished_at > started_at from runs")
    assert recorded == [("complete", report.as_record(), True)]
    assert report.as_json().items() <= report.as_record().items()


def test_two_syncs_of_one_source_do_not_run_at_once(library: Library) -> None:
    library.sync()
    with connect(library.conninfo) as connection:
        source = sources.list_sources(connection)[0]
        with sources.owned(connection, source), pytest.raises(FailedError, match="another sync") as caught:
            library.sync()
    assert isinstance(caught.value.__cause__, SourceBusyError)
    assert library.sync().status == "complete"


def test_two_sources_with_the_same_folder_name_are_distinguished(
    tmp_path: Path, library: Library, new_settings: Callable[..., Settings]
) -> None:
    other = tmp_path / "other" / "library"
    other.mkdir(parents=True)
    with connect(library.conninfo) as connection:
        first = sources.ensure_source(connection, str(library.root), name="library")
        second = sources.ensure_source(connection, str(other), name="library")
    assert (first.name, second.name) == ("library", "library-2")


def test_documents_go_where_their_source_goes(library: Library) -> None:
    """Who may see them goes by the collection: of documents, chunks and vectors, whatever else changed."""
    library.sync()
    library.write("animals.md", ANIMALS.replace("zebra", "tiger"))
    with connect(library.conninfo) as connection:
        source = sources.ensure_source(connection, str(library.root), name="library", collection="secret")
    report = run_sync(library.settings, library.conninfo, [source], Options())
    assert (report.status, report.chunks.embedded) == ("complete", 1)
    collections = library.rows(
        "select distinct collection_id from documents union all select distinct collection_id from chunks "
        "union all select distinct collection_id from {vectors}"
    )
    assert collections == [(source.collection_id,)] * 3
    library.check()


def test_a_home_inside_of_a_source_is_not_indexed(
    library: Library, new_settings: Callable[..., Settings]
) -> None:
    library.settings = new_settings(home=library.root / "my [home] #1")
    library.write("my [home] #1/postgres/postgresql.log", "This is a log of the database.\n")
    library.write("others/postgresql.log", "This is a log of another one.\n")
    library.sync()
    assert [path for path in library.stored() if path.endswith(".log")] == ["others/postgresql.log"]


def test_a_busy_source_keeps_no_other_from_its_sync(library: Library, tmp_path: Path) -> None:
    library.sync()
    other = Library(tmp_path / "other", library.conninfo, library.settings)
    other.write("new.md", PLANTS)
    with connect(library.conninfo) as connection:
        all_sources = [
            sources.ensure_source(connection, str(each.root), name=each.root.name)
            for each in (library, other)
        ]
        connection.commit()
        with sources.owned(connection, all_sources[0]):
            report = run_sync(library.settings, library.conninfo, all_sources, Options())
    assert (report.status, report.documents.added) == ("partial", 1)
    assert "is running" in report.problems[0].reason


def test_a_file_from_a_time_that_no_calendar_has_stops_no_sync(library: Library) -> None:
    try:
        os.utime(library.write("odd.md", "# Odd\n\nThis was written long ago.\n"), (-(10**11), -(10**11)))
    except OSError:
        pytest.skip("this file system has no such times")
    assert library.sync().status == "complete"
    assert "odd.md" in library.stored()
