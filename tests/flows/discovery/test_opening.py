"""Between the crawl and the reading somebody puts another thing into a file's place: it is not read, nor waited
for, and the next sync sees it as it is."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pgfolio.config.errors import ConfigError
from pgfolio.config.files import read_regular
from pgfolio.config.opening import ChangedError, open_file
from pgfolio.config.prompts import load_prompts
from pgfolio.flows.ingest.pipeline import run_sync
from pgfolio.flows.run.options import Options
from pgfolio.schema.corpus import sources
from pgfolio.schema.database.connect import connect
from tests.flows.library import counts

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgfolio.flows.run.report import Report
    from tests.flows.library import Library

SECRET = "The launch code is zebra."


def link(file: Path) -> None:
    file.unlink()
    file.symlink_to(outside(file))


def link_of_its_folder(file: Path) -> None:
    """The folder leads to another that has a file of that name."""
    file.parent.rename(file.parent.with_name("before"))
    file.parent.symlink_to(outside(file).parent)


def pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def unix_socket(file: Path) -> None:
    file.unlink()
    here = Path.cwd()
    os.chdir(file.parent)  # its path may have no more than 107 bytes
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(file.name)
    os.chdir(here)


def device(file: Path) -> None:
    file.unlink()
    try:
        os.mknod(file, stat.S_IFCHR | 0o600, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("only root makes devices")


def another_file(file: Path) -> None:
    outside(file).replace(file)


def folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def outside(file: Path) -> Path:
    """A file of the same name that lies in no source."""
    place = file.parents[2] / "outside" / file.name
    place.parent.mkdir(exist_ok=True)
    place.write_text(SECRET)
    return place


SWAPS = [link, link_of_its_folder, pipe, unix_socket, device, another_file, folder]


def sync_with(library: Library, swap: Callable[[], None]) -> Report:
    """A sync, with something done between its crawl and its reading."""

    def step(name: str, function: Callable[..., Any], *arguments: Any) -> Any:
        outcome = function(*arguments)
        if name.startswith("crawl"):
            swap()
        return outcome

    with connect(library.conninfo) as connection:
        source = sources.ensure_source(connection, str(library.root), name="library")
    return run_sync(library.settings, library.conninfo, [source], Options(), step=step)


@pytest.mark.timeout(30)
@pytest.mark.parametrize("swap", SWAPS, ids=lambda swap: swap.__name__)
def test_what_was_swapped_after_the_crawl_is_not_read(library: Library, swap: Callable[[Path], None]) -> None:
    file = library.root / "garden/plants.md"
    report = sync_with(library, lambda: swap(file))
    assert counts(report)["added"] == 1
    assert [p.path for p in report.problems] == ["garden/plants.md"]
    assert library.rows("select path from documents") == [("animals.md",)]


@pytest.mark.timeout(30)
@pytest.mark.parametrize("swap", [pipe, unix_socket, device, folder], ids=lambda swap: swap.__name__)
def test_where_links_are_followed_nothing_is_waited_for(
    library: Library, swap: Callable[[Path], None]
) -> None:
    following = library.settings.crawl.model_copy(update={"follow_symlinks": True})
    library.settings = library.settings.model_copy(update={"crawl": following})
    report = sync_with(library, lambda: swap(library.root / "garden/plants.md"))
    assert [p.path for p in report.problems] == ["garden/plants.md"]


def test_a_link_is_followed_where_the_settings_say_so(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("text")
    (tmp_path / "b").symlink_to("a")
    with open_file(str(tmp_path), "b", follow_symlinks=True) as file:
        assert file.read() == b"text"
    with pytest.raises(ChangedError):
        open_file(str(tmp_path), "b", follow_symlinks=False)


def test_rules_that_lead_out_of_the_source_are_not_read(library: Library) -> None:
    """What a pattern says would stand in the report."""
    (library.root / ".gitignore").symlink_to(outside(library.root / "garden/x"))
    with pytest.raises(Exception, match=r"its \.gitignore is no file"):
        library.sync()


@pytest.mark.timeout(10)
def test_a_file_of_settings_that_is_a_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="no regular file"):
        read_regular(tmp_path / "pipe")
    with pytest.raises(ConfigError, match="no regular file"):
        load_prompts(tmp_path / "pipe")
