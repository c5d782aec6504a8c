"""What is kept, seen and looked after in the browser: a folder that is synced, removals that are held, files that are
dropped on the page, with the process beside it that does the work."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.flows.extraction.pdf_file import Written, down
from tests.query_api.library import running_api

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from pgfolio.config.settings import Settings
    from tests.query_api.page.conftest import Watched

SUBJECTS = ("oak", "whale", "volcano", "lantern", "glacier", "violin", "harbour", "comet", "meadow", "anvil")

BRIDGE = Written([
    down(["The bridge of Halden", "", "This report is about the bridge and its history."]),
    down(["Its span", "", "The bridge of Halden has a span of 412 metres.", "It was opened by the queen in 1911."]),
]).data()  # fmt: skip

TUNNEL = Written([down(["The tunnel of Kragero is lit by gas lamps."])]).data()


@dataclass(frozen=True)
class Kept:
    """A folder that was synced, and what serves it."""

    folder: Path
    url: str


@pytest.fixture(scope="module")
def kept(
    tmp_path_factory: pytest.TempPathFactory,
    new_database: Callable[[], AbstractContextManager[str]],
    new_settings: Callable[..., Settings],
) -> Iterator[Kept]:
    place = tmp_path_factory.mktemp("kept")
    folder = place / "notes"
    folder.mkdir()
    for subject in SUBJECTS:
        (folder / f"{subject}.md").write_text(
            f"# The {subject}\n\nThe {subject} is kept in the tower of Bergen.\n"
        )
    (folder / "broken.pdf").write_bytes(b"%PDF-1.7 nothing of a PDF follows")
    (folder / "bridge.pdf").write_bytes(BRIDGE)
    (folder / "tunnel.pdf").write_bytes(TUNNEL)
    with new_database() as conninfo:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(place),
            "PGFOLIO_HOME": str(place / "state"),
            "PGFOLIO_DATABASE_URL": conninfo,
            "PGFOLIO_SYNC__DELETE_MAX_DOCUMENTS": "3",
            "PGFOLIO_SYNC__DELETE_MAX_FRACTION": "0.3",
        }
        command = [sys.executable, "-m", "pgfolio.flows"]
        subprocess.run(
            [*command, "sync", str(folder), "--json"], env=environment, check=False, capture_output=True
        )
        listener = subprocess.Popen(
            [sys.executable, "-m", "pgfolio.flows.listen"], env=environment, start_new_session=True
        )
        try:
            settings = new_settings(database_url=conninfo, api={"log": "off"})
            with running_api(settings, conninfo) as client:
                yield Kept(folder, str(client.base_url))
        finally:
            os.killpg(listener.pid, signal.SIGTERM)
            listener.wait(timeout=20)


@pytest.fixture
def visit(kept: Kept, opened: Callable[..., AbstractContextManager[Watched]]) -> Iterator[Watched]:
    with opened(kept.url) as watched:
        yield watched


def test_a_source_says_how_much_and_how_fresh_it_is(visit: Watched) -> None:
    page = visit.open("/sources")
    source = page.get_by_role("region", name="notes")
    expect(source).to_contain_text("12")
    expect(source).to_contain_text("ago")
    source.get_by_text("problem").click()
    expect(source.get_by_role("row", name="broken.pdf")).to_be_visible()
    expect(page.get_by_role("heading", name="Last runs")).to_be_visible()


def test_sync_now_takes_up_what_has_changed(visit: Watched, kept: Kept) -> None:
    (kept.folder / "falcon.md").write_text(
        "# The falcon\n\nThe falcon nests on the chimney of the brewery.\n"
    )
    page = visit.open("/sources")
    page.get_by_role("region", name="notes").get_by_role("button", name="Sync now").click()
    expect(page.get_by_role("status").filter(has_text="Done")).to_contain_text("1 added")
    visit.open("/")
    visit.ask("Where does the falcon nest?")
    expect(page.locator(".answer")).to_contain_text("chimney of the brewery")


def test_a_file_that_is_added_is_found(visit: Watched, tmp_path: Path) -> None:
    file = tmp_path / "otter.md"
    file.write_text("# The otter\n\nThe otter eats trout from the mill pond.\n")
    page = visit.open("/sources")
    page.locator("input[type=file]").set_input_files(file)
    expect(page.locator(".pushed")).to_contain_text("searchable")
    visit.open("/")
    visit.ask("What does the otter eat?")
    expect(page.locator(".answer")).to_contain_text("trout")


def test_held_removals_are_approved_as_many_as_were_seen(visit: Watched, kept: Kept) -> None:
    for subject in SUBJECTS[:6]:
        (kept.folder / f"{subject}.md").unlink()
    page = visit.open("/sources")
    page.get_by_role("region", name="notes").get_by_role("button", name="Sync now").click()
    held = page.get_by_role("region", name="Held removals")
    expect(held).to_contain_text("6 documents are gone")
    held.get_by_text("Which").click()
    expect(held).to_contain_text("whale.md")
    held.get_by_role("button", name="Remove these 6").click()
    expect(page.get_by_role("status").filter(has_text="Done")).to_contain_text("6 removed")
    expect(held).to_have_count(0)


def test_a_citation_of_a_pdf_opens_its_page_with_the_passage_marked(visit: Watched) -> None:
    visit.open("/")
    page = visit.ask("How long is the span of the bridge of Halden?")
    expect(page.locator(".answer")).to_contain_text("412 metres")
    with page.expect_response(lambda response: ".png" in response.url) as drawn:
        page.locator("a.cite").first.click()
    assert drawn.value.headers["x-passage"] == "marked"
    assert "/pages/2.png" in drawn.value.url
    expect(page.get_by_role("img", name="Page 2 of")).to_be_visible()
    page.get_by_role("button", name="Page before").click()
    expect(page.get_by_role("img", name="Page 1 of")).to_be_visible()
    page.get_by_role("button", name="Text").click()
    expect(page.locator(".text mark").first).to_contain_text("412 metres")


def test_the_original_is_downloaded_as_it_is(visit: Watched) -> None:
    visit.open("/?q=bridge+of+Halden&mode=search")
    page = visit.page
    page.locator(".passage h4 a").first.click()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download the original").click()
    assert download.value.suggested_filename == "bridge.pdf"
    assert download.value.path().read_bytes() == BRIDGE


def test_an_original_that_is_gone_is_a_sentence(visit: Watched, kept: Kept) -> None:
    visit.expected += ["404", "409", "410"]
    visit.open("/?q=tunnel+of+Kragero&mode=search")
    page = visit.page
    expect(page.locator(".passage").first).to_be_visible()
    (kept.folder / "tunnel.pdf").unlink()
    page.locator(".passage h4 a").first.click()
    expect(page.get_by_text("The page cannot be shown as a picture")).to_be_visible()
    page.get_by_role("button", name="Text").click()
    expect(page.locator(".text mark").first).to_contain_text("Kragero")
