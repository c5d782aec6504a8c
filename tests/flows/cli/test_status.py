"""`pgfolio status --check` as cron and Nagios run it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from click.testing import CliRunner

from pgfolio.flows.cli.status import status
from pgfolio.schema.corpus import sources
from pgfolio.schema.corpus.sources import SourceBusyError
from pgfolio.schema.database.connect import connect
from pgfolio.schema.operations import runs
from pgfolio.schema.operations.overview import overview
from tests.databases import empty_database
from tests.flows.library import ANIMALS
from tests.programs import pgfolio

if TYPE_CHECKING:
    from tests.flows.library import Library


@pytest.fixture
def check(library: Library, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("PGFOLIO_DATABASE_URL", library.conninfo)

    def made(*arguments: str, **variables: str) -> tuple[int, str]:
        done = CliRunner().invoke(status, ["--check", *arguments], env=variables, standalone_mode=False)
        code: Any = done.return_value
        return code, done.stdout

    return made


def test_a_service_that_is_well_is_one_line_with_numbers(library: Library, check: Any) -> None:
    library.write("a.md", ANIMALS)
    library.sync()
    code, line = check()
    assert code == 0
    assert re.fullmatch(
        r"PGFOLIO OK - all is well with 1 source \| sync_age=\ds;3600;14400 held=0 quarantined=0 pending=0\n",
        line,
    )


def test_a_partial_run_says_why_here_and_in_status(library: Library, check: Any) -> None:
    library.write("a.md", ANIMALS)
    library.write("broken|.pdf", b"%PDF-1.4 none")
    library.sync()
    code, line = check()
    assert code == 1
    assert line.startswith("PGFOLIO WARNING - the last sync (run 1) is partial: broken/.pdf: ")
    assert (line.count("|"), line.count("\n")) == (1, 1)
    assert line.split(" | ")[0].endswith("; 1 more with --json")
    code, text = check("--json")
    answer = json.loads(text)
    assert (code, answer["state"], answer["code"]) == (1, "warning", 1)
    assert [finding["check"] for finding in answer["findings"]] == ["run", "quarantined"]
    with connect(library.conninfo) as connection:
        [run] = overview(connection, None)["runs"]
    assert run["error"] == ""
    assert run["reason"] == answer["reason"].split("is partial: ")[1]


def test_a_sync_that_met_another_one_is_no_failure(library: Library, check: Any) -> None:
    library.write("a.md", ANIMALS)
    library.sync()
    with connect(library.conninfo) as connection:
        [source] = sources.list_sources(connection)
        with sources.owned(connection, source), pytest.raises(Exception, match="another sync") as turned_away:
            library.sync()
    assert isinstance(turned_away.value.__cause__, SourceBusyError)
    with connect(library.conninfo) as connection:
        assert [run.status for run in runs.last(connection, None)] == ["failed", "complete"]
    assert check()[0] == 0


def test_an_index_that_is_gone_and_a_listener_that_is_silent_are_seen(library: Library, check: Any) -> None:
    library.write("a.md", ANIMALS)
    library.sync()
    with connect(library.conninfo) as connection:
        connection.execute("drop index vectors_1_hnsw")
        connection.execute("insert into heartbeats values ('listener', now() - interval '5 minutes')")
    assert check()[0] == 2
    listed = json.loads(check("--json")[1])["findings"]
    assert [(each["check"], each["state"]) for each in listed] == [
        ("listener", "critical"),
        ("index", "warning"),
    ]
    code, line = check(PGFOLIO_MONITORING__LISTENER_AGE_SECONDS="0")
    assert (code, "no index" in line) == (1, True)


def test_one_thing_alone_is_judged_for_a_health_check(library: Library, check: Any) -> None:
    assert check("--only", "listener")[0] == 0, "no source is no fault of the listener"
    library.write("broken.pdf", b"%PDF-1.4 none")
    library.sync()
    assert check("--only", "listener")[0] == 0
    with connect(library.conninfo) as connection:
        connection.execute("insert into heartbeats values ('listener', now() - interval '5 minutes')")
    code, text = check("--only", "listener", "--json")
    assert (code, [finding["check"] for finding in json.loads(text)["findings"]]) == (2, ["listener"])
    assert check("--only", "quarantined")[0] == 1


def test_ages_are_judged_by_the_settings(library: Library, check: Any) -> None:
    library.write("a.md", ANIMALS)
    library.sync()
    with connect(library.conninfo) as connection:
        connection.execute("update sources set synced_at = now() - interval '30 hours'")
    assert check()[0] == 2
    assert check(PGFOLIO_MONITORING__SYNC_AGE_MINUTES="1500")[0] == 1
    assert check(PGFOLIO_MONITORING__SYNC_AGE_MINUTES="2000")[0] == 0


@pytest.mark.parametrize(
    ("variables", "code", "said"),
    [
        (
            {"PGFOLIO_DATABASE_URL": "postgresql://127.0.0.1:1/x"},
            2,
            "PGFOLIO CRITICAL - cannot reach the database",
        ),
        ({"PGFOLIO_API__PORT": "many"}, 3, "PGFOLIO UNKNOWN - PGFOLIO_API__PORT"),
        (
            {"PGFOLIO_API__PORT": "many", "PGFOLIO_NONE": "1"},
            3,
            "PGFOLIO UNKNOWN - 2 settings are wrong: PGFOLIO",
        ),
    ],
)
def test_what_cannot_be_looked_at_is_a_state_too(
    check: Any, variables: dict[str, str], code: int, said: str
) -> None:
    found = check(**variables)
    assert (found[0], found[1].startswith(said), found[1].count("\n")) == (code, True, 1)


def test_a_check_migrates_nothing(postgres: str, check: Any) -> None:
    with empty_database(postgres, "test_check_migrates_nothing") as conninfo:
        code, line = check(PGFOLIO_DATABASE_URL=conninfo)
        assert (code, line.strip()) == (
            3,
            "PGFOLIO UNKNOWN - the database was never migrated: `pgfolio migrate`",
        )
        with psycopg.connect(conninfo) as connection:
            assert connection.execute("select to_regclass('sources')").fetchone() == (None,)


def test_a_database_of_before_is_not_brought_up_to_date(library: Library, check: Any) -> None:
    with connect(library.conninfo) as connection:
        connection.execute("delete from _yoyo_migration where migration_id like '0051%'")
    code, line = check()
    assert (code, "lacks 1 migrations" in line) == (3, True)


@pytest.mark.parametrize(("arguments", "code"), [((), 2), (("--only", "weather"), 3), (("--no-such",), 3)])
def test_the_process_leaves_with_the_states_code(
    environment: dict[str, str], arguments: tuple[str, ...], code: int
) -> None:
    elsewhere = environment | {"PGFOLIO_DATABASE_URL": "postgresql://127.0.0.1:1/x"}
    done = pgfolio("status", "--check", *arguments, environment=elsewhere)
    said = ("", "Usage") if arguments else ("PGFOLIO CRITICAL", "")
    assert (done.returncode, done.stdout.split(" - ")[0], done.stderr[:5]) == (code, *said)
