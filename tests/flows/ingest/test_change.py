"""What makes a sync read a file, and what makes it embed: stat, content, processing fingerprint, and nothing else."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from pgfolio.flows.discovery.signature import racy
from pgfolio.schema.corpus import ledger, sources
from pgfolio.schema.database.connect import connect
from pgfolio.schema.records import Signature
from tests.flows.library import ANIMALS, Library, counts, long_document

if TYPE_CHECKING:
    from pathlib import Path

SECOND = 1_000_000_000
NOW = 1_700_000_000 * SECOND + 123_456_789


def same_size_and_time(file: Path, text: str) -> None:
    """Other bytes under the same size and mtime, as an editor or `rsync --times` can leave them."""
    before = file.stat()
    assert len(text.encode()) == before.st_size
    file.write_text(text)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize(
    ("age_ns", "whole_seconds", "expected"),
    [
        (0, False, True),
        (10_000_000, False, True),
        (30_000_000, False, False),
        (SECOND, False, False),
        (SECOND, True, True),
        (3 * SECOND, True, False),
        (-SECOND, False, True),
    ],
)
def test_a_signature_younger_than_the_clocks_grain_is_not_trusted(
    age_ns: int, *, whole_seconds: bool, expected: bool
) -> None:
    stamp = NOW - age_ns
    if whole_seconds:
        stamp -= stamp % SECOND
    assert racy(Signature(1, 1, 1, stamp - 5 * SECOND, stamp), NOW) == expected


def test_a_file_written_in_the_moment_of_its_sync_is_read_again(library: Library) -> None:
    """A time ahead of the clock stands for the moment itself, which no test can hit."""
    file = library.root / "animals.md"
    ahead = time.time_ns() + SECOND
    os.utime(file, ns=(ahead, ahead))
    library.sync()
    (stored,) = library.rows("select ctime_ns from ledger where path = 'animals.md'")
    assert stored == (-1,)
    same_size_and_time(file, ANIMALS.replace("zebra", "tiger"))
    assert counts(library.sync()) == {"changed": 1, "unchanged": 1}
    time.sleep(max(0, ahead - time.time_ns()) / SECOND)
    assert counts(library.sync()) == {"unchanged": 2}
    (stored,) = library.rows("select ctime_ns from ledger where path = 'animals.md'")
    assert stored == (file.stat().st_ctime_ns,)


def test_the_same_size_and_mtime_do_not_hide_a_change(library: Library) -> None:
    library.sync()
    same_size_and_time(library.root / "animals.md", ANIMALS.replace("zebra", "tiger"))
    assert counts(library.sync()) == {"changed": 1, "unchanged": 1}
    assert "tiger" in library.stored()["animals.md"][0][0]


def test_a_file_replaced_by_another_with_its_times_is_read(library: Library) -> None:
    library.sync()
    file = library.root / "animals.md"
    other = library.write("other.tmp", ANIMALS.replace("zebra", "tiger"))
    os.utime(other, ns=(file.stat().st_atime_ns, file.stat().st_mtime_ns))
    other.rename(file)
    assert counts(library.sync()) == {"changed": 1, "unchanged": 1}


def test_full_reads_what_no_stat_shows(library: Library) -> None:
    library.sync()
    file = library.root / "animals.md"
    file.write_text(ANIMALS.replace("zebra", "tiger"))
    library.sync()
    with connect(library.conninfo) as connection:  # as if the change had left no trace in the stat
        connection.execute("update ledger set content_hash = 'old' where path = 'animals.md'")
        source = sources.list_sources(connection)[0]
        before = ledger.load(connection, source)
    assert counts(library.sync()) == {"unchanged": 2}
    assert counts(library.sync(full=True)) == {"changed": 1, "unchanged": 1}
    with connect(library.conninfo) as connection:
        after = ledger.load(connection, source)
    assert before["animals.md"].content_hash == b"old"
    assert after["animals.md"].content_hash != b"old"


def test_a_file_with_unchanged_content_has_its_new_date(library: Library) -> None:
    library.sync()
    os.utime(library.root / "animals.md", (1_000_000_000, 1_000_000_000))
    assert counts(library.sync()) == {"unchanged": 2}
    assert library.rows(
        "select updated_at = to_timestamp(1000000000) from documents where path = 'animals.md'"
    ) == [(True,)]


def test_an_unchanged_folder_is_passed_by_and_a_changed_one_is_not(library: Library) -> None:
    library.sync()
    assert library.rows("select folder, digest is not null, files from folders order by 1") == [
        ("", True, 1),
        ("garden/", True, 1),
    ]
    library.write("garden/plants.md", "# Plants\n\nThe pine keeps its needles.\n")
    assert counts(library.sync()) == {"changed": 1, "unchanged": 1}
    library.check()


def test_whatever_writes_to_the_ledger_unsettles_its_folder(library: Library) -> None:
    library.sync()
    with connect(library.conninfo) as connection:
        connection.execute("update ledger set content_hash = 'lost', ctime_ns = 0 where path like 'garden/%'")
    assert library.rows("select folder from folders where digest is null") == [("garden/",)]
    assert counts(library.sync()) == {"unchanged": 1, "changed": 1}


def test_a_folder_that_went_is_forgotten(library: Library) -> None:
    library.sync()
    (library.root / "garden" / "plants.md").unlink()
    (library.root / "garden").rmdir()
    assert counts(library.sync()) == {"removed": 1, "unchanged": 1}
    assert library.rows("select folder from folders") == [("",)]


def test_a_failed_file_in_an_unchanged_folder_is_still_reported(library: Library) -> None:
    library.write("garden/bad.pdf", b"%PDF-1.4 nothing")
    assert counts(library.sync()) == {"added": 2, "failed": 1}
    assert library.rows("select count(*) from folders where digest is null") == [(0,)]
    report = library.sync()
    assert counts(report) == {"failed": 1, "unchanged": 2}
    assert [problem.path for problem in report.problems] == ["garden/bad.pdf"]


def test_a_file_in_an_unchanged_folder_is_tried_again_when_its_time_has_come(library: Library) -> None:
    library.write("garden/bad.pdf", b"%PDF-1.4 nothing")
    library.sync()
    library.sync()
    with connect(library.conninfo) as connection:
        connection.execute("alter table ledger disable trigger user")
        connection.execute("update ledger set retry_at = now() where state = 'failed'")
        connection.execute("alter table ledger enable trigger user")
    library.sync()
    assert library.rows("select attempts from ledger where state = 'failed'") == [(2,)]


def test_a_file_that_can_never_be_read_waits_for_a_change(library: Library) -> None:
    library.write("bad.pdf", b"%PDF-1.4 nothing")
    library.sync()
    assert library.rows("select retry_at, stage from ledger where state = 'failed'") == [(None, "extract")]
    library.write("bad.pdf", b"%PDF-1.4 nothing either")
    library.sync()
    assert library.rows("select attempts from ledger where state = 'failed'") == [(1,)]  # of what it is now


def test_another_chunk_size_embeds_only_chunks_whose_text_changed(library: Library) -> None:
    library.write("long.md", long_document(12))
    library.sync()
    smaller = library.settings.chunking.model_copy(update={"tokens": 128, "overlap": 16})
    library.settings = library.settings.model_copy(update={"chunking": smaller})
    report = library.sync()
    assert counts(report) == {"changed": 3}
    assert report.chunks.reused >= 2  # those of the short documents
    assert report.chunks.embedded == report.chunks.total - report.chunks.reused
    library.check()


def test_a_paragraph_at_the_top_of_a_long_document_embeds_its_neighbourhood(library: Library) -> None:
    text = long_document(60)
    library.write("long.md", text)
    total = library.sync().chunks.total
    library.write("long.md", text.replace("\n\n", "\n\nA new paragraph stands at the top now.\n\n", 1))
    report = library.sync()
    assert counts(report) == {"changed": 1, "unchanged": 2}
    assert report.chunks.embedded <= 2 < total / 10
    library.check()


def test_a_file_that_changes_while_it_is_read_is_deferred_to_the_next_sync(library: Library) -> None:
    """A file that grows all the time, and is so large that no processor is busy elsewhere while it is read."""
    growing = library.root / "growing.log"
    growing.write_text("start\n" * 10_000_000)
    stop = library.root / "stop"
    writer = os.fork()
    if not writer:
        with growing.open("a") as file:
            while not stop.exists():
                file.write("more\n")
                file.flush()
        os._exit(0)
    try:
        size = growing.stat().st_size
        while growing.stat().st_size < size + 5000:  # until it is at work
            time.sleep(0.01)
        report = library.sync()
    finally:
        stop.touch()
        os.waitpid(writer, 0)
    assert [(p.path, p.stage) for p in report.problems] == [("growing.log", "crawl")]
    assert "changed while it was read" in report.problems[0].reason
    assert set(library.stored()) == {"animals.md", "garden/plants.md"}
    stop.unlink()
    growing.write_text("It is at rest.\n")
    assert counts(library.sync()) == {"added": 1, "unchanged": 2}
