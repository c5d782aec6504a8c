"""A small library on a server that is paid."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.flows.library import Library, long_document

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgfolio.config.settings import Settings
    from tests.fakes.openai_server import FakeOpenAI

MODEL = "text-embedding-3-small"


@pytest.fixture
def metered(library: Library, new_settings: Callable[..., Settings], openai_server: FakeOpenAI) -> Library:
    library.settings = new_settings(
        database_url=library.conninfo,
        openai_api_key=openai_server.key,
        openai_base_url=openai_server.url,
        chunking={"tokens": 320},
        embedding={"provider": "openai", "model": MODEL, "dimensions": 64, "timeout": 5.0, "deadline": 2.0},
    )
    library.write("long.md", long_document(12))
    return library
