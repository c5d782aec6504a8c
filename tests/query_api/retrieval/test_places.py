"""Where a result stands: in the stored text, and in the file as an editor shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.flows.library import Library
from tests.query_api.library import running_api

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import httpx

    from pgfolio.config.settings import Settings

FRONT = "---\ntitle: Boats\nauthor: Ada\n---\n\n"
BODY = "# Boats\n\nThe ferry to the island leaves at noon.\n\n## Fares\n\nA ticket costs nine euros and a half.\n"
FILES = {
    "front.md": FRONT + BODY,
    "windows.md": (FRONT + BODY.replace("ferry", "barge")).replace("\n", "\r\n"),
    "mixed.txt": "first line\r\n" * 3
    + "second line\n" * 3
    + BODY.replace("ferry", "canoe").replace("\n", "\r\n"),
    "plain.txt": BODY.replace("ferry", "yacht"),
    "page.html": f"<p>{BODY.replace('ferry', 'kayak')}</p>",
}


@pytest.fixture
def client(tmp_path: Path, conninfo: str, settings: Settings) -> Iterator[httpx.Client]:
    folder = tmp_path / "boats"
    folder.mkdir()
    for name, text in FILES.items():
        (folder / name).write_bytes(text.encode())
    assert Library(folder, conninfo, settings).sync().status == "complete"
    with running_api(settings, conninfo) as client:
        yield client


def one(results: list[dict[str, Any]], path: str) -> dict[str, Any]:
    return next(result for result in results if result["path"] == path)


@pytest.mark.parametrize("neighbors", [0, 1])
def test_a_result_tells_its_place_in_the_file(client: httpx.Client, neighbors: int) -> None:
    found = client.post(
        "/search", json={"query": "to the island at noon", "limit": 20, "neighbors": neighbors}
    ).json()
    for name, text in FILES.items():
        result = one(found["results"], name)
        start, end = result["file_start"], result["file_end"]
        if name == "page.html":
            assert (start, end) == (None, None)
            continue
        assert text[start:end].replace("\r\n", "\n") == result["content"]
        assert (result["end"] == end) == (name == "plain.txt")


def test_a_citation_and_a_documents_chunks_do(client: httpx.Client) -> None:
    answer = client.post("/ask", json={"question": "When does the barge to the island leave?"}).json()
    citation = one(answer["citations"], "windows.md")
    assert citation["verified"]
    assert FILES["windows.md"][citation["file_start"] : citation["file_end"]] == citation["quote"]
    assert citation["page"] is None
    document = client.get(f"/documents/{citation['document_id']}").json()
    for chunk in document["chunks"]:
        raw = FILES["windows.md"][chunk["file_start"] : chunk["file_end"]]
        assert raw.replace("\r\n", "\n") == chunk["content"]
