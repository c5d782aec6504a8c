"""A corpus to move."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.flows.reembedding.moving import BATCH_INPUTS, IN_FLIGHT, PAGES, Corpus

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgfolio.config.settings import Settings
    from tests.fakes.openai_server import FakeOpenAI
    from tests.flows.library import Library


@pytest.fixture
def corpus(library: Library, openai_server: FakeOpenAI, new_settings: Callable[..., Settings]) -> Corpus:
    hosted = new_settings(
        database_url=library.conninfo,
        openai_api_key=openai_server.key,
        openai_base_url=openai_server.url,
        embedding={
            "provider": "openai",
            "model": "tiny-embedding",
            "batch_inputs": BATCH_INPUTS,
            "in_flight": IN_FLIGHT,
            "timeout": 10.0,
            "deadline": 1.0,
        },
    )
    made = Corpus(library, openai_server, hosted)
    made.write(0, PAGES)
    library.sync()
    return made
