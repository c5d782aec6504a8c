"""What is none of ours is skipped, told once, and makes no run partial; what programs leave beside documents is left
out; what a rule excludes is not called gone."""

from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING

import pytest

from pgfolio.config.errors import ConfigError
from pgfolio.flows.discovery.rules import LITTER, is_litter
from pgfolio.flows.discovery.sources import selected_sources
from pgfolio.schema.database.connect import connect
from pgfolio.schema.operations.overview import overview
from tests.flows.library import counts

if TYPE_CHECKING:
    from tests.flows.library import Library


def archive() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        made.writestr("inside.txt", "The tide comes in twice a day.")
    return out.getvalue()


STRANGERS = {
    "empty.md": b"",
    "empty.docx": b"",
    "letters.zip": archive(),
    "program.bin": b"\x7fELF\x02\x01\x01" + bytes(200),
    "film.mp4": b"\0\0\0\x18ftypmp42" + bytes(range(256)) * 8,
}


def skipped(library: Library) -> dict[str, str]:
    with connect(library.conninfo) as connection:
        return {row["path"]: row["reason"] for row in overview(connection, None)["skipped"]}


def test_what_is_none_of_ours_is_told_once_and_no_failure(library: Library) -> None:
    for name, data in STRANGERS.items():
        library.write(name, data)
    first = library.sync()
    assert (first.status, first.skipped, counts(first)) == ("complete", 5, {"added": 2})
    assert len(first.notes) == 5
    assert all("is skipped: " in note for note in first.notes)
    assert skipped(library).keys() == STRANGERS.keys()
    assert skipped(library)["empty.md"] == "it is empty"
    for full in (False, True):
        again = library.sync(full=full)
        assert (again.status, counts(again), full or again.notes) == (
            "complete",
            {"unchanged": 2},
            full or [],
        )
    library.check()


def test_a_plan_says_what_would_be_skipped(library: Library) -> None:
    library.write("letters.zip", STRANGERS["letters.zip"])
    planned = library.sync(plan_only=True).plan
    assert planned is not None
    assert [item for item in planned if item["action"] == "skip"] == [
        {
            "source": "library",
            "action": "skip",
            "path": "letters.zip",
            "reason": "unsupported type application/zip",
        }
    ]


def test_a_skipped_file_that_becomes_text_is_a_document(library: Library) -> None:
    file = library.write("note.md", "")
    library.sync()
    file.write_text("# Note\n\nThe lamp in hall two is new.\n")
    assert counts(library.sync()) == {"added": 1, "unchanged": 2}
    assert skipped(library) == {}
    file.write_text("")
    assert counts(library.sync()) == {"changed": 1, "unchanged": 2}
    assert library.stored()["note.md"] == []
    library.check()
    file.unlink()
    assert counts(library.sync()) == {"removed": 1, "unchanged": 2}


def test_a_document_that_becomes_none_of_ours_is_a_problem(library: Library) -> None:
    """What is stored of it is not what the file is."""
    file = library.write("paper.docx.md", "# Paper\n\nAll about paper.\n")
    library.sync()
    file.write_bytes(bytes(range(256)) * 20)
    report = library.sync()
    assert (report.status, report.skipped, counts(report)) == ("partial", 0, {"failed": 1, "unchanged": 2})


def test_a_skipped_file_that_goes_needs_no_approval(library: Library) -> None:
    for n in range(40):
        library.write(f"{n}.bin", STRANGERS["program.bin"] + bytes([n]))
    library.sync()
    for n in range(40):
        (library.root / f"{n}.bin").unlink()
    report = library.sync()
    assert (report.status, counts(report)) == ("complete", {"unchanged": 2})
    assert skipped(library) == {}


LEFT_BESIDE = (
    "~$report.docx",
    "notes.md~",
    "#notes.md#",
    ".DS_Store",
    "Thumbs.db",
    "desktop.ini",
    "._photo.md",
)


@pytest.mark.parametrize("name", LEFT_BESIDE)
def test_what_programs_leave_is_litter(name: str) -> None:
    assert is_litter(name)


@pytest.mark.parametrize(
    "name", ["#1 plan.md", "~plan.md", "c#", "#", "thumbs.md", "a~b.md", ".profile", "plan~.md"]
)
def test_what_people_write_is_none(name: str) -> None:
    assert not is_litter(name)


def test_litter_is_left_out_and_a_plan_names_the_rules(library: Library) -> None:
    for name in LEFT_BESIDE:
        library.write(f"garden/{name}", "The gate was left open.\n")
    planned = library.sync(plan_only=True)
    assert counts(planned) == {"added": 2}
    [note] = planned.notes
    assert note.startswith("5 of the files of library are left out by default rules")
    assert all(rule in note for rule in LITTER)
    report = library.sync()
    assert (counts(report), report.notes) == ({"added": 2}, [])


def test_an_ignore_file_may_have_litter_read(library: Library) -> None:
    library.write("draft.md~", "# Draft\n\nThe gate was left open.\n")
    library.write(".pgfolioignore", "!*~\n")
    assert counts(library.sync()) == {"added": 3}


def test_what_a_rule_excludes_is_not_called_gone(library: Library) -> None:
    for n in range(30):
        library.write(f"old/{n}.md", f"# Old {n}\n\nWritten long ago, number {n}.\n")
    library.sync()
    library.write(".pgfolioignore", "old/\n")
    report = library.sync()
    [problem] = report.problems
    assert problem.reason.startswith(
        "30 documents are excluded by a rule now (crawl.include, crawl.exclude, "
    )
    assert "--approve-deletes 30" in problem.reason
    assert "gone" not in problem.reason
    report = library.sync(approve_deletes=30)
    assert (counts(report), report.status) == ({"removed": 30, "unchanged": 2}, "complete")
    assert report.notes[0].startswith("30 documents of library are excluded by a rule now")


def test_a_file_as_a_source_is_refused_with_a_sentence(library: Library) -> None:
    file = library.write("one.md", "# One\n\nJust one.\n")
    with (
        connect(library.conninfo) as connection,
        pytest.raises(ConfigError, match=r"one\.md is a file: sync its folder"),
    ):
        selected_sources(connection, library.settings, [str(file)])
