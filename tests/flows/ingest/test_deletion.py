"""Deletion is a privilege: what cannot be seen is unknown, what is too much is held until somebody approves it."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from pgfolio.flows.ingest.pipeline import run_sync
from pgfolio.flows.run.options import FailedError, Options
from pgfolio.schema.corpus import sources
from pgfolio.schema.database.connect import connect
from tests.flows.library import ANIMALS, Library, counts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pgfolio.config.settings import Settings

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
NOT_ROOT = pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")


def pages(library: Library, count: int, folder: str = "pages") -> None:
    for n in range(count):
        library.write(f"{folder}/{n:02}.md", f"# Page {n}\n\nThis page is about the number {n}.\n")


@pytest.mark.parametrize(("stored", "gone", "blocked"), [(50, 11, True), (50, 10, False), (200, 20, False)])
def test_more_than_ten_and_more_than_a_tenth_are_blocked(
    library: Library, stored: int, gone: int, *, blocked: bool
) -> None:
    pages(library, stored - 2)
    library.sync()
    for n in range(gone):
        (library.root / f"pages/{n:02}.md").unlink()
    report = library.sync()
    expected = {"held" if blocked else "removed": gone, "unchanged": stored - gone}
    assert counts(report) == expected
    assert report.status == ("partial" if blocked else "complete")
    assert len(library.stored()) == (stored if blocked else stored - gone)


def test_additions_and_changes_go_on_while_removals_are_blocked(library: Library) -> None:
    pages(library, 20)
    library.sync()
    shutil.rmtree(library.root / "pages")
    library.write("new.md", "# New\n\nA new page.\n")
    library.write("animals.md", ANIMALS.replace("zebra", "tiger"))
    report = library.sync()
    assert counts(report) == {"added": 1, "changed": 1, "held": 20, "unchanged": 1}
    assert "pgfolio sync library --approve-deletes 20" in report.problems[0].reason
    assert len(library.stored()) == 23
    library.check()


def test_an_approval_is_a_ceiling_over_a_fresh_scan(library: Library) -> None:
    pages(library, 30)
    library.sync()
    for n in range(20):
        (library.root / f"pages/{n:02}.md").unlink()
    assert counts(library.sync(approve_deletes=19))["held"] == 20
    (library.root / "pages/20.md").unlink()
    assert counts(library.sync(approve_deletes=20))["held"] == 21
    pages(library, 5)
    assert counts(library.sync(approve_deletes=20)) == {"removed": 16, "unchanged": 16}
    library.check()


def test_a_folder_without_permission_keeps_its_documents(library: Library) -> None:
    """A link to itself stands for every reason why a path cannot be looked at: it is neither there nor gone."""
    pages(library, 3)
    library.sync()
    aside = library.root.with_name("aside")
    (library.root / "pages").rename(aside)
    (library.root / "pages").symlink_to("pages")
    report = library.sync()
    assert (report.status, counts(report)) == ("partial", {"held": 3, "unchanged": 2})
    (library.root / "pages").unlink()
    aside.rename(library.root / "pages")
    assert counts(library.sync()) == {"unchanged": 5}


@NOT_ROOT
@pytest.mark.parametrize("locked", ["pages", "pages/00.md"])
def test_what_may_not_be_read_keeps_its_last_good_version(library: Library, locked: str) -> None:
    pages(library, 3)
    library.sync()
    path = library.root / locked
    mode = path.stat().st_mode
    path.chmod(0)
    try:
        report = library.sync()
    finally:
        path.chmod(mode)
    assert report.status == "partial"
    assert len(library.stored()) == 5
    assert library.sync().status == "complete"
    library.check()


@pytest.fixture
def disk(library: Library) -> Iterator[Path]:
    """A filesystem of its own below the library."""
    folder = library.root / "disk"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "pgfolio", str(folder)], check=False, capture_output=True, text=True
    )
    if done.returncode:
        pytest.skip(f"cannot mount here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=False, capture_output=True)


@ROOT_ONLY
def test_a_disk_that_is_unmounted_below_the_root_loses_nothing(library: Library, disk: Path) -> None:
    """Three documents: fewer than any limit would hold."""
    pages(library, 3, "disk")
    assert library.sync().documents.added == 5
    subprocess.run(["umount", str(disk)], check=True)
    report = library.sync()
    assert counts(report) == {"held": 3, "unchanged": 2}
    assert "not mounted" in report.problems[0].reason
    assert len(library.stored()) == 5
    assert counts(library.sync(approve_deletes=3)) == {"removed": 3, "unchanged": 2}
    library.check()


@ROOT_ONLY
def test_a_disk_that_comes_back_under_another_number_is_read_and_embeds_nothing(
    library: Library, disk: Path, tmp_path: Path
) -> None:
    pages(library, 3, "disk")
    library.sync()
    shutil.copytree(disk, tmp_path / "copy")
    subprocess.run(["umount", str(disk)], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "pgfolio", str(disk)], check=True)
    shutil.copytree(tmp_path / "copy", disk, dirs_exist_ok=True)
    (disk / "00.md").unlink()
    report = library.sync()
    assert (counts(report), report.chunks.embedded) == ({"removed": 1, "unchanged": 4}, 0)


def test_renumbered_devices_do_not_hold_up_a_deletion(library: Library) -> None:
    """After a restart the same disk may have another number."""
    pages(library, 3)
    library.sync()
    with connect(library.conninfo) as connection:
        connection.execute("update ledger set device = 424242")
    (library.root / "pages/00.md").unlink()
    assert counts(library.sync()) == {"removed": 1, "unchanged": 4}


def test_a_root_that_is_gone_changes_nothing_and_says_so(library: Library) -> None:
    library.sync()
    library.root.rename(library.root.with_name("elsewhere"))
    with pytest.raises(FailedError, match="Mount it, correct its path"):
        library.sync()
    assert len(library.stored()) == 2
    library.check()


def test_an_approval_is_a_ceiling_over_all_sources_of_a_run(
    tmp_path: Path, conninfo: str, settings: Settings
) -> None:
    """Also of sources that were emptied, where few removals need one too."""
    all_sources = []
    for name in ("one", "two", "three"):
        pages(Library(tmp_path / name, conninfo, settings), 8)
        with connect(conninfo) as connection:
            all_sources.append(sources.ensure_source(connection, str(tmp_path / name), name=name))
    run_sync(settings, conninfo, all_sources, Options())
    for name in ("one", "two", "three"):
        shutil.rmtree(tmp_path / name / "pages")
    report = run_sync(settings, conninfo, all_sources, Options(approve_deletes=8))
    assert (report.documents.removed, report.documents.held) == (8, 16)
