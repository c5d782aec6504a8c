"""The life of a source: by the command, by the settings, from two machines, and when its folder is gone."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import click
import pytest
from click.testing import CliRunner

from pgfolio.config.errors import ConfigError
from pgfolio.flows.cli.commands import cli
from pgfolio.flows.discovery.sources import NoSuchSourceError, selected_sources
from pgfolio.flows.ingest import source_life
from pgfolio.flows.ingest.pipeline import run_sync
from pgfolio.flows.run.options import Options
from pgfolio.schema.corpus.sources import NameTakenError
from pgfolio.schema.database.connect import connect
from tests.flows.library import ANIMALS, PLANTS, counts

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pgfolio.config.settings import Settings
    from pgfolio.flows.run.report import Report


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "docs"
    root.mkdir()
    (root / "animals.md").write_text(ANIMALS)
    (root / "plants.md").write_text(PLANTS)
    return root


@pytest.fixture
def run(conninfo: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    monkeypatch.setenv("PGFOLIO_DATABASE_URL", conninfo)
    monkeypatch.setenv("PGFOLIO_HOME", str(home))

    def command(*arguments: str, answer: str | None = None) -> Any:
        result = CliRunner().invoke(cli, ["sources", *arguments], input=answer, standalone_mode=False)
        if result.exception is not None:
            raise result.exception
        return json.loads(result.stdout) if "--json" in arguments else result.stderr + result.stdout

    return command


class Synced:
    """A sync with settings, and the notes about these."""

    def __init__(self, conninfo: str, new_settings: Callable[..., Settings]) -> None:
        self.conninfo = conninfo
        self.new_settings = new_settings
        self.notes: list[str] = []

    def __call__(self, *rules: dict[str, Any], names: tuple[str, ...] = (), **options: Any) -> Report:
        chunking = options.pop("chunking", {})
        settings = self.new_settings(database_url=self.conninfo, sources=list(rules), chunking=chunking)
        self.notes.clear()
        with connect(self.conninfo) as connection:
            selected = selected_sources(connection, settings, names, note=self.notes.append)
        return run_sync(settings, self.conninfo, selected, Options(**options))

    def rows(self, query: Any) -> list[tuple[Any, ...]]:
        with connect(self.conninfo) as connection:
            return connection.execute(query).fetchall()


@pytest.fixture
def sync(conninfo: str, new_settings: Callable[..., Settings]) -> Synced:
    return Synced(conninfo, new_settings)


def test_a_source_is_added_listed_renamed_moved_and_forgotten(
    run: Any, sync: Synced, folder: Path, tmp_path: Path
) -> None:
    assert "There is no source yet" in run("list")
    made = run("add", str(folder), "--name", "papers", "--collection", "library", "--exclude", "x/", "--json")
    assert made == {"name": "papers", "root": str(folder), "collection": "library"}
    assert counts(sync()) == {"added": 2}
    (listed,) = run("list", "--json")["sources"]
    assert (listed["documents"], listed["exclude"], listed["in_settings"]) == (2, ["x/"], False)
    run("rename", "papers", "articles")
    elsewhere = tmp_path / "elsewhere"
    folder.rename(elsewhere)
    run("move", "articles", str(elsewhere))
    report = sync()
    assert (counts(report), report.chunks.embedded, report.status) == ({"unchanged": 2}, 0, "complete")
    assert "articles" in run("list")
    assert "with 2 documents? Its files stay." in run("forget", "articles", answer="y\n")
    assert sync.rows("select (select count(*) from documents), (select count(*) from collections)") == [
        (0, 0)
    ]
    assert len(list(elsewhere.iterdir())) == 2


def test_forgetting_asks_first(run: Any, sync: Synced, folder: Path) -> None:
    run("add", str(folder))
    sync()
    with pytest.raises(click.Abort):
        run("forget", "docs", answer="n\n")
    assert sync.rows("select count(*) from documents") == [(2,)]
    assert run("forget", "docs", "--yes", "--json") == {"name": "docs", "forgotten": True, "documents": 2}


def test_names_and_roots_that_are_taken_or_unknown_are_said(run: Any, folder: Path, tmp_path: Path) -> None:
    run("add", str(folder), "--name", "one")
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(NameTakenError, match="is the source 'one' already"):
        run("add", str(folder))
    with pytest.raises(NameTakenError, match="there is a source 'one' already"):
        run("add", str(other), "--name", "one")
    run("add", str(other), "--name", "two")
    with pytest.raises(NameTakenError, match="there is a source 'one' already"):
        run("rename", "two", "one")
    with pytest.raises(NameTakenError, match="is a source already"):
        run("move", "two", str(folder))
    with pytest.raises(NoSuchSourceError, match=r"no such source: 'three' \(known: one, two\)"):
        run("rename", "three", "four")
    with pytest.raises(NoSuchSourceError, match="no such folder"):
        run("add", str(tmp_path / "nowhere"))


def test_a_source_of_the_settings_is_changed_there(
    run: Any, sync: Synced, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = tmp_path / "pgfolio.toml"
    config.write_text(f'[[sources]]\nname = "docs"\nroot = "{folder}"\n')
    monkeypatch.setenv("PGFOLIO_CONFIG", str(config))
    sync({"name": "docs", "root": str(folder)})
    for arguments in (("rename", "docs", "x"), ("move", "docs", str(tmp_path)), ("forget", "docs", "--yes")):
        with pytest.raises(ConfigError, match="docs stands in the settings: change or remove its block"):
            run(*arguments)


def test_what_changes_in_the_settings_is_said_and_embeds_nothing(
    sync: Synced, folder: Path, tmp_path: Path
) -> None:
    sync({"name": "docs", "root": str(folder)})
    assert sync.notes == []
    report = sync({"name": "papers", "root": str(folder)})
    assert sync.notes == ["docs is called papers now, as in the settings"]
    assert (counts(report), sync.rows("select name from sources")) == ({"unchanged": 2}, [("papers",)])
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(folder, elsewhere)
    report = sync({"name": "papers", "root": str(elsewhere)})
    assert "papers is at" in sync.notes[0]
    assert (counts(report), report.chunks.embedded) == ({"unchanged": 2}, 0)
    report = sync({"name": "papers", "root": str(elsewhere), "collection": "library"})
    assert sync.notes == ["the documents of papers go from the collection docs to library"]
    assert sync.rows("select name from collections") == [("library",)]
    report = sync(
        {"name": "papers", "root": str(elsewhere), "collection": "library", "exclude": ["plants.md"]}
    )
    assert "other files belong to papers now" in sync.notes[0]
    assert counts(report) == {"unchanged": 1, "removed": 1}
    sync()
    assert "papers stands in the settings no longer: it is kept" in sync.notes[0]
    assert sync.rows("select count(*) from documents") == [(1,)]
    sync()
    assert sync.notes == []


def test_two_machines_with_other_settings_do_not_make_chunks_in_turns(
    sync: Synced, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = {"name": "docs", "root": str(folder)}
    sync(rules, chunking={"tokens": 128})
    before = sync.rows("select id from chunks order by id")
    monkeypatch.setattr(source_life, "machine_name", lambda: "other")
    monkeypatch.setattr("pgfolio.flows.ingest.pipeline.machine_name", lambda: "other")
    report = sync(rules, chunking={"tokens": 96, "overlap": 8})
    assert report.status == "partial"
    assert "makes its chunks of 128 tokens" in report.problems[0].reason
    assert sync.rows("select id from chunks order by id") == before
    assert counts(sync(rules, chunking={"tokens": 128})) == {"unchanged": 2}
    assert counts(sync(rules, chunking={"tokens": 96, "overlap": 8}, full=True)) == {"changed": 2}
    assert counts(sync(rules, chunking={"tokens": 96, "overlap": 8})) == {"unchanged": 2}


def test_one_machine_may_change_its_settings(sync: Synced, folder: Path) -> None:
    rules = {"name": "docs", "root": str(folder)}
    sync(rules, chunking={"tokens": 128})
    report = sync(rules, chunking={"tokens": 96, "overlap": 8})
    assert counts(report) == {"changed": 2}, report.problems


def test_a_folder_that_is_gone_for_good_makes_no_sync_partial_for_ever(
    sync: Synced, folder: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "a.md").write_text(ANIMALS)
    for root in (folder, other):
        sync(names=(str(root),))
    shutil.rmtree(folder)
    assert sync().status == "partial"
    with connect(sync.conninfo) as connection:
        connection.execute(
            "update sources set unreachable_since = now() - interval '8 days' where name = 'docs'"
        )
    report = sync()
    assert (report.status, report.problems) == ("complete", [])
    assert any("cannot be reached since" in note and "sources move docs" in note for note in report.notes)
    assert sync.rows("select count(*) from documents") == [(3,)]
    folder.mkdir()
    (folder / "animals.md").write_text(ANIMALS)
    (folder / "plants.md").write_text(PLANTS)
    sync()
    assert sync.rows("select count(*) from sources where unreachable_since is not null") == [(0,)]


def test_a_folder_that_the_settings_ask_for_stays_a_problem(
    sync: Synced, folder: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "a.md").write_text(ANIMALS)
    rules = [{"name": "docs", "root": str(folder)}, {"name": "other", "root": str(other)}]
    sync(*rules)
    shutil.rmtree(folder)
    with connect(sync.conninfo) as connection:
        connection.execute(
            "update sources set unreachable_since = now() - interval '8 days' where name = 'docs'"
        )
    assert sync(*rules).status == "partial"


def test_another_machines_folder_of_the_same_name_is_another_source(
    sync: Synced, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It once took the source over, and the two did so in turns."""
    sync({"name": "docs", "root": str(folder)})
    other = tmp_path / "other"
    other.mkdir()
    (other / "a.md").write_text("# Other\n\nAnother page.\n")
    monkeypatch.setattr("pgfolio.flows.discovery.configured.host_name", lambda: "other")
    for names in ((), ("docs-2",)):
        sync({"name": "docs", "root": str(other)}, names=names)
    assert sync.rows("select name, root from sources order by name") == [
        ("docs", str(folder)),
        ("docs-2", str(other)),
    ]
    assert sync.rows("select count(*) from documents") == [(3,)]


def test_a_name_in_the_settings_that_another_source_has_is_said_and_changes_nothing(
    sync: Synced, folder: Path, tmp_path: Path
) -> None:
    """It once ended every sync."""
    other = tmp_path / "other"
    other.mkdir()
    (other / "a.md").write_text("# Other\n\nAnother page.\n")
    sync({"name": "a", "root": str(folder)}, {"name": "b", "root": str(other)})
    for blocks in ([("b", folder)], [("b", folder), ("a", other)]):
        report = sync(*({"name": name, "root": str(root)} for name, root in blocks))
        assert counts(report) == {"unchanged": 3}
        assert any(f"{folder} stays a: b is {other}" in note for note in sync.notes)
        assert sync.rows("select name, root from sources order by name") == [
            ("a", str(folder)),
            ("b", str(other)),
        ]
