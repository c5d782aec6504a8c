"""What a crawl finds, what it leaves out, and what it must not mistake for gone."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pgfolio.flows.discovery.crawl import crawl
from pgfolio.flows.discovery.listing import MAX_PATH_BYTES, CrawlResult, SourceUnreachable
from pgfolio.flows.discovery.rules import Rules

if TYPE_CHECKING:
    from collections.abc import Iterator

RULES = Rules(max_bytes=1000)
REPOSITORY = Path(__file__).parents[3]


def write(root: Path, *paths: str, text: str = "x") -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)


def paths(crawled: CrawlResult) -> list[str]:
    return [entry.path for entry in crawled.entries]


def as_nobody(root: Path, expression: str) -> str:
    """Evaluates `expression` over `crawled = crawl(root)` as a user whom permissions bind, root or not."""
    program = (
        "import os, sys; from pathlib import Path\n"
        "from pgfolio.flows.discovery.crawl import crawl\n"
        "from pgfolio.flows.discovery.rules import Rules\n"
        "from pgfolio.flows.discovery.listing import SourceUnreachable\n"
        "crawl(Path('schema'), Rules(max_bytes=1, exclude=('x',)))  # imports what it imports late\n"
        "if os.getuid() == 0: os.setgid(65534); os.setuid(65534)\n"
        "try: crawled = crawl(Path(sys.argv[1]), Rules(max_bytes=1000))\n"
        "except SourceUnreachable as error: print(error); sys.exit()\n"
        f"print({expression})"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(root)], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def open_path() -> Iterator[Path]:
    """A folder that every user can reach: pytest's own folders are closed to others."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_files_are_listed_by_path_with_what_stat_says(tmp_path: Path) -> None:
    write(tmp_path, "b.md", "a/z.md", "a/b/c.txt", "a.md")
    crawled = crawl(tmp_path, RULES)
    assert paths(crawled) == sorted(["b.md", "a/z.md", "a/b/c.txt", "a.md"])
    status = (tmp_path / "b.md").stat()
    signature = crawled.entries[-1].signature
    assert (signature.inode, signature.size, signature.mtime_ns) == (status.st_ino, 1, status.st_mtime_ns)


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        (Rules(1000), ["a.md", "docs/b.md", "docs/c.txt"]),
        (Rules(1000, include=("*.md",)), ["a.md", "docs/b.md"]),
        (Rules(1000, include=("docs/",)), ["docs/b.md", "docs/c.txt"]),
        (Rules(1000, exclude=("docs/",)), ["a.md"]),
        (Rules(1000, include=("*.md",), exclude=("/a.md",)), ["docs/b.md"]),
        (Rules(1000, hidden=True), [".h/d.md", ".x", "a.md", "docs/b.md", "docs/c.txt"]),
    ],
)
def test_globs_and_the_hidden_setting_choose_what_belongs(
    tmp_path: Path, rules: Rules, expected: list[str]
) -> None:
    write(tmp_path, "a.md", "docs/b.md", "docs/c.txt", ".x", ".h/d.md", ".git/config")
    assert paths(crawl(tmp_path, rules)) == expected


IGNORED = {
    "a pattern at the root": {".gitignore": "*.log\n"},
    "an exception to it": {".gitignore": "*.log\n!keep.log\n"},
    "an exception in a deeper folder": {".gitignore": "*.log\n", "a/.gitignore": "!keep.log\n"},
    "a rule relative to its folder": {"a/.gitignore": "/x.md\n"},
    "a folder": {".gitignore": "a/\n"},
    "nothing re-enters an ignored folder": {".gitignore": "a/\n!a/keep.log\n", "a/.gitignore": "!x.md\n"},
    "all but one folder": {".gitignore": "/*\n!/a/\n"},
    "double stars and comments": {".gitignore": "# no\n\n**/b/**\n"},
    "a rule with a byte order mark": {".gitignore": "\ufeffx.md\n"},
}


@pytest.mark.skipif(shutil.which("git") is None, reason="git is the reference")
@pytest.mark.parametrize("files", IGNORED.values(), ids=IGNORED.keys())
def test_ignore_files_mean_what_they_mean_to_git(tmp_path: Path, files: dict[str, str]) -> None:
    write(
        tmp_path, *(f"{folder}{name}" for folder in ("", "a/", "a/b/", "c/") for name in ("x.md", "keep.log"))
    )
    for path, text in files.items():
        write(tmp_path, path, text=text)
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    listed = subprocess.run(
        ["git", "ls-files", "-o", "--exclude-standard"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    expected = [line for line in listed.stdout.splitlines() if not line.endswith(".gitignore")]
    assert paths(crawl(tmp_path, RULES)) == sorted(expected)


def test_pgfolioignore_has_the_last_word_over_gitignore(tmp_path: Path) -> None:
    write(tmp_path, "a.md", "b.md")
    write(tmp_path, ".gitignore", text="a.md\n")
    write(tmp_path, ".pgfolioignore", text="!a.md\nb.md\n")
    assert paths(crawl(tmp_path, RULES)) == ["a.md"]


def test_a_file_over_the_limit_is_named_with_its_size_and_the_setting(tmp_path: Path) -> None:
    write(tmp_path, "big.md", text="x" * (3 << 20))
    write(tmp_path, "small.md")
    crawled = crawl(tmp_path, Rules(max_bytes=2 << 20))
    assert paths(crawled) == ["small.md"]
    assert [problem.path for problem in crawled.too_large] == ["big.md"]
    assert crawled.too_large[0].reason == "3 MB is more than crawl.max_file_mb = 2"


def nested(root: Path, length: int, letter: str = "d") -> str:
    """A file whose path below `root` has so many bytes."""
    folder = letter * (200 // len(letter.encode())) + "/"
    folders = folder * ((length - 20) // 201)
    path = folders + "f" * (length - len(folders.encode()) - 3) + ".md"
    write(root, path)
    return path


@pytest.mark.parametrize("letter", ["d", "ü"])
@pytest.mark.parametrize("include", [(), ("*.md",)], ids=["all", "by rule"])
def test_a_path_that_is_too_long_to_be_stored_is_named_and_unknown(
    tmp_path: Path, letter: str, include: tuple[str, ...]
) -> None:
    write(tmp_path, "a.md")
    just, over, longest = (
        nested(tmp_path, length, letter) for length in (MAX_PATH_BYTES, MAX_PATH_BYTES + 1, 3400)
    )
    crawled = crawl(tmp_path, Rules(1000, include=include))
    assert paths(crawled) == ["a.md", just]
    assert crawled.unknown == {over, longest}
    assert [(problem.path, problem.stage) for problem in crawled.unreadable] == [
        (path, "crawl") for path in sorted([over, longest])
    ]
    reasons = {problem.path: problem.reason for problem in crawled.unreadable}
    assert reasons[longest] == "its path has 3,400 bytes, more than 2,500: shorten its name or its folders'"


def test_a_long_path_that_a_rule_leaves_out_is_no_problem(tmp_path: Path) -> None:
    write(tmp_path, "a.md")
    nested(tmp_path, 3400)
    crawled = crawl(tmp_path, Rules(1000, exclude=("f*",)))
    assert (paths(crawled), crawled.unreadable) == (["a.md"], ())


def test_symlinks_are_not_followed_unless_asked(tmp_path: Path) -> None:
    write(tmp_path, "root/a.md", "elsewhere/b.md")
    (tmp_path / "root/link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "root/c.md").symlink_to(tmp_path / "elsewhere/b.md")
    root = tmp_path / "root"
    assert paths(crawl(root, RULES)) == ["a.md"]
    assert paths(crawl(root, Rules(1000, follow_symlinks=True))) == ["a.md", "c.md", "link/b.md"]


def test_a_loop_of_symlinks_ends_and_real_paths_win(tmp_path: Path) -> None:
    write(tmp_path, "z/a.md")
    (tmp_path / "z/up").symlink_to(tmp_path)
    (tmp_path / "a-link").symlink_to(tmp_path / "z")
    assert paths(crawl(tmp_path, Rules(1000, follow_symlinks=True))) == ["z/a.md"]


def test_a_broken_link_may_be_a_folder_that_is_not_mounted(tmp_path: Path) -> None:
    (tmp_path / "docs").symlink_to(tmp_path / "nowhere")
    crawled = crawl(tmp_path, Rules(1000, follow_symlinks=True))
    assert [problem.path for problem in crawled.unreadable] == ["docs"]
    assert "docs" in crawled.unknown
    assert "docs/a.md".startswith(crawled.unreadable_dirs)


def test_pipes_and_sockets_are_no_documents(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.md")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(tmp_path / "socket.md"))
        assert crawl(tmp_path, RULES) == CrawlResult(entries=(), devices=frozenset({tmp_path.stat().st_dev}))


@pytest.mark.parametrize("name", [b"caf\xe9.md", b"caf\xe9/x.md"])
def test_a_name_that_is_not_utf8_is_a_problem_and_nothing_more(tmp_path: Path, name: bytes) -> None:
    write(tmp_path, "a.md", os.fsdecode(name), "grün.md")
    crawled = crawl(tmp_path, RULES)
    assert paths(crawled) == ["a.md", "grün.md"]
    assert [problem.path for problem in crawled.unreadable] == [
        name.decode("utf-8", "backslashreplace").split("/")[0]
    ]


def test_a_folder_that_may_not_be_listed_is_unknown_not_empty(open_path: Path) -> None:
    write(open_path, "a.md", "closed/b.md")
    (open_path / "closed").chmod(0)
    answer = as_nobody(open_path, "[problem.path for problem in crawled.unreadable], crawled.unreadable_dirs")
    (open_path / "closed").chmod(0o755)
    assert answer == "['closed'] ('closed/',)"


def test_a_file_without_permission_is_unknown_not_gone(open_path: Path) -> None:
    write(open_path, "listed/b.md", "c.md")
    (open_path / "listed").chmod(0o444)  # names can be read, nothing else
    answer = as_nobody(open_path, "crawled.unknown, [entry.path for entry in crawled.entries]")
    (open_path / "listed").chmod(0o755)
    assert answer == "frozenset({'listed/b.md'}) ['c.md']"


def test_rules_that_cannot_be_read_close_their_folder(open_path: Path) -> None:
    write(open_path, "a/secret.md", "a/.gitignore", "b.md")
    (open_path / "a/.gitignore").chmod(0)
    answer = as_nobody(open_path, "crawled.unreadable_dirs, [entry.path for entry in crawled.entries]")
    assert answer == "('a/',) ['b.md']"


def test_a_pattern_without_sense_is_reported_and_the_others_apply(tmp_path: Path) -> None:
    write(tmp_path, "a.md", "b.log")
    write(tmp_path, ".gitignore", text="!\n*.log\n")
    crawled = crawl(tmp_path, RULES)
    assert paths(crawled) == ["a.md"]
    assert [problem.path for problem in crawled.unreadable] == [".gitignore"]


@pytest.mark.parametrize("kind", ["missing", "file"])
def test_a_root_that_is_no_folder_is_unreachable(tmp_path: Path, kind: str) -> None:
    write(tmp_path, "file")
    with pytest.raises(SourceUnreachable, match=r"Nothing was changed.*sync again"):
        crawl(tmp_path / kind, RULES)


def test_a_root_that_may_not_be_listed_is_unreachable(open_path: Path) -> None:
    write(open_path, "root/a.md")
    (open_path / "root").chmod(0)
    answer = as_nobody(open_path / "root", "crawled")
    (open_path / "root").chmod(0o755)
    assert answer.startswith(f"cannot list the source folder {open_path}/root: permission denied")


def test_a_glob_without_sense_names_its_setting(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"crawl\.exclude"):
        crawl(tmp_path, Rules(1000, exclude=("!",)))


@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_rules_that_cannot_be_read_make_their_folder_unknown(tmp_path: Path, kind: str) -> None:
    """What the link leads to may just not be mounted, and a pipe is waited for without end."""
    write(tmp_path, "a.md", "sub/b.md", "sub/deep/c.md")
    rules = tmp_path / "sub" / ".gitignore"
    rules.symlink_to("/nowhere/ignore") if kind == "link" else os.mkfifo(rules)
    crawled = crawl(tmp_path, RULES)
    assert paths(crawled) == ["a.md"]
    assert crawled.unreadable_dirs == ("sub/",)
    assert "its .gitignore is no file, or leads nowhere" in crawled.unreadable[0].reason


def test_a_range_that_makes_no_sense_is_skipped_and_reported(tmp_path: Path) -> None:
    write(tmp_path, "a.md", "b.log")
    write(tmp_path, ".gitignore", text="[z-a].md\n*.log\n")
    crawled = crawl(tmp_path, RULES)
    assert paths(crawled) == ["a.md"]
    assert "a pattern was passed over" in crawled.unreadable[0].reason
    with pytest.raises(ValueError, match=r"crawl\.include"):
        crawl(tmp_path, Rules(1000, include=("[z-a]",)))


@pytest.mark.parametrize("seconds", [-(10**11), 10**11])
def test_a_time_that_nobody_has_seen_fits_into_the_ledger(tmp_path: Path, seconds: int) -> None:
    write(tmp_path, "a.md")
    try:
        os.utime(tmp_path / "a.md", (seconds, seconds))
    except OSError:
        pytest.skip("this file system has no such times")
    (entry,) = crawl(tmp_path, RULES).entries
    assert abs(entry.signature.mtime_ns) <= 1 << 63
