"""What a search answers is a matter of the tree alone: not of the order in which it came to be, nor of any kill."""

from __future__ import annotations

import os
import random
import time
from typing import TYPE_CHECKING

import pytest

from pgfolio.flows.ingest.pipeline import run_sync
from pgfolio.flows.run.options import Options
from pgfolio.schema.corpus import sources
from pgfolio.schema.database.connect import connect
from tests.faults.world import WORDS, Command, Tree
from tests.query_api.library import running_api

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from pgfolio.config.settings import Settings

HISTORIES, SOME_HISTORIES = 50, 2
QUESTIONS = 12


def synced(settings: Settings, conninfo: str, root: Path) -> str:
    with connect(conninfo) as connection:
        source = sources.ensure_source(connection, os.path.realpath(root), name="tree")
    return run_sync(settings, conninfo, [source], Options(approve_deletes=99)).status


def answers(settings: Settings, conninfo: str, questions: list[str]) -> list[object]:
    """Paths, places and scores, to the last digit that is told."""
    with running_api(settings, conninfo) as client:
        return [
            [
                (r["path"], r["start"], r["score"])
                for r in client.post("/search", json=asked).json()["results"]
            ]
            for question in questions
            for asked in ({"query": question, "mode": mode, "limit": 20} for mode in ("lexical", "hybrid"))
        ]


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_a_search_does_not_tell_the_history_of_its_corpus(
    tmp_path: Path,
    new_database: Callable[[], AbstractContextManager[str]],
    new_settings: Callable[..., Settings],
    full: bool,
) -> None:
    """Words were counted anew after large changes only: two nearly equal documents took turns."""
    for seed in range(HISTORIES if full else SOME_HISTORIES):
        chosen = random.Random(seed)
        tree = Tree.grown(tmp_path / str(seed), seed, 40)
        with new_database() as conninfo, new_database() as fresh:
            settings, fresh_settings = new_settings(database_url=conninfo), new_settings(database_url=fresh)
            environment = {"PATH": os.environ["PATH"], "PGFOLIO_HOME": str(settings.home)}
            command = Command(tree.root, {**environment, "PGFOLIO_DATABASE_URL": conninfo})
            assert synced(settings, conninfo, tree.root) == "complete"
            for _ in range(chosen.randint(2, 4)):
                if chosen.random() < 0.3:
                    tree.edit()
                tree.write(
                    f"part{chosen.randint(0, 4)}/small.md"
                )  # too little for its words to be counted anew
                if chosen.random() < 0.5:
                    command.kill_after(chosen.uniform(0.6, 1.6))
                    time.sleep(0.5)  # until PostgreSQL has seen it, and let go of the source
                assert synced(settings, conninfo, tree.root) == "complete"
            assert synced(fresh_settings, fresh, tree.root) == "complete"
            questions = [" ".join(chosen.choices(WORDS, k=chosen.randint(1, 4))) for _ in range(QUESTIONS)]
            assert answers(settings, conninfo, questions) == answers(fresh_settings, fresh, questions), seed
