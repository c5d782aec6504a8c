"""The move to a better space in the background: it gives way to syncs, goes on where it was, is taken once, and is
not tried again where that is known to be for nothing."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from pgfolio.flows.reembedding.target import before_upgrade, reembed_command, reembed_target, upgrade_target
from pgfolio.flows.reembedding.upgrade import run_upgrade, verdict
from pgfolio.flows.run.options import FailedError
from pgfolio.schema.corpus import sources
from pgfolio.schema.database.connect import connect
from pgfolio.schema.operations.overview import overview
from pgfolio.schema.records import Space
from pgfolio.schema.vectors import generations
from pgfolio.schema.vectors.upgrades import PastUpgrade
from tests.fakes.openai_server import KEY, FaultScenario
from tests.flows.reembedding.moving import BATCH_INPUTS, IN_FLIGHT, LOCAL, PAGES, TINY, Corpus, in_thread

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pgfolio.config.settings import Settings
    from pgfolio.flows.reembedding.upgrade import Verdict

NICENESS = 1
BUNDLED, BETTER = Space("local", "wordllama-256", 256), Space("openai", "better", 64)


@pytest.mark.parametrize(
    ("active", "past", "expected"),
    [
        (BUNDLED, None, "begin"),
        (None, None, "begin"),
        (BETTER, None, "active"),
        (BUNDLED, PastUpgrade("filling", "", {}), "begin"),
        (BUNDLED, PastUpgrade("failed", "no key", {"chunks": 7}), "begin"),
        (BUNDLED, PastUpgrade("refused", "recall", {"chunks": 7}), "refused"),
        (BUNDLED, PastUpgrade("refused", "recall", {"chunks": 6}), "begin"),
        (BETTER, PastUpgrade("refused", "recall", {"chunks": 7}), "active"),
        (BUNDLED, PastUpgrade("taken", "", {"chunks": 7}), "left"),
    ],
)
def test_a_move_is_begun_unless_it_was_made_or_is_for_nothing(
    active: Space | None, past: PastUpgrade | None, expected: Verdict
) -> None:
    assert verdict(BETTER, active, past, {"chunks": 7}) == expected


@pytest.mark.parametrize(
    ("upgrade", "arguments", "expected"),
    [
        ({}, (None, None, None), None),
        ({}, (None, "x", None), ("auto", "x", None)),
        ({}, (None, None, 64), ("auto", "", 64)),
        ({"model": "y", "dimensions": 512}, (None, None, None), ("auto", "y", 512)),
        ({"model": "y", "dimensions": 512}, ("openai", "x", None), ("openai", "x", None)),
        ({"provider": "openai"}, (None, None, None), ("openai", "", None)),
    ],
)
def test_the_command_line_names_the_better_space_or_the_settings_do(
    upgrade: dict[str, Any],
    arguments: tuple[str | None, str | None, int | None],
    expected: tuple[str, str, int | None] | None,
    new_settings: Callable[..., Settings],
) -> None:
    target = upgrade_target(new_settings(upgrade=upgrade), *arguments)
    named = target and (target.embedding.provider, target.embedding.model, target.embedding.dimensions)
    assert named == expected


def test_a_reembed_without_options_does_not_leave_the_better_space(
    new_settings: Callable[..., Settings],
) -> None:
    settings = new_settings(embedding={"model": "x"}, upgrade={"model": "y"})
    assert reembed_target(settings, None, None, None).embedding.model == "y"
    assert reembed_target(settings, None, "z", None).embedding.model == "z"
    assert reembed_target(new_settings(embedding={"model": "x"}), None, None, None).embedding.model == "x"


def test_a_first_sync_has_the_bundled_model_where_the_better_one_is_the_settings_own(
    new_settings: Callable[..., Settings],
) -> None:
    settings = new_settings(embedding={"model": "x"})
    assert before_upgrade(settings, upgrade_target(settings, None, "x", None)).embedding.provider == "local"
    assert before_upgrade(settings, upgrade_target(settings, None, "y", None)) == settings
    assert before_upgrade(settings, None) == settings


def test_the_command_that_goes_there_is_named_whole(new_settings: Callable[..., Settings]) -> None:
    target = upgrade_target(new_settings(), "openai", "my model", 64)
    assert target is not None
    assert reembed_command(target) == "pgfolio reembed --provider openai --model 'my model' --dimensions 64"
    assert reembed_command(new_settings()) == "pgfolio reembed"


class Upgrades:
    """Of a corpus; each ends with what it said."""

    def __init__(self, corpus: Corpus) -> None:
        self.corpus = corpus

    def run(self, settings: Settings | None = None) -> str:
        said: list[str] = []
        run_upgrade(settings or self.corpus.hosted, self.corpus.conninfo, said.append)
        return "\n".join(said)

    def status(self) -> dict[str, Any]:
        with connect(self.corpus.conninfo) as connection:
            upgrade: dict[str, Any] = overview(connection, None)["upgrade"]
        return upgrade


@pytest.fixture
def moving(corpus: Corpus) -> Upgrades:
    return Upgrades(corpus)


def embedded(corpus: Corpus) -> list[str]:
    """Texts that the server made vectors of, besides the one that it is asked for its dimensions with."""
    return [text for text in corpus.server.answered if text != "dimensions"]


def test_it_is_taken_and_everything_goes_on_there(moving: Upgrades) -> None:
    """With settings that name no other model than the bundled one, and with those that name the better one."""
    corpus = moving.corpus
    assert moving.status() is None
    assert "searches use openai/tiny-embedding/64 now" in moving.run()
    assert corpus.states() == {LOCAL: "retired", TINY: "active"}
    status = moving.status()
    assert (status["state"], status["chunks"], status["seconds_left"]) == (
        "taken",
        status["chunks_total"],
        None,
    )
    with connect(corpus.conninfo) as connection:
        assert overview(connection, (1,))["upgrade"] is None  # who may not see every collection
    paid = len(embedded(corpus))
    assert moving.run() == ""
    assert len(embedded(corpus)) == paid
    bundled = corpus.hosted.embedding.model_copy(update={"provider": "auto", "model": ""})
    corpus.library.settings = corpus.hosted.model_copy(update={"embedding": bundled})
    corpus.write(PAGES, PAGES + 3)
    report = corpus.library.sync()
    assert (report.status, report.chunks.embedded, report.notes) == ("complete", 3, [])
    assert corpus.missing() == {LOCAL: 3, TINY: 0}


def test_what_syncs_do_meanwhile_reaches_both_spaces(moving: Upgrades) -> None:
    """New, changed and deleted documents: at once in the space that is searched, and in the other by the switch."""
    corpus = moving.corpus
    corpus.server.fault_scenario = FaultScenario(delay=0.1, only="embeddings")
    with in_thread(moving.run):
        while not corpus.server.answered:
            time.sleep(0.01)
        corpus.library.write("new.md", "# New\n\nA narwhal came.\n")
        corpus.library.write("002.md", "# Page 2\n\nA walrus is here instead.\n")
        (corpus.library.root / "001.md").unlink()
        assert corpus.library.sync().status == "complete"
        assert corpus.states() == {LOCAL: "active", TINY: "building"}
        stored = corpus.library.stored()
        assert stored["new.md"][0][1] == stored["002.md"][0][1] == 1
        assert "001.md" not in stored
        assert moving.status()["state"] == "filling"
    assert corpus.states() == {LOCAL: "retired", TINY: "active"}
    assert corpus.missing() == {LOCAL: 0, TINY: 0}
    corpus.library.check()


def test_it_waits_while_a_sync_runs(moving: Upgrades) -> None:
    corpus = moving.corpus
    with connect(corpus.conninfo) as other:
        (source,) = [one for one in sources.list_sources(other) if one.name == "library"]
        with sources.owned(other, source):
            with in_thread(moving.run):
                time.sleep(1.0)
                meanwhile = embedded(corpus)
                other.rollback()
                other.execute("select pg_advisory_unlock_all()")
                other.commit()
            assert meanwhile == []
    assert corpus.states() == {LOCAL: "retired", TINY: "active"}


def test_it_waits_while_somebody_else_moves_the_corpus(moving: Upgrades) -> None:
    corpus = moving.corpus
    with connect(corpus.conninfo) as other:
        with generations.alone(other):
            thread = threading.Thread(target=moving.run)
            thread.start()
            time.sleep(0.5)
            assert embedded(corpus) == []
        thread.join()
    assert corpus.states() == {LOCAL: "retired", TINY: "active"}
    assert corpus.library.rows("select flow, status from runs order by id") == [
        ("sync", "complete"),
        ("reembed", "complete"),
    ]


def test_what_the_gate_refuses_stays_refused_until_something_is_different(moving: Upgrades) -> None:
    corpus = moving.corpus
    corpus.server.fault_scenario = FaultScenario(poison="number 17.")
    said = moving.run()
    forced = "pgfolio reembed --provider openai --model tiny-embedding --force"
    assert "1 chunks have no vector in openai/tiny-embedding/64" in said
    assert forced in said
    assert corpus.states() == {LOCAL: "active", TINY: "ready"}
    status = moving.status()
    assert (status["state"], status["chunks"]) == ("refused", status["chunks_total"] - 1)
    assert forced in status["reason"]
    corpus.server.fault_scenario = None
    paid = len(embedded(corpus))
    assert re.match("no upgrade, for nothing has changed since: 1 chunks have no vector", moving.run())
    assert len(embedded(corpus)) == paid
    corpus.write(PAGES, PAGES + 1)
    corpus.library.sync()
    assert "searches use openai/tiny-embedding/64 now" in moving.run()


@pytest.mark.long
def test_a_refusal_is_not_one_by_other_settings(moving: Upgrades) -> None:
    corpus = moving.corpus
    corpus.write(PAGES, 400)
    corpus.library.sync()
    poor = corpus.indexed(m=2, ef_construction=4, ef_search=1, gate_recall=1.0)
    assert "recall@10 is" in moving.run(poor)
    assert "nothing has changed" in moving.run(poor)
    fair = poor.model_copy(update={"index": poor.index.model_copy(update={"gate_recall": 0.0})})
    assert "searches use" in moving.run(fair)


def test_a_refused_space_that_is_switched_to_by_hand_counts_as_taken(moving: Upgrades) -> None:
    corpus = moving.corpus
    corpus.server.fault_scenario = FaultScenario(poison="number 17.")
    moving.run()
    corpus.move(force=True)
    assert (moving.status()["state"], moving.status()["reason"]) == ("taken", "")
    assert moving.run() == ""
    corpus.move(rollback=True)
    assert "was left" in moving.run()


def test_who_went_back_is_not_moved_again(moving: Upgrades) -> None:
    corpus = moving.corpus
    moving.run()
    corpus.move(rollback=True)
    said = moving.run()
    assert "was left: `pgfolio reembed --provider openai --model tiny-embedding` goes back to it" in said
    assert corpus.states() == {LOCAL: "active", TINY: "retired"}


def test_a_server_that_fails_is_tried_again_by_whoever_starts_it_again(moving: Upgrades) -> None:
    corpus = moving.corpus
    corpus.server.fault_scenario = FaultScenario(status=500, only="embeddings", after=3)
    with pytest.raises(FailedError):
        moving.run()
    assert corpus.states() == {LOCAL: "active", TINY: "building"}
    assert moving.status()["state"] == "stopped"
    corpus.server.fault_scenario = None
    assert "searches use" in moving.run()


def test_a_key_that_is_refused_is_said_and_searches_go_on(moving: Upgrades) -> None:
    corpus = moving.corpus
    corpus.server.key = "sk-another"
    assert re.match("no upgrade: .*key.*; searches go on in the space that is active", moving.run())
    assert corpus.states() == {LOCAL: "active"}


def test_what_may_be_spent_is_for_all_tries_together(moving: Upgrades) -> None:
    corpus = moving.corpus
    price = 1000.0  # US dollars for a million
    upgrade = corpus.hosted.upgrade.model_copy(update={"max_cost": 0.55})
    limited = corpus.hosted.model_copy(update={"upgrade": upgrade, "prices": {TINY: price}})
    spent = []
    for _ in range(3):
        assert "than the $" in moving.run(limited)
        spent.append(len(embedded(corpus)))
    assert corpus.states() == {LOCAL: "active", TINY: "building"}
    assert moving.status()["state"] == "failed"
    assert 0 < spent[0] == spent[1] == spent[2] < PAGES
    free = limited.model_copy(update={"upgrade": upgrade.model_copy(update={"max_cost": 50.0})})
    assert "searches use" in moving.run(free)


def child(corpus: Corpus, home: Path, *arguments: str) -> subprocess.Popen[str]:
    environment = {
        "PATH": os.environ["PATH"],
        "PGFOLIO_HOME": str(home),
        "PGFOLIO_DATABASE_URL": corpus.conninfo,
        "OPENAI_API_KEY": KEY,
        "OPENAI_BASE_URL": corpus.server.url,
        "PGFOLIO_EMBEDDING__BATCH_INPUTS": str(BATCH_INPUTS),
        "PGFOLIO_EMBEDDING__IN_FLIGHT": str(IN_FLIGHT),
        "PGFOLIO_UPGRADE__NICENESS": str(
            NICENESS
        ),  # so that a machine that is busy with tests gives it its part
    }
    return subprocess.Popen(
        [sys.executable, "-m", "pgfolio.flows.upgrade", *arguments],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_killed_it_goes_on_where_it_was_at_low_priority(
    moving: Upgrades, tmp_path: Path, *, full: bool
) -> None:
    corpus = moving.corpus
    corpus.server.fault_scenario = FaultScenario(delay=0.1, only="embeddings")
    kills = (1, 2) if full else (1,)
    for part in kills:
        process = child(corpus, tmp_path, f"--model={TINY}")
        while len(corpus.server.answered) < PAGES * part // 3:
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        assert psutil.Process(process.pid).nice() == NICENESS
        assert moving.status()["state"] == "filling"
        process.kill()
        process.communicate()
        assert moving.status()["state"] == "stopped"
        assert corpus.states() == {LOCAL: "active", TINY: "building"}
    corpus.server.fault_scenario = None
    last = child(corpus, tmp_path, f"--model={TINY}")
    _, said = last.communicate(timeout=60)
    assert (last.returncode, "searches use openai/tiny-embedding/64 now" in said) == (0, True), said
    assert corpus.missing() == {LOCAL: 0, TINY: 0}
    twice = len(embedded(corpus)) - len(set(embedded(corpus)))
    assert twice <= len(kills) * IN_FLIGHT * BATCH_INPUTS


NICE = """
import pathlib, psutil

def sessions_niceness(pid):  # of cores that are shared among sessions
    file = pathlib.Path(f"/proc/{{pid}}/autogroup")
    return int(file.read_text().rpartition(" ")[2]) if file.exists() else psutil.Process(pid).nice()

from pgfolio.schema.database import priority
from pgfolio.schema.database.connect import connect
with connect({conninfo!r}) as before:
    priority.lower(7)
    with connect({conninfo!r}) as after:
        print(*(psutil.Process(one.info.backend_pid).nice() for one in (before, after)))
        print(*(sessions_niceness(one.info.backend_pid) for one in (before, after)))
        print(*(one.execute("show max_parallel_maintenance_workers").fetchone()[0] for one in (before, after)))
"""


def test_the_servers_process_has_the_priority_of_whoever_it_works_for(conninfo: str) -> None:
    code = NICE.format(conninfo=conninfo)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    niceness, of_sessions, workers = (line.split() for line in done.stdout.splitlines())
    assert niceness == of_sessions == ["0", "7"]
    assert workers[0] != "0"
    assert workers[1] == "0"
