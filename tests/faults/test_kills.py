"""The flow, the database and the model server are killed at random moments of a sync that adds, changes, moves and
removes. After each kill nothing is half done; at the end all is as if nothing had happened, and at most the requests
in flight were paid for twice.

PGFOLIO's own figures are printed with `pytest -s`: kills, requests paid twice, differences found.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from pgfolio.schema.database.connect import connect
from tests.fakes.openai_server import KEY, FakeOpenAI, FaultScenario
from tests.faults.world import Command, Reader, Tree, half_done, stored

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


SEED = 20261120
KILLS, SOME_KILLS = 50, 6
IN_FLIGHT = 4
LATENCY = 0.04


def environment(conninfo: str | None, home: Path, url: str) -> dict[str, str]:
    """A user's, with a metered model in small batches, so that a sync is many requests."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "PGFOLIO_HOME": str(home),
        **({"PGFOLIO_DATABASE_URL": conninfo} if conninfo else {}),
        "OPENAI_API_KEY": KEY,
        "OPENAI_BASE_URL": url,
        "PGFOLIO_EMBEDDING__PROVIDER": "openai",
        "PGFOLIO_EMBEDDING__MODEL": "tiny-embedding",
        "PGFOLIO_EMBEDDING__BATCH_INPUTS": "16",
        "PGFOLIO_EMBEDDING__IN_FLIGHT": str(IN_FLIGHT),
        "PGFOLIO_EMBEDDING__DEADLINE": "30",
    }


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree.grown(tmp_path / "tree", SEED, 40)


def paid_twice(server: FakeOpenAI) -> int:
    """Requests of which a text had been asked for, and answered, before."""
    seen: set[str] = set()
    twice = 0
    for request in server.requests:
        texts = set(request.body["input"]) - {"dimensions"}
        twice += bool(texts & seen)
        seen |= texts
    return twice


@pytest.mark.timeout(600)
def test_a_flow_killed_anywhere_leaves_nothing_half_done_and_nothing_lost(
    tree: Tree,
    tmp_path: Path,
    conninfo: str,
    undisturbed: Callable[[], list[tuple[object, ...]]],
    full: bool,
) -> None:
    chosen = random.Random(SEED)
    reader = Reader(conninfo)
    kills, rounds, worst, differences = 0, 0, 0, 0
    with FakeOpenAI() as server, reader.looking(), connect(conninfo, autocommit=True) as connection:
        server.fault_scenario = FaultScenario(delay=LATENCY)
        command = Command(tree.root, environment(conninfo, tmp_path / "home", server.url))
        began = time.monotonic()
        command.sync()
        typical = time.monotonic() - began
        while kills < (KILLS if full else SOME_KILLS):
            rounds += 1
            tree.edit()
            server.requests.clear()
            wanted = chosen.randint(3, 6)
            killed = 0
            # The interpreter's start and the crawl are over after a third of the time; all moments get their share.
            while killed < wanted and command.kill_after(chosen.uniform(0.25, 1.0) * min(typical, 2.0)):
                killed += 1
                assert half_done(connection) == []
            kills += killed
            report = command.sync()
            assert report["status"] == "complete"
            again = paid_twice(server)
            worst = max(worst, again - IN_FLIGHT * killed)
            assert again <= IN_FLIGHT * killed
            differences += len(set(stored(conninfo)) ^ set(undisturbed()))
            assert differences == 0
            assert command.sync()["chunks"]["embedded"] == 0
    assert reader.reads > 100
    assert Counter(reader.seen) == Counter()
    print(
        f"\n{kills} kills of the flow in {rounds} rounds; requests paid twice: never more than {IN_FLIGHT} a kill "
        f"({worst:+d} to the bound); half documents seen in {reader.reads} looks: {len(reader.seen)}; "
        f"differences to an undisturbed sync: {differences}"
    )
