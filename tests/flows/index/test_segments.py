"""Large loads go beside the live index: readers see all of it all the time, with an index over each part."""

from __future__ import annotations

import random
import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest
from pgvector import HalfVector
from psycopg import sql

from pgfolio.config.models.wordllama import LocalModel
from pgfolio.flows.index import build, maintenance
from pgfolio.flows.ingest.pipeline import SyncRun
from pgfolio.flows.integrity.verify import run_verify
from pgfolio.flows.run.options import Options
from pgfolio.schema.corpus import sources
from pgfolio.schema.database.connect import connect
from pgfolio.schema.vectors import generations, hnsw, segments
from tests.flows.library import Library, long_document

if TYPE_CHECKING:
    from pgfolio.schema.database.connect import Connection
    from pgfolio.schema.records import Generation

WORDS = "amber basalt cedar delta ember fjord grove heron inlet juniper kelp lagoon".split()  # noqa: SIM905


def grow(library: Library, name: str, files: int) -> None:
    """Files so many that they get a segment of their own, whatever a busy machine has measured until now."""
    with connect(library.conninfo) as connection:
        connection.execute("delete from index_costs")
    rng = random.Random(name)
    for n in range(files):
        pages = (f"## Part {i}\n\n{' '.join(rng.choices(WORDS, k=300))}." for i in range(12))
        library.write(f"{name}/{n:03}.md", "\n\n".join(pages))


def members(library: Library) -> list[tuple[int, int, bool]]:
    """(number, vectors, indexed) of each segment."""
    with connect(library.conninfo) as connection:
        return [
            (member.segment, segments.size(connection, member), hnsw.is_valid(connection, member))
            for member in segments.members(connection, active(connection))
        ]


def active(connection: Connection) -> Generation:
    generation = generations.active_generation(connection)
    assert generation is not None
    return generation


def recall(library: Library) -> float:
    """Of the ten nearest to each of 50 stored texts, by the statement that searches use, against comparing all."""
    with connect(library.conninfo) as connection:
        table = sql.Identifier(active(connection).table)
        rows = connection.execute(
            sql.SQL("select chunk_id, embedding from {} order by chunk_id").format(table)
        ).fetchall()
        stored = np.array([row[1].to_numpy().astype(np.float32) for row in rows])
        ids = np.array([row[0] for row in rows])
        connection.execute("set enable_seqscan = off")
        connection.execute("set hnsw.ef_search = 100")
        nearest = sql.SQL("select chunk_id from {} order by embedding <=> %s limit 10").format(table)
        hits = 0
        queries = (
            LocalModel().embed([" ".join(random.Random(n).choices(WORDS, k=9)) for n in range(50)]).vectors
        )
        for vector in queries:
            exact = set(ids[np.argsort(-(stored @ vector))[:10]].tolist())
            hits += len(exact & {row[0] for row in connection.execute(nearest, [HalfVector(vector)])})
        return hits / 500


@pytest.fixture
def grown(library: Library) -> Library:
    grow(library, "first", 20)
    library.sync()
    return library


def test_the_first_load_needs_no_segment(grown: Library) -> None:
    assert [(number, indexed) for number, _, indexed in members(grown)] == [(0, True)]


def test_a_small_change_goes_through_the_live_index(grown: Library) -> None:
    before = members(grown)[0][1]
    grown.write("small.md", long_document(3))
    grown.sync()
    ((_, after, _),) = members(grown)
    assert after > before


def test_a_large_load_gets_a_segment_with_its_own_index(grown: Library) -> None:
    grow(grown, "second", 60)
    report = grown.sync()
    assert report.index["way"] == "build"
    assert [(number, indexed) for number, _, indexed in members(grown)] == [(0, True), (1, True)]
    assert recall(grown) > 0.95
    grown.check()
    assert run_verify(grown.conninfo).complete


def test_deleted_documents_leave_every_segment(grown: Library) -> None:
    grow(grown, "second", 60)
    grown.sync()
    for n in range(60):
        (grown.root / "second" / f"{n:03}.md").unlink()
    grown.sync(approve_deletes=60)
    grown.check()
    assert [(number, size > 0) for number, size, _ in members(grown)] == [(0, True)]


def test_many_segments_are_merged_and_nothing_is_lost(grown: Library) -> None:
    for name in ("second", "third", "fourth", "fifth"):
        grow(grown, name, 45)
        grown.sync()
    segments_now = members(grown)
    assert len([size for _, size, _ in segments_now if size]) <= 2
    assert all(indexed for _, size, indexed in segments_now if size)
    assert recall(grown) > 0.95
    grown.check()
    assert run_verify(grown.conninfo).complete
    grown.write("later.md", long_document(2))
    assert grown.sync().status == "complete"
    grown.check()


@pytest.mark.long
def test_a_merge_waits_while_another_sync_writes(grown: Library) -> None:
    with connect(grown.conninfo) as connection:
        other = sources.ensure_source(connection, "/elsewhere", name="other")
        connection.commit()
        with sources.owned(connection, other):
            for name in ("second", "third", "fourth", "fifth"):
                grow(grown, name, 45)
                grown.sync()
    assert len([size for _, size, _ in members(grown) if size]) == 5
    grown.check()
    grown.write("later.md", long_document(2))
    grown.sync()
    assert len([size for _, size, _ in members(grown) if size]) <= 2
    grown.check()


def test_a_segment_that_a_killed_sync_left_without_index_gets_one(grown: Library) -> None:
    grow(grown, "second", 60)
    grown.sync()
    with connect(grown.conninfo) as connection:
        for member in segments.members(connection, active(connection)):
            if member.segment:
                connection.execute(sql.SQL("drop index {}").format(sql.Identifier(member.index)))
    assert run_verify(grown.conninfo).counts == {"index_missing": 1}
    grown.sync()
    assert all(indexed for _, _, indexed in members(grown))


def test_a_killed_merge_leaves_nothing_for_long(grown: Library) -> None:
    """It fills a table beside the others, which no search and no verify sees."""
    with connect(grown.conninfo) as connection:
        generation = active(connection)
        table = sql.Identifier(f"{generation.table}_s7")
        connection.execute(
            sql.SQL("create table {} (like {})").format(table, sql.Identifier(generation.table))
        )
        connection.commit()
        assert segments.leftovers(connection, generation) == [f"{generation.table}_s7"]
    grown.write("small.md", long_document(3))
    grown.sync()
    with connect(grown.conninfo) as connection:
        assert segments.leftovers(connection, active(connection)) == []
    grown.check()


def test_what_a_killed_merge_left_goes_with_its_generation(grown: Library) -> None:
    with connect(grown.conninfo) as connection:
        generation = generations.create_generation(connection, active(connection).space, "retired")
        connection.execute(
            sql.SQL("create table {} (like {})").format(
                sql.Identifier(f"{generation.table}_s2"), sql.Identifier(generation.table)
            )
        )
        assert generations.drop_generation(connection, generation)
        assert segments.leftovers(connection, generation) == []


def test_a_merge_that_is_written_to_meanwhile_leaves_everything_as_it_was(grown: Library) -> None:
    """A way back to this generation waits for nobody and gives chunks their vectors at any time."""
    grow(grown, "second", 60)
    grown.sync()
    before = members(grown)
    with connect(grown.conninfo) as connection, connect(grown.conninfo) as other:
        generation = active(connection)
        table = sql.Identifier(generation.table)
        connection.execute(
            sql.SQL("delete from {t} where chunk_id = (select min(chunk_id) from {t})").format(t=table)
        )
        connection.commit()
        other.execute(
            sql.SQL(
                "insert into {t} select id, collection_id, (select embedding from {t} limit 1) from chunks c "
                "where not exists (select from {t} v where v.chunk_id = c.id)"
            ).format(t=table)
        )
        written = threading.Timer(1.0, other.commit)
        written.start()
        assert segments.merge(connection, segments.members(connection, generation), 16, 64) is None
        written.join()
        assert segments.leftovers(connection, generation) == []
    assert members(grown) == before
    grown.check()


@pytest.mark.long
def test_many_deleted_rows_are_not_left_for_a_vacuum(grown: Library) -> None:
    """Vacuuming HNSW takes longer than building it; until then searches walk through what is gone."""
    grow(grown, "second", 100)
    grown.sync()
    with connect(grown.conninfo) as connection:
        before = {member.segment_table: oid for member, oid in tables(connection).items()}
    for n in range(60):
        (grown.root / "second" / f"{n:03}.md").unlink()
    report = grown.sync(approve_deletes=60)
    assert report.seconds["index"] > 0
    with connect(grown.conninfo) as connection:
        segments_now = tables(connection)
        assert {member.segment_table: oid for member, oid in segments_now.items()} != before
        assert all(segments.dead(connection, member) < 100 for member in segments_now)
        assert segments.unindexed(connection, active(connection)) == []
    assert recall(grown) > 0.95
    grown.check()


def tables(connection: Connection) -> dict[Generation, int]:
    """The segments that have vectors, with what PostgreSQL knows their tables by."""
    oids = {}
    for member in segments.members(connection, active(connection)):
        if segments.has_any(connection, member):
            row = connection.execute("select to_regclass(%s)::oid", [member.segment_table]).fetchone()
            assert row is not None
            oids[member] = row[0]
    return oids


def test_metadata_leaves_vectors_and_their_index_alone(library: Library) -> None:
    """Any other update of a vector's row would put it into HNSW once more."""
    for n in range(300):
        library.write(
            f"{n:03}.md", f"---\nstatus: draft\n---\n# Page {n}\n\nOf the river and of number {n}.\n"
        )
    library.sync()
    with connect(library.conninfo) as connection:
        generation = active(connection)
        before = touched(connection, generation)
    for n in range(300):
        library.write(
            f"{n:03}.md", f"---\nstatus: final\n---\n# Page {n}\n\nOf the river and of number {n}.\n"
        )
    report = library.sync()
    assert (report.documents.changed, report.chunks.embedded) == (300, 0)
    assert library.rows("select count(*) from documents where metadata ->> 'status' = 'final'") == [(300,)]
    with connect(library.conninfo) as connection:
        assert touched(connection, generation) == before


def touched(connection: Connection, generation: Generation) -> tuple[object, ...]:
    """What was ever written to the table of vectors, and the size of its index."""
    connection.execute("select pg_stat_force_next_flush()")
    connection.commit()
    row = connection.execute(
        "select n_tup_ins, n_tup_upd, n_tup_del, pg_relation_size(%s::regclass) from pg_stat_user_tables "
        "where relname = %s",
        [generation.index, generation.table],
    ).fetchone()
    assert row is not None
    return row


@pytest.mark.long
def test_statistics_keep_up_with_a_large_load(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    """A search that was planned for a small table took seconds until the end of the sync that made it large."""
    monkeypatch.setattr(maintenance, "MIN_CHUNKS_TO_ANALYZE", 100)
    library.sync()
    before = analyzed(library)
    grow(library, "large", files=120)  # several batches
    library.sync()
    assert analyzed(library) >= before + 3  # at over 100, at over three times as many, at the end


def analyzed(library: Library) -> int:
    ((times,),) = library.rows("select analyze_count from pg_stat_user_tables where relname = 'chunks'")
    return int(times)


@pytest.mark.long
def test_several_segments_get_their_indexes_at_the_same_time(grown: Library) -> None:
    for name in ("second", "third"):
        grow(grown, name, 60)
        grown.sync()
    run = SyncRun(grown.settings, grown.conninfo, Options())
    with connect(grown.conninfo) as connection:
        generation = active(connection)
        for member in segments.members(connection, generation):
            connection.execute(sql.SQL("drop index if exists {}").format(sql.Identifier(member.index)))
        connection.commit()
        lacking = segments.unindexed(connection, generation)
        parameters = build.parameters_of(run, connection, generation)
        build.build_all(run, connection, lacking, parameters, at_once=2)
    assert len(lacking) == 3
    assert all(indexed for _, size, indexed in members(grown) if size)
    assert run_verify(grown.conninfo).complete
