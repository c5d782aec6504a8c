"""Postings answer what looking into each chunk does, whatever became of the chunks since they were written."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import psycopg
import pytest

from pgfolio.schema.corpus import postings, statistics, word_statistics
from pgfolio.schema.corpus.postings import SEGMENT_CHUNKS, PostingSegment, SegmentBuild, merged, stale
from pgfolio.schema.database import locks
from pgfolio.schema.database.connect import connect
from pgfolio.schema.integrity.repair import repair_chunk_contents
from pgfolio.schema.search.access import EVERYTHING
from pgfolio.schema.search.lexical import rank_words
from pgfolio.schema.search.pool import in_snapshot, open_pool
from pgfolio.schema.search.question import Question, Scored
from pgfolio.schema.search.vector import HAS_POSTINGS, active_generation
from pgfolio.schema.vectors import generations
from tests.flows.library import Library
from tests.query_api.retrieval.test_lexical import PAGES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from pgfolio.config.settings import Settings
    from pgfolio.schema.database.connect import AsyncConnection

QUESTIONS = (
    "how are tasks retried when failing",
    "Haus auf Hügeln, wiederholte Aufgaben und Ansprechperson",
    "brak odpowiedzi po połączeniu przez sieć",
    "任务失败了怎么重试",
    "水",
    "what does PREFECT_API_URL do, and ERR-1042?",
    "annual report 2023",
    "office/annual_report_2023.txt",
    "retry retry retry policy policies of the retry",
    "nothing of this: xyzzy",
    "the",
    "?",
)


@pytest.fixture
def library(
    tmp_path: Path,
    new_database: Callable[[], AbstractContextManager[str]],
    new_settings: Callable[..., Settings],
) -> Iterator[Library]:
    with new_database() as conninfo:
        made = Library(tmp_path, conninfo, new_settings(database_url=conninfo))
        for path, text in PAGES.items():
            made.write(path, text)
        made.sync()
        yield made


def update(library: Library, min_chunks: int = 1) -> None:
    with connect(library.conninfo) as connection:
        postings.update(connection, min_chunks)


def segments(library: Library) -> list[tuple[int, int]]:
    """The number of chunks of each, and of its different lexemes."""
    return library.rows(
        "select s.chunks, (select count(*) from posting_lists l where l.segment_id = s.id)::integer "
        "from posting_segments s order by first_chunk"
    )


def ranked(library: Library, question: str, limit: int = 50, *, by_postings: bool) -> list[Scored]:
    """With none of the nearest beside them."""

    async def rank(connection: AsyncConnection) -> list[Scored]:
        generation = await active_generation(connection)
        assert generation is not None
        HAS_POSTINGS[connection] = by_postings
        vector = np.ones(generation.space.dimensions, np.float32)
        found = await rank_words(
            connection, generation, Question(question), vector, limit, EVERYTHING, in_vector_arm=()
        )
        assert HAS_POSTINGS[connection]
        return found

    async def open_and_rank() -> list[Scored]:
        async with open_pool(library.conninfo, 1, 40) as pool:
            return await in_snapshot(pool, rank)

    return asyncio.run(open_and_rank())


def rounded(scored: list[Scored]) -> list[tuple[Any, ...]]:
    return [
        (s.chunk_id, round(s.similarity, 5), round(s.bm25, 4), round(s.exact_match, 4), round(s.max_bm25, 4))
        for s in scored
    ]


def add(library: Library, count: int) -> None:
    """New chunks of the first documents, with more words."""
    with connect(library.conninfo) as connection:
        connection.execute(
            "insert into chunks"
            " (document_id, collection_id, ordinal, content, heading, start_at, end_at, tokens, hash, language)"
            " select document_id, collection_id, ordinal + (select count(*) from chunks),"
            " content || ' retry houses budget', heading, 0, 1, tokens + 9, hash, language"
            " from chunks order by id limit %s",
            [count],
        )


@pytest.fixture(scope="module")
def posted(
    tmp_path_factory: pytest.TempPathFactory,
    new_database: Callable[[], AbstractContextManager[str]],
    new_settings: Callable[..., Settings],
) -> Iterator[Library]:
    """Chunks in two segments, and in none."""
    with new_database() as conninfo:
        made = Library(tmp_path_factory.mktemp("pages"), conninfo, new_settings(database_url=conninfo))
        for path, text in PAGES.items():
            made.write(path, text)
        made.sync()
        update(made)
        add(made, 2)
        update(made)
        add(made, 3)
        with connect(conninfo) as connection:
            generation = generations.active_generation(connection)
            assert generation is not None
            statistics.analyze(connection, generation)
        yield made


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("limit", [3, 50])
def test_all_are_ranked_as_by_looking_into_each_chunk(posted: Library, question: str, limit: int) -> None:
    assert rounded(ranked(posted, question, limit, by_postings=True)) == rounded(
        ranked(posted, question, limit, by_postings=False)
    )


def test_deleted_chunks_are_not_found(library: Library) -> None:
    update(library)
    before = [s.chunk_id for s in ranked(library, "policy", by_postings=True)]
    with connect(library.conninfo) as connection:
        connection.execute("delete from chunks where id = %s", [before[0]])
    assert [s.chunk_id for s in ranked(library, "policy", by_postings=True)] == before[1:]


def test_new_chunks_are_found_before_and_after_they_are_in_a_segment(library: Library) -> None:
    update(library)
    add(library, 1)
    newest = library.rows("select max(id) from chunks")[0][0]
    assert newest in {s.chunk_id for s in ranked(library, "budget", by_postings=True)}
    before = segments(library)
    update(library)
    assert len(segments(library)) == len(before) + 1
    assert newest in {s.chunk_id for s in ranked(library, "budget", by_postings=True)}


def test_a_small_corpus_has_none(library: Library) -> None:
    update(library)
    assert segments(library)
    library.write("en/more.md", "One page more.\n")
    library.sync()
    assert not segments(library)
    assert library.rows("select count(*) from posting_lists") == [(0,)]


def test_a_segment_is_written_anew_when_many_of_its_chunks_are_gone(library: Library) -> None:
    update(library)
    [(chunks, _)] = segments(library)
    with connect(library.conninfo) as connection:
        connection.execute("delete from chunks where id in (select id from chunks order by id limit 3)")
    update(library)
    assert [count for count, _ in segments(library)] == [chunks - 3]
    assert library.rows(
        "select count(*) from posting_lists where segment_id <> (select id from posting_segments)"
    ) == [(0,)]


def test_a_segment_whose_chunks_are_all_gone_goes_alone(library: Library) -> None:
    update(library)
    before = library.rows("select id from posting_segments")
    add(library, 1)
    update(library)
    with connect(library.conninfo) as connection:
        connection.execute("delete from chunks where id = (select max(id) from chunks)")
    update(library)
    assert library.rows("select id from posting_segments") == before


def test_repaired_chunks_are_no_longer_searched_by_their_old_words(library: Library) -> None:
    update(library)
    with connect(library.conninfo) as connection:
        repair_chunk_contents(connection, {1: "Something else: aardvarks."})
    assert not segments(library)


def test_a_build_that_is_ended_leaves_what_was_there(library: Library) -> None:
    update(library)
    before = segments(library)
    add(library, 9)
    with connect(library.conninfo) as connection:
        connection.execute("create function fail() returns trigger language plpgsql as 'begin raise; end'")
        connection.execute("create trigger fail before insert on posting_lists execute function fail()")
        connection.commit()
        with pytest.raises(psycopg.Error):
            postings.update(connection, 1)
    assert segments(library) == before


def test_ids_that_are_reserved_and_not_yet_stored_are_waited_for(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their chunks come later, and below ids that are there already."""
    monkeypatch.setattr(postings, "LOCK_TIMEOUT", "200ms")
    with connect(library.conninfo) as writer:
        writer.execute("update documents set mime = mime")
        writer.execute("select nextval('chunks_id_seq')")
        add(library, 1)
        update(library)
        assert not segments(library)
        writer.commit()
    update(library)
    assert segments(library)


def test_a_vacuum_of_the_documents_is_waited_for_until_it_gives_way(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which an autovacuum does for whoever has waited for deadlock_timeout; here a lock like its own is let go of."""
    monkeypatch.setattr(postings, "LOCK_ATTEMPTS", 1)
    with connect(library.conninfo) as vacuum:
        vacuum.execute("lock table documents in share update exclusive mode")
        timer = threading.Timer(1.5, vacuum.rollback)
        timer.start()
        update(library)
        timer.join()
    assert segments(library)


def test_one_writes_at_a_time(library: Library) -> None:
    with (
        connect(library.conninfo) as other,
        locks.session_lock(other, *locks.POSTINGS) as is_free,
    ):
        assert is_free
        update(library)
        assert not segments(library)


def test_a_large_corpus_without_postings_is_to_be_indexed(library: Library) -> None:
    """As after an upgrade."""
    with connect(library.conninfo) as connection:
        assert word_statistics.are_counted(connection)
        connection.execute("update corpus set chunks = 10000")
        assert not word_statistics.are_counted(connection)
        postings.update(connection, 1)
        assert word_statistics.are_counted(connection)


def of(*sizes: int, live: float = 1) -> list[PostingSegment]:
    """One after the other, ids from 1."""
    ends = [sum(sizes[: n + 1]) for n in range(len(sizes))]
    return [
        PostingSegment(n, end - size + 1, end, size, round(size * live))
        for n, (size, end) in enumerate(zip(sizes, ends, strict=True), 1)
    ]


@pytest.mark.parametrize(
    ("sizes", "unposted", "taken"),
    [
        ((), 10, []),
        ((100,), 10, []),
        ((40,), 10, [1]),
        ((1000, 40), 10, [2]),
        ((200, 40), 10, [1, 2]),
        ((SEGMENT_CHUNKS,), SEGMENT_CHUNKS, []),
    ],
)
def test_new_chunks_take_in_what_is_not_much_larger(
    sizes: tuple[int, ...], unposted: int, taken: list[int]
) -> None:
    assert [segment.id for segment in merged(of(*sizes), unposted)] == taken


def test_a_stale_segment_takes_in_an_older_neighbour_that_is_not_much_larger() -> None:
    fresh, dead = of(100, 100), of(100, 100, live=0.5)
    assert stale(fresh) == []
    assert stale([fresh[0], dead[1]]) == [SegmentBuild(1, 200, (1, 2))]
    assert stale([fresh[0], *of(100, 10, live=0.5)[1:]]) == [SegmentBuild(101, 110, (2,))]
    assert stale([dead[0], fresh[1]]) == [SegmentBuild(1, 100, (1,))]
    assert stale(of(SEGMENT_CHUNKS, SEGMENT_CHUNKS, live=0.8)) == [
        SegmentBuild(1, SEGMENT_CHUNKS, (1,)),
        SegmentBuild(SEGMENT_CHUNKS + 1, 2 * SEGMENT_CHUNKS, (2,)),
    ]
