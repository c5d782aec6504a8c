"""Large loads go beside the live index: readers see all of it all the time, with an index over each part."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import numpy as np
import pytest
from pgvector import HalfVector
from psycopg import sql

from config.models.local import LocalModel
from flows.verify import run_verify
from schema import index, segments, sources, vectors
from schema.connect import connect
from tests.flows.library import Library, long_document

if TYPE_CHECKING:
    from schema.connect import Connection
    from schema.records import Generation

WORDS = "amber basalt cedar delta ember fjord grove heron inlet juniper kelp lagoon".split()  # noqa: SIM905


def grow(library: Library, name: str, files: int) -> None:
    chosen = random.Random(name)
    for n in range(files):
        pages = (f"## Part {i}\n\n{' '.join(chosen.choices(WORDS, k=300))}." for i in range(12))
        library.write(f"{name}/{n:03}.md", "\n\n".join(pages))


def members(library: Library) -> list[tuple[int, int, bool]]:
    """(number, vectors, indexed) of each segment."""
    with connect(library.conninfo) as connection:
        return [
            (member.segment, segments.size(connection, member), index.is_valid(connection, member))
            for member in segments.members(connection, active(connection))
        ]


def active(connection: Connection) -> Generation:
    found = vectors.active_generation(connection)
    assert found is not None
    return found


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
        asked = (
            LocalModel().embed([" ".join(random.Random(n).choices(WORDS, k=9)) for n in range(50)]).vectors
        )
        for vector in asked:
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
    found = members(grown)
    assert len([size for _, size, _ in found if size]) <= 2
    assert all(indexed for _, size, indexed in found if size)
    assert recall(grown) > 0.95
    grown.check()
    assert run_verify(grown.conninfo).complete
    grown.write("later.md", long_document(2))
    assert grown.sync().status == "complete"
    grown.check()


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
