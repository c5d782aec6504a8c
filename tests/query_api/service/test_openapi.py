"""The OpenAPI document is true: schemathesis asks what it allows and what it does not, and holds every answer against
it."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.query_api.library import make_key, running_api, stock
from tests.query_api.service.test_problems import check

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import httpx

    from pgfolio.config.settings import Settings

EXAMPLES, SOME_EXAMPLES = 50, 3
"""Of each route, beside what the document itself gives; the same on every machine."""

OPAQUE = "positive_data_acceptance"
"""No schema can say which texts are a cursor or a filter: such a 400 is right."""


@pytest.mark.long
def test_every_answer_to_anything_is_as_the_document_says(
    new_settings: Callable[..., Settings], conninfo: str, tmp_path: Path, full: bool
) -> None:
    """No 500, no other status, no other shape; and no route that says it needs a key does without."""
    settings = new_settings(database_url=conninfo, api={"max_wait": 0.02})  # nobody makes documents
    stock(conninfo, settings)
    key = make_key(conninfo, "admin")
    with running_api(settings, conninfo) as client:
        command = [
            sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()", "run",
            f"{client.base_url}/schema/openapi.json", "-H", f"Authorization: Bearer {key}", "--checks", "all",
            "--exclude-checks", OPAQUE, "--seed", "1", "--generation-deterministic",
            "--max-examples", str(EXAMPLES if full else SOME_EXAMPLES),
            "--phases", "examples,coverage,fuzzing", "--no-color",
        ]  # fmt: skip
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=200, check=False, cwd=tmp_path
        )  # it keeps a cache where it runs
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


def test_every_route_says_which_key_it_needs(api: httpx.Client) -> None:
    document = api.get("/schema").json()
    assert set(document["components"]["securitySchemes"]) == {"bearer", "header"}
    needed: list[dict[str, Any]] = document["security"]
    assert needed == [{"bearer": []}, {"header": []}]
    for path, item in document["paths"].items():
        for operation in item.values():
            if path.startswith(("/health", "/session")):
                assert operation["security"] == [{}]
            else:
                assert operation.get("security", needed) == needed
                assert {"401", "403", "429"} <= set(operation["responses"])


@pytest.mark.parametrize("name", ["collection", "source", "path", "cursor"])
def test_a_nul_in_a_parameter_is_a_wrong_request(api: httpx.Client, name: str) -> None:
    check(api.get("/documents", params={name: "a\x00b"}), 400, "invalid-request")
    check(api.post("/search", json={"query": "x", "collections": ["a\x00b"]}), 400, "invalid-request")
