"""The postings of chunks' lexemes: an index that search reads and that holds nothing of its own.

Postings stand in segments, each a range of chunk ids that is written once. New chunks make a segment of their own,
which takes in the newer ones that are not much larger: few segments, and a chunk is written again only a few times.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg

from pgfolio.schema.database import locks
from pgfolio.schema.database.statements import fetch_one, statement

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pgfolio.schema.database.connect import Connection

MIN_CHUNKS = 10_000
"""Chunks from which on there are postings. In a smaller corpus words are counted for each question, so that scores do
not depend on its history, and looking into chunks takes no longer."""

SEGMENT_CHUNKS = 131_072
"""Of one segment at most: six seconds of writing."""

MERGE_FACTOR = 4
"""A segment is merged into a newer one that has at least this part of its chunks."""

MAX_DEAD_FRACTION = 0.1
"""Part of its chunks that were deleted from which on a segment is built anew: until then they count in df."""

LOCK_TIMEOUT = "3s"
"""Only writers wait meanwhile, and the lock is the only one of its transaction. An autovacuum of the documents, which
takes minutes after a large load, gives way to who has waited for PostgreSQL's deadlock_timeout, a second."""

LOCK_ATTEMPTS = 4


@dataclass(frozen=True, slots=True)
class PostingSegment:
    """`chunks` when it was written, `live` of them now."""

    id: int
    first: int
    last: int
    chunks: int
    live: int


@dataclass(frozen=True, slots=True)
class SegmentBuild:
    """A segment to be written for chunks between two ids, in place of those `replaced`."""

    first: int
    last: int
    replaced: tuple[int, ...] = ()


def update(connection: Connection, min_chunks: int = MIN_CHUNKS) -> None:
    """Write what is missing and renew what is stale; in transactions of its own, each of which leaves postings whole.
    Does nothing while another session does it, or where writers do not pause: then the next sync does."""
    with locks.session_lock(connection, *locks.POSTINGS) as is_free:
        if not is_free:
            return
        newest = locks.with_lock_retries(lambda: _newest_settled_chunk(connection), LOCK_ATTEMPTS)
        if newest is None:
            return
        segments = [PostingSegment(*row) for row in connection.execute(statement("list_posting_segments"))]
        unposted = _count(connection, segments[-1].last if segments else 0, newest)
        if sum(segment.live for segment in segments) + unposted < min_chunks:
            if segments:
                connection.execute(statement("forget_postings"))
            connection.commit()
            return
        connection.commit()
        for build in stale(segments):
            _build(connection, build)
        segments = [PostingSegment(*row) for row in connection.execute(statement("list_posting_segments"))]
        connection.commit()
        for build in _new(connection, segments, newest):
            _build(connection, build)


def stale(segments: Sequence[PostingSegment]) -> list[SegmentBuild]:
    """Of which too many chunks are gone. One takes in the older neighbour if that is not much larger: else a corpus
    that changes would come to have ever more and ever smaller ones."""
    builds: list[SegmentBuild] = []
    for before, segment in zip([None, *segments], segments, strict=False):
        if segment.chunks - segment.live <= MAX_DEAD_FRACTION * segment.chunks:
            continue
        replaced = {each for build in builds for each in build.replaced}
        if before is not None and before.id not in replaced and _fits(before, segment.live):
            builds.append(SegmentBuild(before.first, segment.last, (before.id, segment.id)))
        else:
            builds.append(SegmentBuild(segment.first, segment.last, (segment.id,)))
    return builds


def merged(segments: Sequence[PostingSegment], unposted: int) -> Sequence[PostingSegment]:
    """The newest segments that so many new chunks take in."""
    count, at = unposted, len(segments)
    while at and _fits(segments[at - 1], count):
        at -= 1
        count += segments[at].live
    return segments[at:]


def _fits(older: PostingSegment, count: int) -> bool:
    """Whether so many chunks can take in an older segment and are worth writing it again."""
    return older.live <= MERGE_FACTOR * count and older.live + count <= SEGMENT_CHUNKS


def _new(connection: Connection, segments: Sequence[PostingSegment], newest: int) -> Iterator[SegmentBuild]:
    """What makes postings of all chunks up to the newest."""
    after = segments[-1].last if segments else 0
    unposted = _count(connection, after, newest)
    taken = merged(segments, unposted) if unposted else ()
    if taken:
        yield SegmentBuild(taken[0].first, newest, tuple(segment.id for segment in taken))
        return
    while unposted > 0:
        values = {"after": after, "last": newest, "limit": SEGMENT_CHUNKS}
        last, count = fetch_one(connection, "next_chunks", values)
        if not count:
            return
        unposted -= count
        last = last if unposted > 0 else newest
        yield SegmentBuild(after + 1, last)
        after = last


def _count(connection: Connection, after: int, last: int) -> int:
    return int(fetch_one(connection, "next_chunks", {"after": after, "last": last, "limit": None})[1])


def _newest_settled_chunk(connection: Connection) -> int:
    """An id up to which no chunk will come any more: a transaction that has reserved ids has ended."""
    with _transaction(connection):
        connection.execute(statement("limit_lock_wait"), {"timeout": LOCK_TIMEOUT})
        connection.execute(statement("lock_document_writes"))
        return int(fetch_one(connection, "newest_chunk")[0])


def _build(connection: Connection, build: SegmentBuild) -> None:
    with _transaction(connection, psycopg.IsolationLevel.REPEATABLE_READ):  # slots are counted twice
        connection.execute(statement("grant_posting_memory"))
        for name in ("drop_posting_lists", "drop_posting_segments"):
            connection.execute(statement(name), {"ids": list(build.replaced)})
        ends = {"first": build.first, "last": build.last}
        row = connection.execute(statement("create_posting_segment"), ends).fetchone()
        if row is not None:  # else all of these chunks are gone
            connection.execute(statement("create_posting_lists"), {**ends, "segment": row[0]})


@contextmanager
def _transaction(connection: Connection, isolation: psycopg.IsolationLevel | None = None) -> Iterator[None]:
    """One of its own, committed."""
    connection.commit()
    connection.isolation_level = isolation
    try:
        with connection.transaction():
            yield
    finally:
        connection.isolation_level = None
