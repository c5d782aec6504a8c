"""`status` tells what waits for an approval, what could not be read, and how far a running sync is."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

from pgfolio.flows.run.recorder import ProgressRecorder
from pgfolio.schema.corpus import sources
from pgfolio.schema.database.connect import connect
from pgfolio.schema.operations import runs
from pgfolio.schema.operations.overview import overview
from tests.query_api.library import make_key, running_api

if TYPE_CHECKING:
    from tests.flows.library import Library


def status(library: Library) -> dict[str, Any]:
    with connect(library.conninfo) as connection:
        return overview(connection, None)


def source(library: Library) -> dict[str, Any]:
    (described,) = status(library)["sources"]
    return dict(described)


def test_removals_that_wait_are_told_of_until_they_are_approved_or_back(library: Library) -> None:
    for n in range(250):
        library.write(f"many/{n:03}.md", f"# Number {n}\n\nText.\n")
    library.sync()
    assert source(library)["held"] is None
    shutil.move(library.root / "many", library.root.parent / "away")
    library.sync()
    held = source(library)["held"]
    assert (held["count"], len(held["paths"]), held["paths"][0]) == (250, 200, "many/000.md")
    assert "gone from their folder" in held["reason"]
    shutil.move(library.root.parent / "away", library.root / "many")
    library.sync()
    assert source(library)["held"] is None
    shutil.rmtree(library.root / "many")
    library.sync(approve_deletes=250)
    assert source(library)["held"] is None


def test_a_source_tells_its_kind_its_files_in_quarantine_and_what_its_runs_cost(library: Library) -> None:
    library.write("broken.pdf", b"%PDF-1.4 and nothing more")
    library.write("program.bin", b"\x7fELF" + bytes(range(256)))
    library.sync()
    told = source(library)
    assert (told["kind"], told["failed"], told["syncing"], told["progress"]) == ("folder", 1, False, None)
    assert told["root"] == str(library.root)
    (item,) = told["quarantined"]["items"]
    assert (item["path"], told["quarantined"]["count"]) == ("broken.pdf", 1)
    assert item["reason"]
    assert item["synced_at"] is not None
    (run,) = status(library)["runs"]
    assert (run["chunks"]["total"], run["cost_usd"]) == (told["chunks"], 0.0)


def test_a_running_sync_tells_how_far_it_is_and_a_dead_one_nothing(library: Library) -> None:
    library.sync()
    with connect(library.conninfo) as connection:
        (known,) = sources.list_sources(connection)
        with sources.owned(connection, known):
            run_id = runs.start(connection, "sync", "test")
            connection.commit()
            recorder = ProgressRecorder(library.conninfo)
            recorder.begin(run_id, known, 40)
            recorder.advance(10, 25)
            told = source(library)
            assert told["syncing"]
            assert (told["progress"]["files_done"], told["progress"]["files_total"]) == (
                0,
                40,
            )  # once a second
            recorder._written_at = 0.0
            recorder.advance(5, 5)
            expected = {"files_done": 15, "files_total": 40, "chunks": 30}
            progress = source(library)["progress"]
            assert {name: progress[name] for name in expected} == expected
            recorder.close()
    told = source(library)
    assert (told["syncing"], told["progress"]) == (False, None)


def test_a_sync_writes_its_progress(library: Library) -> None:
    library.sync()
    rows = library.rows("select progress, source_id from runs")
    assert [(row[0]["files_total"] > 0, row[1]) for row in rows] == [(True, 1)]


def test_a_sync_goes_on_where_its_progress_cannot_be_written(library: Library) -> None:
    recorder = ProgressRecorder("host=127.0.0.1 port=1 dbname=none")
    with connect(library.conninfo) as connection:
        known = sources.ensure_source(connection, str(library.root), name="library")
    recorder.begin(1, known, 3)
    recorder.advance(3, 3)
    recorder.close()


def test_where_a_source_lies_is_told_to_administrators(library: Library) -> None:
    library.sync()
    keys = {scope: make_key(library.conninfo, scope) for scope in ("read", "admin")}
    with running_api(library.settings, library.conninfo) as client:
        answers = {
            scope: client.get("/status", headers={"X-API-Key": key}).json() for scope, key in keys.items()
        }
    assert str(library.root) in str(answers["admin"])
    assert str(library.root) not in str(answers["read"])
