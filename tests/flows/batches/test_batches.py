"""Texts that are handed in at half the price come back as vectors, are paid for once, and nothing waits for ever."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.flows.library import Library, counts, long_document

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgfolio.config.settings import Settings
    from tests.fakes.openai_server import FakeOpenAI

MODEL = "text-embedding-3-small"


@pytest.fixture
def metered(library: Library, new_settings: Callable[..., Settings], openai_server: FakeOpenAI) -> Library:
    """The library on a server that is paid."""
    library.settings = new_settings(
        database_url=library.conninfo,
        openai_api_key=openai_server.key,
        openai_base_url=openai_server.url,
        embedding={"provider": "openai", "model": MODEL, "dimensions": 64, "timeout": 5.0, "deadline": 2.0},
    )
    library.write("long.md", long_document(12))
    return library


def test_a_first_sync_at_half_the_price(metered: Library, openai_server: FakeOpenAI) -> None:
    openai_server.batches.seconds = 0.3
    report = metered.sync(batch=True)
    assert counts(report) == {"added": 3}
    assert report.status == "complete", report.problems
    metered.check()
    assert set(openai_server.paid().values()) == {1}
    assert openai_server.answered == []
    print(report.as_json(), openai_server.batches.steps)
    assert report.tokens == openai_server.batches.tokens
    assert report.cost_usd == pytest.approx(report.tokens * 0.02 / 2 / 1e6)
