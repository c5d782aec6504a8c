"""A parser that crashes or never ends costs its own file and nothing else. The parser is made to by the program that
reads images, which it starts."""

from __future__ import annotations

import mmap
import os
import re
import signal
import time
from concurrent.futures import BrokenExecutor, CancelledError, ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from pgfolio.flows.extraction.harmless import MAX_BYTES, is_harmless
from pgfolio.flows.extraction.worker import LARGE_BYTES, Fatality, Workers
from tests.flows.library import Library, counts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PAGE = "<html><body><h1>Roofs</h1><p>A roof keeps the rain out.</p></body></html>"


@pytest.fixture
def tesseract(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program of that name, to be written by the test."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    program = folder / "tesseract"
    program.touch(mode=0o755)
    return program


def test_a_parser_that_crashes_fails_its_file_alone(library: Library, tesseract: Path) -> None:
    tesseract.write_text("#!/bin/sh\nkill -9 $PPID\n")
    for n in range(4):
        library.write(f"page{n}.html", PAGE.replace("Roofs", f"Roofs {n}"))
    library.write("killer.png", b"\x89PNG\r\n\x1a\n")
    report = library.sync()
    assert (report.status, counts(report)) == ("partial", {"added": 6, "failed": 1})
    assert [(p.path, p.stage) for p in report.problems] == [("killer.png", "extract")]
    assert "crashed" in report.problems[0].reason
    assert library.rows("select retry_at > now() from ledger where state = 'failed'") == [(True,)]
    library.check()


def test_a_parser_that_never_ends_fails_its_file_alone(library: Library, tesseract: Path) -> None:
    tesseract.write_text("#!/bin/sh\nexec sleep 60\n")
    limited = library.settings.crawl.model_copy(update={"extract_timeout": 1.0})
    library.settings = library.settings.model_copy(update={"crawl": limited})
    library.write("endless.png", b"\x89PNG\r\n\x1a\n")
    library.write("page.html", PAGE)
    began = time.monotonic()
    report = library.sync()
    assert time.monotonic() - began < 20
    assert (report.status, counts(report)) == ("partial", {"added": 3, "failed": 1})
    assert "did not end within 1 s" in report.problems[0].reason
    library.check()


def test_a_file_that_ends_its_reader_is_tried_three_times_and_again_when_it_changes(
    library: Library, tesseract: Path
) -> None:
    tesseract.write_text("#!/bin/sh\nkill -9 $PPID\n")
    library.write("killer.png", b"\x89PNG\r\n\x1a\n")
    for attempt in (1, 2, 3, 3):
        assert counts(library.sync())["failed"] == 1
        assert attempts(library) == (attempt, attempt == 3)
        library.rows("update ledger set retry_at = now() where retry_at is not null returning 1")
    library.write("killer.png", b"\x89PNG\r\n\x1a\nanother")
    library.sync()
    assert attempts(library) == (1, False)
    tesseract.write_text("#!/bin/sh\necho A roof\n")
    library.write("killer.png", b"\x89PNG\r\n\x1a\na third")
    assert library.sync().status == "complete"


def attempts(library: Library) -> tuple[int, bool]:
    """Of the file that failed: how many, and whether they were the last."""
    [row] = library.rows("select attempts, retry_at is null from ledger where state = 'failed'")
    return row[0], row[1]


@pytest.fixture
def workers() -> Iterator[Workers]:
    made = Workers(5.0)
    yield made
    made.stop()


@pytest.mark.parametrize(
    ("function", "argument", "reason"),
    [
        (bytearray, 2 * 1024**3, "needs more than 448 MB"),
        (signal.raise_signal, signal.SIGSEGV, "crashed (exit code -11)"),
        (signal.raise_signal, signal.SIGABRT, "gave up"),
        (time.sleep, 60, "did not end within 5 s"),
    ],
)
def test_whatever_ends_a_worker_is_told_and_the_next_file_is_read(
    workers: Workers, function: Callable[[int], object], argument: int, reason: str
) -> None:
    with pytest.raises(Fatality, match=re.escape(reason)) as caught:
        workers.run(function, argument, size=1)
    assert caught.value.transient
    assert workers.run(len, b"abc", size=3) == 3


def test_memory_that_the_kernel_does_not_count_is_watched(workers: Workers) -> None:
    with pytest.raises(Fatality, match="needs more than 448 MB"):
        workers.run(share, 600 * 1024**2, size=1)


def take(size: int) -> int:
    return len(bytearray(size))


def share(size: int) -> None:
    """Shared memory, which is not in RLIMIT_DATA."""
    memory = mmap.mmap(-1, size)
    for start in range(0, size, 1024**2):
        memory[start : start + 1024**2] = bytes(1024**2)
    time.sleep(1)


def test_a_large_file_may_take_more(workers: Workers) -> None:
    assert workers.run(take, 600 * 1024**2, size=LARGE_BYTES) == 600 * 1024**2


def test_whoever_waits_when_the_workers_are_stopped_does_not_wait_longer() -> None:
    made = Workers(60)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(made.run, time.sleep, 60, size=1)
        time.sleep(1)
        made.stop()
        assert isinstance(waiting.exception(5), CancelledError | BrokenExecutor)


@pytest.mark.parametrize(
    ("name", "text", "harmless"),
    [
        ("a.md", b"# A page\n\nOf text.\n", True),
        ("a.md", b"---\ntitle: A\ntags: [a, b]\n---\n\nText.\n", True),
        ("a.md", b"---\r\ntitle: A\r\n---\r\n\r\nText.\r\n", True),
        ("a.md", b"---\n\nA rule, and no front matter.\n", False),
        ("a.md", b"---\na: " + b"[" * 101 + b"\n---\n", False),
        ("a.md", b"---\n" + b"- " * 60 + b"a\n---\n", False),
        ("a.md", b"---\na: &a [b]\nc: [*a,*a]\n---\n", False),
        ("a.md", b"---\nc: *a\n---\n", False),
        ("a.md", b"---\na: b\n+++\nc: " + b"[" * 101 + b"\n---\n", False),
        ("a.md", b"+++\na = 1\n---\nb = " + b"[" * 101 + b"\n+++\n", False),
        ("a.md", b"+++\ntitle = 'A'\n+++\n\nText.\n", True),
        ("a.txt", b"---\na: " + b"[" * 101 + b"\n---\n", True),
        ("a.txt", b"caf\xe9", False),
        ("a.txt", b"\xff\xfea\0", False),
        ("a.txt", b"a" * (MAX_BYTES + 1), False),
        ("a.html", b"<p>A page", False),
        ("a.bin", bytes(range(1, 30)), False),
    ],
)
def test_only_a_small_plain_text_is_read_without_a_worker(name: str, text: bytes, harmless: bool) -> None:
    assert is_harmless(name, text) == harmless
