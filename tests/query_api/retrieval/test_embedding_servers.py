"""POST /search while the embedding model's server answers as servers do: results, or a problem in its words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.fakes.openai_server import FakeOpenAI, Style, as_it_is
from tests.fakes.server_styles import answering, changed, floats, html_page, refusing
from tests.query_api.library import RETRIES, running_api, stock_hosted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    import httpx

    from pgfolio.config.settings import Settings

WORDS = "the moon is in the wrong house"


@pytest.fixture(scope="module")
def server() -> Iterator[FakeOpenAI]:
    with FakeOpenAI() as fake:
        yield fake


@pytest.fixture(scope="module")
def hosted_api(
    server: FakeOpenAI,
    new_database: Callable[[], AbstractContextManager[str]],
    new_settings: Callable[..., Settings],
) -> Iterator[httpx.Client]:
    with (
        new_database() as conninfo,
        running_api(stock_hosted(conninfo, new_settings, server), conninfo) as client,
    ):
        yield client


def no_index(body: dict[str, Any]) -> None:
    for row in body["data"]:
        row.pop("index")


ANSWERED: dict[str, Style] = {
    "no index": changed(no_index),
    "no usage": changed(lambda body: body.pop("usage")),
    "usage of nulls": changed(lambda body: body.update(usage={"total_tokens": None})),
    "floats": floats,
    "base64 refused": refusing("encoding_format", "encoding_format is not supported"),
}
FAILED: dict[str, tuple[Style, int, str]] = {
    "a login page": (html_page("Sign in"), 503, "Sign in"),
    "an empty answer": (answering(b""), 503, "nothing"),
    "data null": (answering({"data": None}), 503, "no vectors"),
    "an error in a 200": (answering({"error": {"message": WORDS}}), 503, WORDS),
    "a refusal": (answering({"detail": WORDS}, 400), 502, WORDS),
    "a server's fault": (answering({"error": WORDS}, 500), 503, WORDS),
}


@pytest.mark.parametrize("name", ANSWERED)
def test_a_question_is_embedded_by_servers_as_they_are(
    hosted_api: httpx.Client, server: FakeOpenAI, name: str
) -> None:
    server.style = ANSWERED[name]
    response = hosted_api.post("/search", json={"query": f"how is a failed task retried, {name}"})
    assert response.status_code == 200, response.text
    assert response.json()["results"][0]["path"] == RETRIES.path


@pytest.mark.parametrize("name", FAILED)
def test_what_the_server_says_is_told(hosted_api: httpx.Client, server: FakeOpenAI, name: str) -> None:
    server.style, status, words = FAILED[name]
    answer = hosted_api.post("/search", json={"query": f"how is a failed task retried, {name}"})
    assert (answer.status_code, words in answer.json()["detail"]) == (status, True), answer.text
    server.style = as_it_is
    assert hosted_api.post("/search", json={"query": f"how is it retried, {name}"}).status_code == 200
