"""The whole job, once: sync, no-op, search, ask, a push, another space, verify. For databases of any kind."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pgfolio.flows.ingest.pipeline import run_sync
from pgfolio.flows.integrity.verify import run_verify
from pgfolio.flows.reembedding.run import run_reembed
from pgfolio.flows.reembedding.target import reembed_target
from pgfolio.flows.run.options import Options
from pgfolio.schema.corpus import sources
from pgfolio.schema.database.connect import connect, database
from tests.flows.library import ANIMALS, GRAIN, PLANTS, counts
from tests.query_api.library import asking, running_api

if TYPE_CHECKING:
    from pathlib import Path

    import httpx

    from pgfolio.config.settings import Settings
    from pgfolio.schema.records import Source

QUESTION = "Which animal has stripes?"


def library_folder(folder: Path) -> Path:
    root = folder / "library"
    root.mkdir()
    (root / "animals.md").write_text(ANIMALS)
    (root / "plants.md").write_text(PLANTS)
    time.sleep(GRAIN)
    return root


def do_job(flows: Settings, api: Settings, root: Path) -> None:
    """All of it, by the flows with their settings and an API with its own, over the folder of `library_folder`."""
    with database(flows) as conninfo:
        assert synced(flows, conninfo, root) == {"added": 2}
        assert synced(flows, conninfo, root) == {"unchanged": 2}
        with database(api, pooled=True) as for_api, running_api(api, for_api) as client:
            check_answers(client)
            with asking(client, {"query": QUESTION}) as answers:
                pushed = client.post(
                    "/documents", json={"title": "Mice", "content": "The mouse eats cheese."}
                )
                assert pushed.status_code == 202, pushed.text
                run_sync(flows, conninfo, _pushed(conninfo), Options())
                assert client.get(pushed.headers["Location"]).json()["state"] == "ok"
                run_reembed(reembed_target(flows, None, None, 128), conninfo, Options())
                check_answers(client)
            assert {problem for problem, _ in answers} == {""}
            found = client.post("/search", json={"query": "what does the mouse eat"}).json()
            assert found["results"][0]["title"] == "Mice"
            assert found["space"].endswith("128")
            assert client.delete(pushed.headers["Location"]).status_code == 204
            assert client.get("/status").status_code == 200
        assert run_verify(conninfo, flows).complete


def synced(settings: Settings, conninfo: str, root: Path) -> dict[str, int]:
    with connect(conninfo) as connection:
        source = sources.ensure_source(connection, str(root), name="library")
    return counts(run_sync(settings, conninfo, [source], Options()))


def check_answers(client: httpx.Client) -> None:
    """Several at once of each kind: each through whichever connection is free."""
    for body in ({}, {"mode": "lexical"}, {"mode": "vector"}, {"exact": True}, {"ef_search": 300}):
        for _ in range(7):  # more than after which psycopg prepares a statement
            answer = client.post("/search", json={"query": QUESTION, **body})
            assert answer.status_code == 200, answer.text
            assert answer.json()["results"][0]["path"] == "animals.md"
    answer = client.post("/ask", json={"question": QUESTION})
    assert answer.json()["answered"], answer.text


def _pushed(conninfo: str) -> list[Source]:
    with connect(conninfo) as connection:
        return [source for source in sources.list_sources(connection) if source.kind != "folder"]
