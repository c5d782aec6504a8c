"""A table that is cut has its header above the rows of each piece: what is stored, found, quoted and verified."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pgfolio.flows.ingest.pipeline import run_sync
from pgfolio.flows.integrity.repair import run_repair
from pgfolio.flows.integrity.verify import run_verify
from pgfolio.flows.run.options import Options
from pgfolio.schema.corpus import sources
from pgfolio.schema.database.connect import connect
from tests.query_api.library import running_api

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import httpx

    from pgfolio.config.settings import Settings

RULE = "| --- | --- | --- |"
HEADER = f"| Station | Height in metres | Opened |\n{RULE}"
NAMES = [
    f"{first}{last}"
    for first in ("Alm", "Brun", "Drei", "Eich")
    for last in ("au", "berg", "dorf", "feld", "tal")
]
ROWS = [f"| {name} | {1000 + 7 * n} | {1900 + n} |" for n, name in enumerate(NAMES)]
CODE = "```sh\npgfolio sync\n```"
TEXT = f"# Railway\n\nThe stations of the line:\n\n{HEADER}\n" + "\n".join(ROWS) + f"\n\n{CODE}\n"
SEPARATED = "Station,Platforms,Code\n" + "".join(
    f"{name},{2 + n % 5},X{n:03}\n" for n, name in enumerate(NAMES)
)


@pytest.fixture
def settings(conninfo: str, new_settings: Callable[..., Settings]) -> Settings:
    return new_settings(database_url=conninfo, chunking={"tokens": 128, "overlap": 16}, api={"log": "off"})


@pytest.fixture
def client(tmp_path: Path, conninfo: str, settings: Settings) -> Iterator[httpx.Client]:
    root = tmp_path / "line"
    root.mkdir()
    (root / "railway.md").write_text(TEXT)
    (root / "platforms.csv").write_text(SEPARATED)
    with connect(conninfo) as connection:
        source = sources.ensure_source(connection, str(root), name="line")
    assert run_sync(settings, conninfo, [source], Options()).status == "complete"
    with running_api(settings, conninfo) as running:
        yield running


def results(client: httpx.Client, query: str, **fields: Any) -> list[dict[str, Any]]:
    answer: dict[str, Any] = client.post("/search", json={"query": query, **fields}).json()
    found: list[dict[str, Any]] = answer["results"]
    return found


def test_every_piece_of_a_table_has_its_header_once(client: httpx.Client, conninfo: str) -> None:
    with connect(conninfo) as connection:
        rows = connection.execute(
            "select c.content, c.start_at, c.end_at, d.text, d.path from chunks c"
            " join documents d on d.id = c.document_id order by d.path, c.ordinal"
        ).fetchall()
    pieces = [row for row in rows if RULE in row[0]]
    assert len([row for row in pieces if row[4] == "railway.md"]) > 2
    assert len([row for row in pieces if row[4] == "platforms.csv"]) > 1
    for content, start, end, text, _ in pieces:
        assert content.count(RULE) == content.count("Station |") == 1
        assert content.endswith(text[start:end])


@pytest.mark.parametrize("neighbors", [0, 1])
def test_a_row_is_found_below_its_header(client: httpx.Client, neighbors: int) -> None:
    for name in NAMES:
        best = results(client, f"height of {name}", neighbors=neighbors, mode="lexical")[0]
        assert best["content"].count("| Station |") == 1
        assert best["content"].endswith(TEXT[best["start"] : best["end"]])


def test_passages_of_one_table_that_meet_are_one(client: httpx.Client) -> None:
    for result in results(client, "station height opened", neighbors=1, limit=20, max_per_document=20):
        assert result["content"].count(RULE) <= 1
        if result["path"] == "railway.md":
            assert result["content"].endswith(TEXT[result["start"] : result["end"]])


@pytest.mark.parametrize("name", NAMES[::3])
def test_a_cell_is_quoted_at_its_place(client: httpx.Client, name: str) -> None:
    answer = client.post("/ask", json={"question": f"What is the height of {name}?"}).json()
    assert f"Height in metres: {1000 + 7 * NAMES.index(name)}" in answer["answer"]
    citation = answer["citations"][0]
    assert citation["verified"]
    assert citation["quote"] == TEXT[citation["start"] : citation["end"]] == ROWS[NAMES.index(name)]


def test_the_headers_of_a_table_are_verified(client: httpx.Client, conninfo: str, settings: Settings) -> None:
    del client
    assert run_verify(conninfo).counts == {}
    with connect(conninfo) as connection:
        connection.execute(
            "update chunks set content = replace(content, 'Station', 'Place') where ordinal > 0"
        )
    assert set(run_verify(conninfo).counts) == {"chunk_text"}
    assert run_repair(settings, conninfo).repaired
    assert run_verify(conninfo).counts == {}
