"""Folders that are watched: seconds until a change is stored, by a process of its own on real files."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pgfolio.flows.discovery import watching
from pgfolio.flows.discovery.watching import changed, sort_out
from pgfolio.schema.corpus import sources
from pgfolio.schema.database.connect import connect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SECONDS = 3.0


def text(n: int) -> str:
    return f"# Page {n}\n\nThis is the page about the number {n}.\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "docs"
    for n in range(20):
        path = root / f"{n % 3}" / f"page {n}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text(n))
    return root


def stored(conninfo: str) -> dict[str, str]:
    with connect(conninfo) as connection:
        return dict(connection.execute("select path, text from documents").fetchall())


def runs(conninfo: str) -> int:
    with connect(conninfo) as connection:
        return int(connection.execute("select count(*) from runs").fetchone()[0])  # type: ignore[index]


def seconds_until(true: Callable[[], bool], most: float) -> float:
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < most
        time.sleep(0.02)
    return time.monotonic() - began


@contextmanager
def watched(conninfo: str, home: Path, root: Path) -> Iterator[Any]:
    with connect(conninfo) as connection:
        sources.ensure_source(connection, str(root), name="docs")
    environment = {**os.environ, "PGFOLIO_DATABASE_URL": conninfo, "PGFOLIO_HOME": str(home)}
    environment |= {"PGFOLIO_SYNC__DELETE_MAX_FRACTION": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "pgfolio.flows.watch"], env=environment, stderr=subprocess.PIPE, text=True
    )
    try:
        expected = {str(path.relative_to(root)) for path in root.rglob("*.md")}
        seconds_until(lambda: stored(conninfo).keys() == expected, 30)
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=20)


def test_what_is_edited_renamed_and_removed_is_stored_within_seconds(
    conninfo: str, home: Path, root: Path
) -> None:
    with watched(conninfo, home, root):
        (root / "0/page 0.md").write_text("# Page 0\n\nAnother text by now.\n")
        assert seconds_until(lambda: "Another" in stored(conninfo)["0/page 0.md"], 20) < SECONDS
        (root / "0/page 0.md").rename(root / "0/renamed.md")
        assert seconds_until(lambda: "0/renamed.md" in stored(conninfo), 20) < SECONDS
        (root / "1/page 1.md").unlink()
        assert seconds_until(lambda: "1/page 1.md" not in stored(conninfo), 20) < SECONDS
        (root / "new/deep").mkdir(parents=True)
        (root / "new/deep/a.md").write_text(text(100))
        assert seconds_until(lambda: "new/deep/a.md" in stored(conninfo), 20) < SECONDS


def test_a_burst_is_gathered_and_a_moved_tree_is_few_syncs(conninfo: str, home: Path, root: Path) -> None:
    with watched(conninfo, home, root):
        before = runs(conninfo)
        for n in range(200):
            (root / "2" / f"burst {n}.md").write_text(text(1000 + n))
        seconds_until(lambda: len(stored(conninfo)) == 220, 30)
        (root / "2").rename(root / "moved")
        seconds_until(lambda: sum(path.startswith("moved/") for path in stored(conninfo)) == 206, 30)
        assert runs(conninfo) - before <= 8
        with connect(conninfo) as connection:
            moved = connection.execute("select report->'documents'->>'moved' from runs").fetchall()
        assert ("206",) in moved


@pytest.mark.long
def test_events_that_the_kernel_dropped_are_made_up_for_by_the_next_scan(
    conninfo: str, home: Path, root: Path
) -> None:
    """The queue is filled with changes that are no reason for a sync while nobody reads it; later ones are lost."""
    most = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    with watched(conninfo, home, root) as process:
        hidden, other = root / "0/.a", root / "0/.b"
        hidden.touch()
        os.kill(process.pid, signal.SIGSTOP)
        for _ in range(most // 2):  # a rename is two events
            hidden.rename(other)
            hidden, other = other, hidden
        (root / "1/page 1.md").write_text("# Page 1\n\nAnother text by now.\n")
        os.kill(process.pid, signal.SIGCONT)
        time.sleep(SECONDS)
        assert "Another" not in stored(conninfo)["1/page 1.md"]
        command = [sys.executable, "-m", "pgfolio.flows", "sync", "--json"]
        environment = {**os.environ, "PGFOLIO_DATABASE_URL": conninfo, "PGFOLIO_HOME": str(home)}
        subprocess.run(command, env=environment, check=True, capture_output=True, timeout=60)
        assert "Another" in stored(conninfo)["1/page 1.md"]
        (root / "1/page 1.md").write_text("# Page 1\n\nA third text.\n")
        assert seconds_until(lambda: "third" in stored(conninfo)["1/page 1.md"], 20) < SECONDS


def test_git_and_hidden_files_are_no_reason(root: Path) -> None:
    wanted = watching._Filter(["/home/x/state"], hidden=False)
    assert not wanted(1, f"{root}/.git/index.lock")
    assert not wanted(1, "/home/x/state/postgres/base/1")
    assert not wanted(1, f"{root}/.swp")
    assert wanted(1, f"{root}/.gitignore")
    assert wanted(1, f"{root}/a.md")


def test_a_limit_of_the_system_is_said_and_folders_are_looked_at(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import watchfiles

    def limited(*paths: str, **options: Any) -> Any:
        del paths, options
        raise OSError("OS file watch limit reached. about ['/x']")

    monkeypatch.setattr(watchfiles, "watch", limited)
    monkeypatch.setattr(watching, "SCAN_SECONDS", 0.05)
    notes: list[str] = []
    due = changed(sort_out({7: str(root)}), [], hidden=False, note=notes.append)
    assert next(due) == {7}
    assert "sysctl fs.inotify.max_user_watches" in notes[0]


def test_a_network_file_system_is_looked_at(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts = tmp_path / "mountinfo"
    point = str(root).replace(" ", "\\040")
    mounts.write_text(f"22 1 8:1 / / rw - ext4 /dev/sda rw\n30 22 0:50 / {point} rw - nfs4 server:/docs rw\n")
    monkeypatch.setattr(watching, "MOUNTS", mounts)
    found = sort_out({1: str(root), 2: str(tmp_path), 3: str(tmp_path / "none")})
    assert (found.by_events, set(found.by_scans)) == ({2: str(tmp_path)}, {1, 3})
    assert "nfs4" in found.reasons[0]


@pytest.mark.long
def test_a_thousand_files_and_another_branch(conninfo: str, home: Path, root: Path) -> None:
    def git(*arguments: str) -> None:
        name = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
        subprocess.run(["git", *name, *arguments], cwd=root, check=True, capture_output=True)

    git("init", "-q", "-b", "main")
    git("add", ".")
    git("commit", "-qm", "one")
    git("checkout", "-qb", "other")
    for n in range(15):
        (root / "0" / f"page {n}.md").write_text(text(500 + n))
    git("add", ".")
    git("commit", "-qm", "two")
    git("checkout", "-q", "main")
    with watched(conninfo, home, root):
        git("checkout", "-q", "other")
        took = seconds_until(lambda: "number 510" in stored(conninfo).get("0/page 10.md", ""), 30)
        print(f"\nanother branch: {took:.1f} s")
        before = runs(conninfo)
        for n in range(1000):
            (root / "1" / f"burst {n}.md").write_text(text(2000 + n))
        took = seconds_until(lambda: sum("burst" in path for path in stored(conninfo)) == 1000, 60)
        print(f"1,000 files: {took:.1f} s, {runs(conninfo) - before} syncs")
        shutil.rmtree(root / "1")
        took = seconds_until(lambda: not any(path.startswith("1/") for path in stored(conninfo)), 30)
        print(f"a removed folder: {took:.1f} s")
