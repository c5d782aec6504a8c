"""A parser that crashes or never ends costs its own file and nothing else. The parser is made to by the program that
reads images, which it starts."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from tests.flows.library import Library, counts

if TYPE_CHECKING:
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
